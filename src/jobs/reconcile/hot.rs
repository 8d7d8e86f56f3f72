//! Hot ids: counters that never stand still for long enough to be watched (R5).

use std::time::{Duration, Instant};

use super::family::Count;
use super::readings::{Kind, Readings, Rhythm};
use super::{Progress, Run, Stop, since};
use crate::clock;
use crate::config::Target;
use crate::reconcile::{
    Amount, Change, Correction, Id, Proof, SANDWICHES, Samples, Suspect, snapshot_distance,
};

/// Most ids of a family that are sampled in one run; the others stay unproven until the next.
const MOST: usize = 200;
/// How often a correction is tried. Between the reading and the write of each try the counter has
/// to hold still for one way to Redis and back.
const TRIES: u32 = 50;

/// How many settles the samples take at most: half a settle between them on average, three quarters
/// at worst, and one before and after.
const SAMPLING: u32 = 40;

impl Run<'_> {
    /// Samples the ids that kept moving, and corrects those whose samples prove a drift.
    pub(super) fn correct(&mut self, count: &mut Count<'_>) -> Result<(), Stop> {
        // Without narrowing, every sample would cost a whole query.
        if count.suspects.is_empty() || !self.narrow || !self.has_time_for(SAMPLING) {
            return Ok(());
        }
        // Whoever else writes now may correct the same drift.
        let Some(gate) = count.gate.take() else {
            let dry = self.context.mode.dry_run;
            return if dry { self.sample_and_correct(count) } else { Ok(()) };
        };
        if gate.take() {
            self.sample_and_correct(count)?;
        }
        gate.wait_to_share(self.context)?;
        count.gate = Some(gate);
        Ok(())
    }

    fn sample_and_correct(&mut self, count: &mut Count<'_>) -> Result<(), Stop> {
        // A ghost that moves is no ghost for long: its rows come and go.
        let (mut hot, left): (Vec<Suspect>, Vec<Suspect>) =
            std::mem::take(&mut count.suspects).into_iter().partition(|s| s.in_truth);
        count.suspects = left;
        count.suspects.extend(hot.split_off(hot.len().min(MOST)));
        let sampling = self.sample(count, hot)?;
        count.suspects.extend(sampling.hopeless);
        for (suspect, samples) in sampling.hot {
            match samples.judge() {
                Some(correction) if self.add(count, &suspect.id, correction)? => {
                    if correction.proof == Proof::Nearest {
                        count.suspects.push(suspect);
                    }
                }
                _ => count.suspects.push(suspect),
            }
        }
        Ok(())
    }

    fn sample<'c>(&mut self, count: &Count<'c>, hot: Vec<Suspect>) -> Result<Sampling<'c>, Stop> {
        let settle = self.work.settle;
        let mut sampling = Sampling {
            target: count.target(),
            begun: clock::monotonic(),
            rhythm: Rhythm::new(settle),
            hot: hot.into_iter().map(|suspect| (suspect, Samples::new(settle))).collect(),
            hopeless: Vec::new(),
        };
        // What had landed in the settle before the first sandwich is part of its proof.
        sampling.read(self)?;
        sampling.until(self, clock::monotonic() + settle)?;
        let of = SANDWICHES as u64;
        for taken in 0..of {
            if sampling.hot.is_empty() {
                return Ok(sampling);
            }
            self.tell(Progress::Sampling { samples: taken, of });
            let pause = snapshot_distance(settle, &mut sampling.rhythm.random);
            sampling.until(self, clock::monotonic() + pause)?;
            sampling.read(self)?;
            let mut kind = Kind::Narrowed;
            let ids: Vec<Id> = sampling.hot.iter().map(|(suspect, _)| suspect.id.clone()).collect();
            let snapshot = self.snapshot(count, &ids, &mut kind, &mut sampling)?;
            if kind == Kind::Whole {
                break;
            }
            sampling.read(self)?;
            let (asked, answered) = (sampling.at(snapshot.asked), sampling.at(snapshot.answered));
            for (suspect, samples) in &mut sampling.hot {
                if let Some(truth) = snapshot.truth.values.get(&suspect.id) {
                    samples.truth(asked, answered, *truth);
                }
            }
            let left = sampling.hot.extract_if(.., |(_, samples)| samples.is_hopeless());
            sampling.hopeless.extend(left.map(|(suspect, _)| suspect));
        }
        // What was in flight at the last sandwich is seen to land.
        sampling.until(self, clock::monotonic() + settle)?;
        sampling.read(self)?;
        Ok(sampling)
    }

    /// Adds to a counter once: as a compare-and-set from what it holds now, which cannot happen
    /// twice. Gives whether it did.
    fn add(
        &mut self,
        count: &mut Count<'_>,
        id: &Id,
        correction: Correction,
    ) -> Result<bool, Stop> {
        if correction.by.is_zero() {
            return Ok(true);
        }
        for _ in 0..TRIES {
            self.context.check()?;
            let from = self.read(count.target(), std::iter::once(id))?.first().copied().flatten();
            let to = Some(from.unwrap_or(Amount::ZERO).plus(correction.by));
            let change = [Change { id: id.clone(), from, to, proof: correction.proof }];
            let done = self.write(count, &change)?;
            if done.first() == Some(&true) {
                self.take_done(count, &change, &done);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Hot ids being sampled.
struct Sampling<'a> {
    target: &'a Target,
    begun: Instant,
    rhythm: Rhythm,
    hot: Vec<(Suspect, Samples)>,
    /// Those of which the samples will not tell anything any more.
    hopeless: Vec<Suspect>,
}

impl Sampling<'_> {
    fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.begun)
    }
}

impl Readings for Sampling<'_> {
    fn rhythm(&mut self) -> &mut Rhythm {
        &mut self.rhythm
    }

    fn read(&mut self, run: &mut Run<'_>) -> Result<(), Stop> {
        self.rhythm.begin();
        let begun = self.begun;
        for portion in self.hot.chunks_mut(run.pace.reads()) {
            let asked = since(begun);
            let ids = portion.iter().map(|(suspect, _)| -> &Id { &suspect.id });
            let counters = run.read(self.target, ids)?;
            let answered = since(begun);
            for ((_, samples), counter) in portion.iter_mut().zip(counters) {
                samples.observe(asked, answered, counter);
            }
        }
        Ok(())
    }
}
