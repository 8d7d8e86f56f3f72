//! R3 as the shell drives it: readings from T − settle to T + settle, and snapshots in between.

use std::collections::HashMap;
use std::time::Duration;

use recountd::reconcile::{
    Amount, Change, Id, Suspect, Truth, Watch, longest_gap, reading_interval, reading_pause,
};

use super::world::World;
use super::{BEGIN, MS, Micros, SETTLE};

/// How a watch is made.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Readings at random distances instead of one rhythm.
    pub random: bool,
    /// How much closer the readings lie than settle/25.
    pub denser: u32,
    /// Snapshots of the truth that must all agree.
    pub snapshots: usize,
    /// Only the first and the last reading count.
    pub two_readings: bool,
}

impl Plan {
    /// The rule.
    pub const WHOLE: Self = Self { random: true, denser: 1, snapshots: 3, two_readings: false };
    /// One snapshot, as long as nothing else demands more.
    pub const ONE_SNAPSHOT: Self = Self { snapshots: 1, ..Self::WHOLE };
    /// What a first thought would be.
    pub const TWO_READINGS: Self = Self { two_readings: true, ..Self::ONE_SNAPSHOT };
}

/// A clock, and the readings that are due.
pub struct Reader<'a> {
    pub now: Micros,
    pub world: &'a mut World,
    pub random: &'a mut fastrand::Rng,
    next: Micros,
    plan: Plan,
}

impl<'a> Reader<'a> {
    pub fn new(world: &'a mut World, random: &'a mut fastrand::Rng, plan: Plan) -> Self {
        let now = BEGIN + random.u64(0..SETTLE);
        Self { now, world, random, next: now, plan }
    }

    /// Reads the counter: when it was asked, when answered, and what it held in between.
    pub fn read(&mut self) -> (Micros, Micros, i64) {
        let asked = self.now;
        // Most readings are quick, some wait for another client, a few come far too late.
        let took = match self.random.u32(0..10_000) {
            0..2 => self.random.u64(100..400) * MS,
            2..100 => self.random.u64(1..30) * MS,
            _ => self.random.u64(100..1_000),
        };
        let value = self.world.counter(asked + self.random.u64(0..=took));
        self.now += took;
        let settle = Duration::from_micros(SETTLE);
        let pause = match self.plan.random {
            true => reading_pause(settle, self.random),
            false => reading_interval(settle),
        };
        self.next = asked + pause.as_micros() as Micros / Micros::from(self.plan.denser);
        (asked, self.now, value)
    }

    /// Goes on reading as it comes due, until `end`.
    pub fn read_until(&mut self, end: Micros, mut take: impl FnMut(Micros, Micros, i64)) {
        while self.next < end {
            self.now = self.now.max(self.next);
            let (asked, answered, value) = self.read();
            take(asked, answered, value);
        }
        self.now = self.now.max(end);
    }

    /// Takes a snapshot of 1 to 40 ms; gives when it was asked, when answered, and the truth.
    pub fn snapshot(&mut self) -> (Micros, Micros, i64) {
        let (asked, took) = (self.now, self.random.u64(1..=40) * MS);
        let truth = self.world.truth(asked + self.random.u64(0..=took), self.random);
        (asked, asked + took, truth)
    }
}

/// Watches the id once; gives the write that is proven.
pub fn watch(world: &mut World, random: &mut fastrand::Rng, plan: Plan) -> Option<Change> {
    let id = Id::Number(1);
    let suspect = Suspect { id: id.clone(), in_redis: true, in_truth: true };
    let mut watch = Watch::new(vec![suspect]);
    let longest = longest_gap(Duration::from_micros(SETTLE)).as_micros() as Micros;
    let mut reader = Reader::new(world, random, plan);
    let mut last = reader.now;
    let mut observe = |watch: &mut Watch, asked: Micros, value: i64, ends: bool| {
        if asked - last > longest {
            watch.interrupt();
        }
        last = asked;
        if ends || !plan.two_readings {
            watch.observe(0, Some(Amount::Int(value)));
        }
    };
    let (asked, answered, value) = reader.read();
    observe(&mut watch, asked, value, true);
    reader
        .read_until(answered + SETTLE, |asked, _, value| observe(&mut watch, asked, value, false));
    let mut first: Option<Truth> = None;
    for snapshot in 0..plan.snapshots {
        if snapshot > 0 {
            let pause = reader.random.u64(SETTLE / 4..=SETTLE * 3 / 4);
            let end = reader.now + pause;
            reader.read_until(end, |asked, _, value| observe(&mut watch, asked, value, false));
        }
        let (_, answered, value) = reader.snapshot();
        reader.read_until(answered, |asked, _, value| observe(&mut watch, asked, value, false));
        let values = HashMap::from([(id.clone(), Amount::Int(value))]);
        let truth = Truth { values, whole: false };
        match &first {
            Some(first) => watch.compare(first, &truth),
            None => first = Some(truth),
        }
    }
    let end = reader.now + SETTLE;
    reader.read_until(end, |asked, _, value| observe(&mut watch, asked, value, false));
    let (asked, _, value) = reader.read();
    observe(&mut watch, asked, value, true);
    watch.judge(&first?).drifted.pop()
}
