//! What samples prove: the bound that always holds, and the agreement that needs rare writes (R5).

use std::time::Duration;

use super::{Run, Samples, Sandwich};

/// Samples that must count before anything is judged.
const LEAST: usize = 16;
/// Samples taken in a stillness that must all give the value that is added.
const LEAST_STILL: usize = 3;
/// The stillness of such a sample, on either side of it, as a part of settle.
const STILLNESS: u32 = 16;
/// The length of such a stillness, in halves of the mean time between two movements.
const HALF_GAPS: u32 = 5;
/// Movements in one settle beyond which no agreement counts.
const MOST_MOVES: u32 = 20;
/// Bounds that are left out on either side: what three samples do not say is not believed.
const OUTLIERS: usize = 3;

/// Between which two values the drift lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    least: i64,
    most: i64,
}

impl Bounds {
    pub(super) fn contains(self, drift: i64) -> bool {
        (self.least..=self.most).contains(&drift)
    }

    /// The bound nearest to 0, where 0 is not between them.
    pub(super) fn nearest(self) -> Option<i64> {
        if self.least > 0 {
            Some(self.least)
        } else if self.most < 0 {
            Some(self.most)
        } else {
            None
        }
    }
}

/// A sample whose counter did not move while the truth was taken.
struct Counted {
    /// Truth − counter: the drift and what was in flight.
    value: i64,
    /// How long the counter had stood still before, and did afterwards.
    before: Duration,
    after: Duration,
}

impl Samples {
    /// The bounds on the drift that every sample gives, as far as readings see all movement.
    ///
    /// Let T be the instant of the truth and r a reading before it. What the truth has and r has
    /// not was still to land, and did so by T + settle; what r has and the truth has not landed after T −
    /// settle. So truth − r − drift is a part of the movement from r to T + settle minus a part of
    /// the movement from T − settle to r.
    pub(super) fn bounds(&self) -> Option<Bounds> {
        let (mut least, mut most): (Vec<_>, Vec<_>) =
            self.sandwiches.iter().filter_map(|sandwich| self.bounds_of(*sandwich)).unzip();
        if least.len() < LEAST {
            return None;
        }
        least.sort_unstable_by(|a, b| b.cmp(a));
        most.sort_unstable();
        // Bounds that exclude each other: something moved that no reading saw, or settle is wrong.
        if least.first() > most.first() {
            return None;
        }
        Some(Bounds { least: *least.get(OUTLIERS)?, most: *most.get(OUTLIERS)? })
    }

    fn bounds_of(&self, sandwich: Sandwich) -> Option<(i64, i64)> {
        let begin = self.last_before(sandwich.asked.checked_sub(self.settle)?)?;
        let reading = self.last_before(sandwich.asked)?;
        let end = self.first_after(sandwich.answered + self.settle)?;
        let (up_before, down_before) = self.movement(begin, reading)?;
        let (up_after, down_after) = self.movement(reading, end)?;
        let sample = sandwich.truth.checked_sub(self.runs.get(reading)?.value)?;
        let least = sample.checked_sub(up_after)?.checked_sub(down_before)?;
        let most = sample.checked_add(down_after)?.checked_add(up_before)?;
        Some((least, most))
    }

    /// The value that nearly all samples agree on, where writes are rare enough for that to mean
    /// something.
    ///
    /// Many samples that agree are not enough: an app that always has one write in flight gives them without any
    /// drift. But then the counter never stands still for long, or in an even rhythm. So some
    /// samples must lie in a stillness that is long for this counter, and none of these may differ.
    pub(super) fn agreed(&self) -> Option<i64> {
        let gap = self.mean_gap()?;
        if gap < self.settle / MOST_MOVES {
            return None;
        }
        let counted: Vec<Counted> =
            self.sandwiches.iter().filter_map(|s| self.counted(*s)).collect();
        let edge = self.settle / STILLNESS;
        // What stands still for two settles is beyond doubt, however seldom it moves.
        let most = self.settle * 2;
        let length = (gap.min(most) * HALF_GAPS / 2).min(most);
        let mut still = counted
            .iter()
            .filter(|c| c.before >= edge && c.after >= edge && c.before + c.after >= length);
        let agreed = still.next()?.value;
        let stillnesses = 1 + still.clone().count();
        let unanimous = still.all(|c| c.value == agreed);
        let same = counted.iter().filter(|c| c.value == agreed).count();
        let nearer = |value: i64| if agreed > 0 { value < agreed } else { value > agreed };
        let doubts = counted.iter().filter(|c| nearer(c.value)).count();
        let proven = agreed != 0
            && unanimous
            && stillnesses >= LEAST_STILL
            && counted.len() >= LEAST
            && same * 4 >= counted.len() * 3
            && doubts * 8 <= counted.len();
        proven.then_some(agreed)
    }

    fn counted(&self, sandwich: Sandwich) -> Option<Counted> {
        let run = self.runs.get(self.last_before(sandwich.asked)?)?;
        Some(Counted {
            value: sandwich.truth.checked_sub(run.value)?,
            before: sandwich.asked.saturating_sub(run.since),
            after: run.until.checked_sub(sandwich.answered)?,
        })
    }

    /// The mean time between two movements that were seen.
    fn mean_gap(&self) -> Option<Duration> {
        let time = self.runs.last()?.until.saturating_sub(self.runs.first()?.since);
        let moves = u32::try_from(self.runs.len()).ok()?.saturating_sub(1);
        Some(time.checked_div(moves).unwrap_or(Duration::MAX))
    }

    /// The run that was read last before an instant.
    fn last_before(&self, at: Duration) -> Option<usize> {
        self.runs.partition_point(|run| run.since <= at).checked_sub(1)
    }

    /// The run that was read first after an instant.
    fn first_after(&self, at: Duration) -> Option<usize> {
        let place = self.runs.partition_point(|run| run.until < at);
        (place < self.runs.len()).then_some(place)
    }

    /// How far the counter went up, and how far down, from one run to another; `None` where a part
    /// of it was not read.
    fn movement(&self, from: usize, to: usize) -> Option<(i64, i64)> {
        let (mut up, mut down) = (0_i64, 0_i64);
        for pair in self.runs.get(from..=to)?.windows(2) {
            let [Run { value: left, .. }, Run { value: right, blind, .. }] = pair else { continue };
            if *blind {
                return None;
            }
            let step = right.checked_sub(*left)?;
            up = up.checked_add(step.max(0))?;
            down = down.checked_sub(step.min(0))?;
        }
        Some((up, down))
    }
}

#[cfg(test)]
mod tests {
    use super::super::SANDWICHES;
    use super::*;
    use crate::reconcile::{Amount, Correction, Proof};

    const MS: Duration = Duration::from_millis(1);

    /// Reads every 10 ms and samples every 500 ms, with a settle of 1 s; `counter` and `truth` are
    /// given the time in milliseconds.
    fn judge(counter: impl Fn(u32) -> i64, truth: impl Fn(u32) -> i64) -> Option<Correction> {
        let mut samples = Samples::new(MS * 1_000);
        for at in (0..26_000_u32).step_by(10) {
            samples.observe(MS * at, MS * at, Some(Amount::Int(counter(at))));
            if at >= 1_000 && at % 500 == 0 && samples.sandwiches.len() < SANDWICHES {
                samples.truth(MS * at, MS * at, Amount::Int(truth(at)));
                samples.observe(MS * at, MS * at, Some(Amount::Int(counter(at))));
            }
        }
        samples.judge()
    }

    fn agreed(by: i64) -> Option<Correction> {
        Some(Correction { by: Amount::Int(by), proof: Proof::Agreed })
    }

    fn nearest(by: i64) -> Option<Correction> {
        Some(Correction { by: Amount::Int(by), proof: Proof::Nearest })
    }

    /// Writes at uneven distances of 30 to 1,390 ms.
    fn uneven(at: u32) -> i64 {
        i64::from(at / 2_000 * 5)
            + [30, 60, 90, 120, 1_510].iter().filter(|ms| at % 2_000 >= **ms).count() as i64
    }

    #[test]
    fn a_counter_that_is_true_again_and_again_is_given_up() {
        let given_up = |drift: i64| {
            let mut samples = Samples::new(MS * 1_000);
            let sample = |samples: &mut Samples, at: u32| {
                samples.observe(MS * at, MS * at, Some(Amount::Int(5)));
                samples.truth(MS * at, MS * at, Amount::Int(5 + drift));
                samples.is_hopeless()
            };
            (1..=10).find(|at| sample(&mut samples, at * 500))
        };
        assert_eq!(given_up(0), Some(7));
        assert_eq!(given_up(1), None);
    }

    #[test]
    fn what_samples_in_long_stillnesses_agree_on_is_added() {
        assert_eq!(judge(uneven, |at| uneven(at) + 2), agreed(2));
        assert_eq!(judge(uneven, |at| uneven(at) - 1), agreed(-1));
        assert_eq!(judge(uneven, uneven), None);
    }

    #[test]
    fn an_even_rhythm_proves_nothing_however_many_samples_agree() {
        let even = |at: u32| i64::from(at / 200);
        assert_eq!(judge(even, |at| even(at) + 1), None);
    }

    #[test]
    fn a_drift_beyond_all_that_can_be_in_flight_is_repaired_in_part() {
        let busy = |at: u32| i64::from(at / 20);
        // 50 increments a settle: of 80 at least 30 are drift.
        assert_eq!(judge(busy, |at| busy(at) + 80), nearest(30));
        assert_eq!(judge(busy, |at| busy(at) - 80), nearest(-30));
        assert_eq!(judge(busy, |at| busy(at) + 50), None);
    }

    #[test]
    fn samples_that_contradict_each_other_prove_nothing() {
        assert_eq!(judge(|_| 7, |_| 9), agreed(2));
        assert_eq!(judge(|_| 7, |at| if at < 20_000 { 9 } else { 8 }), None);
    }

    #[test]
    fn what_is_not_whole_or_was_not_read_proves_nothing() {
        let mut samples = Samples::new(MS * 1_000);
        samples.observe(MS, MS, Some(Amount::Real(0.5)));
        assert!(samples.spoilt);
        // Of a pause in the readings only the samples farther than a settle from it are left.
        let mut samples = Samples::new(MS * 1_000);
        for at in (0..26_000_u32).step_by(500) {
            samples.observe(MS * at, MS * at, Some(Amount::Int(7)));
            samples.truth(MS * at, MS * at, Amount::Int(9));
        }
        assert_eq!(samples.judge(), None);
    }
}
