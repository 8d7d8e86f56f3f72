//! What an app does to one id: when it commits, and when the increment lands.

use std::ops::RangeInclusive;

use super::{MS, Micros, SECOND, SETTLE, any};

/// One write of the app.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    pub commit: Micros,
    pub landing: Micros,
    pub delta: i64,
}

/// When the writes come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Model {
    /// Independently of each other.
    Poisson,
    /// Many within a short time, then a pause.
    Bursts { size: u64, within: Micros },
    /// Busy for a time, then silent.
    Shifts { busy: Micros, silent: Micros },
    /// At an even rhythm.
    Periodic,
    /// So many threads, each with a next write as soon as the last one is through.
    ClosedLoop { threads: u64, think: Micros },
    /// A +1 that is taken back after a time.
    Pairs { apart: Micros },
    /// Pairs without a pause, from one thread.
    Toggle { apart: Micros },
}

/// An app and how the truth comes out of its MySQL.
#[derive(Debug, Clone)]
pub struct Traffic {
    pub model: Model,
    /// Writes per second, except where threads set the pace.
    pub rate: f64,
    pub in_flight: RangeInclusive<Micros>,
    /// The chance that a write increments before it commits.
    pub increments_first: f64,
    /// The chance that a write is a decrement.
    pub decrements: f64,
    /// How far the replica is behind.
    pub lag: RangeInclusive<Micros>,
}

impl Traffic {
    /// Everything that the protocol must bear.
    pub fn any(random: &mut fastrand::Rng) -> Self {
        let rate = 10_f64.powf(-2.0 + random.f64() * 30_000_f64.log10());
        let slowest = random.u64(1..=50) * MS;
        let in_flight = match random.u8(0..3) {
            0 => slowest..=slowest,
            1 => MS..=slowest,
            _ => MS..=50 * MS,
        };
        let model = match random.u8(0..10) {
            0..3 => Model::Poisson,
            3 => Model::Bursts { size: random.u64(2..50), within: random.u64(1..200) * MS },
            4 => Model::Shifts {
                busy: random.u64(100..10_000) * MS,
                silent: random.u64(100..10_000) * MS,
            },
            5 => Model::Periodic,
            6 => Model::ClosedLoop {
                threads: random.u64(1..=15),
                think: [0, MS, 20 * MS, SECOND][random.usize(0..4)],
            },
            7 => Model::ClosedLoop { threads: 1, think: random.u64(0..5) * MS },
            8 => Model::Pairs { apart: random.u64(1..300) * MS },
            _ => Model::Toggle { apart: random.u64(1..300) * MS },
        };
        let furthest = SETTLE - in_flight.end() - MS;
        let behind = random.u64(0..=furthest);
        let lag = match random.u8(0..6) {
            0 => behind..=behind,
            1 => random.u64(0..=behind)..=behind,
            2 => 0..=behind.min(30 * MS),
            _ => 0..=0,
        };
        let increments_first = [0.0, 0.0, 1.0, 0.5][random.usize(0..4)];
        let decrements = [0.0, 0.0, 0.5, 0.1, 1.0][random.usize(0..5)];
        Self { model, rate, in_flight, increments_first, decrements, lag }
    }

    /// What comes closest to breaking a rule: toggles that readings miss, one write in flight at
    /// nearly all times, an even rhythm behind a replica whose lag is nearly a settle.
    pub fn spiteful(random: &mut fastrand::Rng) -> Self {
        let rate = 10_f64.powf(-1.0 + random.f64() * 2.5);
        let slowest = random.u64(5..=50) * MS;
        let in_flight = if random.bool() { slowest..=slowest } else { MS..=slowest };
        let apart = random.u64(1..100) * MS;
        let model = match random.u8(0..6) {
            0 => Model::Pairs { apart },
            1 => Model::Toggle { apart: if random.bool() { apart } else { 2 * SECOND } },
            2 => Model::ClosedLoop { threads: random.u64(1..=3), think: random.u64(0..3) * MS },
            3 => Model::Poisson,
            _ => Model::Periodic,
        };
        let furthest = SETTLE - slowest - MS;
        let least = random.u64(0..=furthest);
        let lag = match random.u8(0..3) {
            0 => least..=least,
            1 => least..=furthest.min(least + 50 * MS),
            _ => 0..=0,
        };
        let increments_first = [0.0, 1.0, 0.5][random.usize(0..3)];
        let decrements = [0.0, 0.5][random.usize(0..2)];
        Self { model, rate, in_flight, increments_first, decrements, lag }
    }

    /// An ordinary app: it commits, then increments, and reads the truth from the primary.
    pub fn plain(rate: f64, slowest: Micros) -> Self {
        Self {
            model: Model::Poisson,
            rate,
            in_flight: MS..=slowest,
            increments_first: 0.0,
            decrements: 0.0,
            lag: 0..=0,
        }
    }

    /// All the writes from 0 to `end`.
    pub fn writes(&self, end: Micros, random: &mut fastrand::Rng) -> Vec<Write> {
        let mut writes = Vec::new();
        match self.model {
            Model::Poisson => self.poisson(self.rate, end, random, |at, random| {
                writes.push(self.write(at, random));
            }),
            Model::Bursts { size, within } => {
                self.poisson(self.rate / size as f64, end, random, |at, random| {
                    for _ in 0..size {
                        let at = at + random.u64(0..=within);
                        writes.push(self.write(at, random));
                    }
                });
            }
            Model::Shifts { busy, silent } => {
                let offset = random.u64(0..busy + silent);
                self.poisson(self.rate, end, random, |at, random| {
                    if (at + offset) % (busy + silent) < busy {
                        writes.push(self.write(at, random));
                    }
                });
            }
            Model::Periodic => {
                let period = (SECOND as f64 / self.rate) as Micros;
                let mut at = random.u64(0..=period);
                while at < end {
                    writes.push(self.write(at, random));
                    at += period;
                }
            }
            Model::ClosedLoop { threads, think } => {
                for _ in 0..threads {
                    let mut at = random.u64(0..=100 * MS);
                    while at < end {
                        let write = self.write(at, random);
                        at = write.commit.max(write.landing) + random.u64(0..=think) + 100;
                        writes.push(write);
                    }
                }
            }
            Model::Pairs { apart } => {
                self.poisson(self.rate / 2.0, end, random, |at, random| {
                    let back = at + random.u64(1..=apart);
                    writes.push(Write { delta: 1, ..self.write(at, random) });
                    writes.push(Write { delta: -1, ..self.write(back, random) });
                });
            }
            Model::Toggle { apart } => {
                let (mut at, mut delta) = (random.u64(0..=apart), 1);
                while at < end {
                    let write = Write { delta, ..self.write(at, random) };
                    at = write.commit.max(write.landing) + random.u64(1..=apart);
                    delta = -delta;
                    writes.push(write);
                }
            }
        }
        writes
    }

    fn poisson(
        &self,
        rate: f64,
        end: Micros,
        random: &mut fastrand::Rng,
        mut take: impl FnMut(Micros, &mut fastrand::Rng),
    ) {
        let mut at = 0.0;
        loop {
            at -= (1.0 - random.f64()).ln() / rate * SECOND as f64;
            if at >= end as f64 {
                return;
            }
            take(at as Micros, random);
        }
    }

    fn write(&self, at: Micros, random: &mut fastrand::Rng) -> Write {
        let later = at + any(random, &self.in_flight);
        let delta = if random.f64() < self.decrements { -1 } else { 1 };
        if random.f64() < self.increments_first {
            Write { commit: later, landing: at, delta }
        } else {
            Write { commit: at, landing: later, delta }
        }
    }
}
