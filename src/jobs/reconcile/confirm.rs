//! Proving what looks wrong, and repairing what is proven (R3, R4).

use std::time::Duration;

use super::family::Count;
use super::readings::{Readings, Rhythm};
use super::{Progress, Run, Stop};
use crate::clock;
use crate::config::{Ghosts, Target};
use crate::reconcile::{
    Change, Id, ROUNDS, SNAPSHOTS, Suspect, Truth, Verdict, Watch, longest_gap, reading_interval,
    snapshot_distance,
};

impl Run<'_> {
    /// Takes the family's suspects through the watch, in portions, and those of which nothing is
    /// known then again, for [`ROUNDS`] rounds; leaves those that kept moving (R4). What is proven
    /// is written at once, or gathered in `hold`.
    pub(super) fn confirm(
        &mut self,
        count: &mut Count<'_>,
        mut hold: Option<&mut Vec<Change>>,
    ) -> Result<(), Stop> {
        // A round in which the machine was too busy to read tells nothing, and is made good once.
        let (mut round, mut spare) = (1, ROUNDS);
        while round <= ROUNDS && !count.suspects.is_empty() {
            let mut interrupted = false;
            let mut suspects = std::mem::take(&mut count.suspects);
            let of = suspects.len() as u64;
            while !suspects.is_empty() {
                let ids = of - suspects.len() as u64;
                self.tell(Progress::Confirming { round, ids, of });
                // The pauses between the readings are three quarters of an interval on average.
                let interval = reading_interval(self.work.settle).mul_f64(0.75);
                let size = self.pace.watchable(interval);
                let portion = suspects.split_off(suspects.len().saturating_sub(size));
                let verdict = self.watch(count, portion)?;
                interrupted |= verdict.interrupted;
                // What a narrowed query does not find, the whole one is asked for from now on.
                self.narrow &= verdict.unseen.is_empty();
                count.suspects.extend(verdict.moved);
                count.suspects.extend(verdict.unseen);
                let mut changes = verdict.drifted;
                if count.ghosts == Some(Ghosts::Remove) {
                    changes.extend(verdict.ghosts);
                } else {
                    verdict.ghosts.iter().for_each(|ghost| self.findings.add(ghost));
                }
                match &mut hold {
                    Some(held) => held.extend(changes),
                    None => self.apply(count, &changes)?,
                }
            }
            if interrupted && spare > 0 {
                spare -= 1;
            } else {
                round += 1;
            }
        }
        Ok(())
    }

    /// Watches the counters of some ids from a settle before the first of several snapshots of their
    /// truth to a settle after the last.
    fn watch(&mut self, count: &Count<'_>, suspects: Vec<Suspect>) -> Result<Verdict, Stop> {
        let settle = self.work.settle;
        let mut watching = Watching {
            target: count.target(),
            watch: Watch::new(suspects),
            rhythm: Rhythm::new(settle),
            longest_gap: longest_gap(settle),
        };
        watching.read(self)?;
        watching.until(self, clock::monotonic() + settle)?;
        let places = watching.watch.open();
        let ids: Vec<Id> = watching.watch.ids(&places).cloned().collect();
        if ids.is_empty() {
            return Ok(watching.watch.judge(&Truth::default()));
        }
        let snapshot = self.snapshot(count, &ids, &mut watching)?;
        let mut last = snapshot.answered;
        for _ in 1..SNAPSHOTS {
            let ids = watching.watch.differing(&snapshot.truth);
            if ids.is_empty() {
                break;
            }
            let pause = snapshot_distance(settle, &mut watching.rhythm.random);
            watching.until(self, clock::monotonic() + pause)?;
            let again = self.snapshot(count, &ids, &mut watching)?;
            watching.watch.compare(&snapshot.truth, &again.truth);
            last = again.answered;
        }
        watching.until(self, last + settle)?;
        // The watch ends with a reading after T + settle; the one before may be a little earlier.
        watching.read(self)?;
        Ok(watching.watch.judge(&snapshot.truth))
    }
}

/// A watch on its way.
struct Watching<'a> {
    target: &'a Target,
    watch: Watch,
    rhythm: Rhythm,
    longest_gap: Duration,
}

impl Readings for Watching<'_> {
    fn rhythm(&mut self) -> &mut Rhythm {
        &mut self.rhythm
    }

    /// Reads every counter that has not moved yet, once.
    fn read(&mut self, run: &mut Run<'_>) -> Result<(), Stop> {
        if self.rhythm.begin() > self.longest_gap {
            self.watch.interrupt();
        }
        let places = self.watch.open();
        let mut left = places.as_slice();
        while !left.is_empty() {
            let (now, later) = left.split_at(run.pace.reads().min(left.len()));
            let counters = run.read(self.target, self.watch.ids(now))?;
            for (place, counter) in now.iter().zip(counters) {
                self.watch.observe(*place, counter);
            }
            left = later;
        }
        Ok(())
    }
}
