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

/// Proven changes after which a refusal need not wait for the rest. Fewer are told in full.
const ENOUGH: usize = 10_000;
/// How many settles a watch takes: from one before the first of three snapshots to one after the
/// last, and the time of the queries.
const WATCH: u32 = 4;

impl Run<'_> {
    /// Takes the family's suspects through the watch, in portions, and those of which nothing is
    /// known then again, for [`ROUNDS`] rounds; leaves those that kept moving (R4), and those for
    /// which no time is left. What is proven is written at once, or gathered in `hold`.
    pub(super) fn confirm(
        &mut self,
        count: &mut Count<'_>,
        mut hold: Option<&mut Vec<Change>>,
    ) -> Result<(), Stop> {
        // A round in which the machine was too busy to read tells nothing, and is made good once.
        let (mut round, mut spare) = (1, ROUNDS);
        while round <= ROUNDS && !count.suspects.is_empty() {
            let mut interrupted = false;
            let suspects = std::mem::take(&mut count.suspects);
            let of = suspects.len() as u64;
            // A narrowed query does not find what the result has not, so that ghosts are asked for
            // by the whole query, and by themselves.
            let (known, ghosts): (Vec<_>, Vec<_>) = suspects.into_iter().partition(|s| s.in_truth);
            let mut done = 0;
            for mut suspects in [known, ghosts] {
                while !suspects.is_empty() {
                    if !self.has_time_for(WATCH) {
                        count.suspects.append(&mut suspects);
                        break;
                    }
                    self.tell(Progress::Confirming { round, ids: done, of });
                    // The pauses between the readings are three quarters of an interval on average.
                    let interval = reading_interval(self.work.settle).mul_f64(0.75);
                    let size = self.pace.watchable(interval);
                    let portion = suspects.split_off(suspects.len().saturating_sub(size));
                    done += portion.len() as u64;
                    let verdict = self.watch(count, portion)?;
                    interrupted |= verdict.interrupted;
                    self.take_verdict(count, verdict, hold.as_deref_mut())?;
                }
            }
            if !self.has_time_for(WATCH) {
                return Ok(());
            }
            if interrupted && spare > 0 {
                spare -= 1;
            } else {
                round += 1;
            }
        }
        Ok(())
    }

    /// Writes what a watch has proven, or gathers it. What is too much already will not become less:
    /// the guard then refuses before the rest is watched (R7).
    fn take_verdict(
        &mut self,
        count: &mut Count<'_>,
        verdict: Verdict,
        hold: Option<&mut Vec<Change>>,
    ) -> Result<(), Stop> {
        count.suspects.extend(verdict.moved);
        // They are not found by a narrowed query; whether they are ghosts, the whole one tells.
        let unseen = verdict.unseen.into_iter();
        count.suspects.extend(unseen.map(|suspect| Suspect { in_truth: false, ..suspect }));
        let mut changes = verdict.drifted;
        if count.ghosts == Some(Ghosts::Remove) {
            changes.extend(verdict.ghosts);
        } else {
            let family = count.family.name();
            verdict.ghosts.iter().for_each(|ghost| self.findings.add(&family, ghost));
        }
        let Some(held) = hold else { return self.apply(count, &changes) };
        held.extend(changes);
        if held.len() < ENOUGH {
            return Ok(());
        }
        self.judge(&[(&*count, held.as_slice())])
    }

    /// Watches the counters of some ids from a settle before the first of several snapshots of their
    /// truth to a settle after the last.
    fn watch(&mut self, count: &Count<'_>, suspects: Vec<Suspect>) -> Result<Verdict, Stop> {
        let settle = self.work.settle;
        let ghosts = suspects.iter().any(|suspect| !suspect.in_truth);
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
        let mut kind = self.kind_for(&ids, ghosts);
        let snapshot = self.snapshot(count, &ids, &mut kind, &mut watching)?;
        let mut last = snapshot.answered;
        for _ in 1..SNAPSHOTS {
            let ids = watching.watch.differing(&snapshot.truth);
            if ids.is_empty() {
                break;
            }
            let pause = snapshot_distance(settle, &mut watching.rhythm.random);
            watching.until(self, clock::monotonic() + pause)?;
            let again = self.snapshot(count, &ids, &mut kind, &mut watching)?;
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
