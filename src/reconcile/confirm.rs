//! Proving a difference: the watch from T − settle to T + settle (R3, R4).

use std::collections::HashMap;
use std::time::Duration;

use super::amount::Amount;
use super::compare::Suspect;
use super::id::Id;
use super::repair::{Change, Proof};

/// How often an id whose counter moved is tried again before it counts as unproven (R4).
pub const ROUNDS: u32 = 4;

/// The time between two readings of a watched counter: settle/25, not less than 5 ms (R3).
#[must_use]
pub fn reading_interval(settle: Duration) -> Duration {
    (settle / 25).max(Duration::from_millis(5))
}

/// The pause before the next reading: ½ to 1 reading interval, at random, so that an app that writes
/// in the rhythm of the readings cannot stay unseen (R3).
#[must_use]
pub fn reading_pause(settle: Duration, random: &mut fastrand::Rng) -> Duration {
    reading_interval(settle).mul_f64(0.5 + random.f64() / 2.0)
}

/// Snapshots of the truth in one watch, all of which must agree (R3). An id whose truth changes is
/// being written to, whatever its readings say.
pub const SNAPSHOTS: u32 = 3;

/// The time from the end of one snapshot to the beginning of the next, in a watch and among the
/// samples of a hot id: ¼ to ¾ of settle, at random, so that no rhythm of the app can hide in
/// between, and far enough apart that two of them seldom see the same write in flight (R3, R5).
#[must_use]
pub fn snapshot_distance(settle: Duration, random: &mut fastrand::Rng) -> Duration {
    settle / 4 + settle.mul_f64(random.f64() / 2.0)
}

/// How long the readings may pause before what stood still so far proves nothing any more: five
/// intervals, not less than 50 ms, which a busy machine may well take to wake a thread.
#[must_use]
pub fn longest_gap(settle: Duration) -> Duration {
    (reading_interval(settle) * 5).max(Duration::from_millis(50))
}

/// Counters being watched. Two equal readings do not prove that nothing moved in between: a +1 and
/// a −1 look the same. Many readings close together do, as far as they are closer than two writes.
#[derive(Debug)]
pub struct Watch {
    watched: Vec<Watched>,
    interrupted: bool,
}

#[derive(Debug)]
struct Watched {
    suspect: Suspect,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Unread,
    Still(Option<Amount>),
    Moved,
}

/// What a finished watch says of its ids.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// Counters that stood still and differ: exact.
    pub drifted: Vec<Change>,
    /// Ids that stood still in Redis and that the truth has not.
    pub ghosts: Vec<Change>,
    /// Ids whose counter moved: nothing is known of them yet.
    pub moved: Vec<Suspect>,
    /// Ids that a narrowed query did not find: nothing is known of them yet either.
    pub unseen: Vec<Suspect>,
    /// Whether the readings were interrupted, so that what moved says nothing of the ids.
    pub interrupted: bool,
    /// Ids that are true after all: a write was in flight when they looked wrong.
    pub settled: u64,
}

/// The truth of the watched ids in one snapshot.
#[derive(Debug, Default)]
pub struct Truth {
    /// The values that were found.
    pub values: HashMap<Id, Amount>,
    /// Whether the whole query was asked. Only then does it mean anything that an id is not there:
    /// `WHERE id IN (...)` need not find what the query itself returns (an ENUM whose words are
    /// numbers is compared by its index, a collation may change the spelling).
    pub whole: bool,
}

impl Truth {
    /// Whether a counter is true; absent and 0 are equal (R1).
    fn is(&self, id: &Id, counter: Option<Amount>) -> bool {
        counter.unwrap_or(Amount::ZERO) == self.values.get(id).copied().unwrap_or(Amount::ZERO)
    }
}

impl Watch {
    /// Begins to watch.
    #[must_use]
    pub fn new(suspects: Vec<Suspect>) -> Self {
        let watched =
            suspects.into_iter().map(|suspect| Watched { suspect, state: State::Unread }).collect();
        Self { watched, interrupted: false }
    }

    /// The places of the ids that still have to be read.
    #[must_use]
    pub fn open(&self) -> Vec<usize> {
        let open = self.watched.iter().enumerate().filter(|(_, w)| w.state != State::Moved);
        open.map(|(place, _)| place).collect()
    }

    /// The ids at some places, in their order.
    pub fn ids(&self, places: &[usize]) -> impl Iterator<Item = &Id> + Clone {
        places.iter().filter_map(|place| self.watched.get(*place)).map(|w| &w.suspect.id)
    }

    /// Takes a reading of one counter. One that ever reads differently has moved.
    pub fn observe(&mut self, place: usize, counter: Option<Amount>) {
        let Some(watched) = self.watched.get_mut(place) else { return };
        watched.state = match watched.state {
            State::Unread => State::Still(counter),
            State::Still(before) if before == counter => State::Still(before),
            State::Still(_) | State::Moved => State::Moved,
        };
    }

    /// The readings were interrupted: what moved meanwhile was not seen, so all may have.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
        for watched in &mut self.watched {
            watched.state = State::Moved;
        }
    }

    /// The ids that stand still so far and differ from `truth`: those that a write may follow for.
    #[must_use]
    pub fn differing(&self, truth: &Truth) -> Vec<Id> {
        let differs = |w: &&Watched| matches!(w.state, State::Still(counter) if !truth.is(&w.suspect.id, counter));
        self.watched.iter().filter(differs).map(|w| w.suspect.id.clone()).collect()
    }

    /// Compares two truths of one watch. A differing id whose truth changed was written to in
    /// between, whatever its readings say.
    pub fn compare(&mut self, first: &Truth, again: &Truth) {
        for watched in &mut self.watched {
            let id = &watched.suspect.id;
            if let State::Still(counter) = watched.state
                && !first.is(id, counter)
                && first.values.get(id) != again.values.get(id)
            {
                watched.state = State::Moved;
            }
        }
    }

    /// Ends the watch.
    #[must_use]
    pub fn judge(self, truth: &Truth) -> Verdict {
        let mut verdict = Verdict { interrupted: self.interrupted, ..Verdict::default() };
        for Watched { suspect, state } in self.watched {
            let State::Still(counter) = state else {
                verdict.moved.push(suspect);
                continue;
            };
            let value = truth.values.get(&suspect.id).copied();
            if value.is_none() && !truth.whole {
                verdict.unseen.push(suspect);
            } else if counter.unwrap_or(Amount::ZERO) == value.unwrap_or(Amount::ZERO) {
                verdict.settled += 1;
            } else {
                let (list, proof) = match value {
                    Some(_) => (&mut verdict.drifted, Proof::Still),
                    None => (&mut verdict.ghosts, Proof::Ghost),
                };
                list.push(Change { id: suspect.id, from: counter, to: value, proof });
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(readings: &[Option<i64>], truth: Option<i64>) -> Verdict {
        let id = Id::Number(7);
        let mut watch = Watch::new(vec![suspect(&id)]);
        for reading in readings {
            watch.observe(0, reading.map(Amount::Int));
        }
        let values = truth.map(|t| (id, Amount::Int(t))).into_iter().collect();
        watch.judge(&Truth { values, whole: true })
    }

    fn suspect(id: &Id) -> Suspect {
        Suspect { id: id.clone(), in_redis: true, in_truth: true }
    }

    #[test]
    fn absence_from_a_narrowed_query_proves_nothing() {
        for counter in [None, Some(0), Some(3)] {
            let mut watch = Watch::new(vec![suspect(&Id::Number(7))]);
            watch.observe(0, counter.map(Amount::Int));
            let verdict = watch.judge(&Truth::default());
            assert_eq!((verdict.unseen.len(), verdict.ghosts.len(), verdict.settled), (1, 0, 0));
        }
    }

    #[test]
    fn an_interrupted_watch_proves_nothing() {
        let mut watch = Watch::new(vec![suspect(&Id::Number(7))]);
        watch.observe(0, None);
        watch.interrupt();
        watch.observe(0, None);
        let verdict = watch.judge(&Truth { values: HashMap::new(), whole: true });
        assert_eq!(verdict.moved.len(), 1);
    }

    #[test]
    fn a_counter_that_stood_still_and_differs_has_drifted() {
        let verdict = judge(&[Some(3), Some(3), Some(3)], Some(5));
        let change = verdict.drifted.first().unwrap();
        assert_eq!((change.from, change.to), (Some(Amount::Int(3)), Some(Amount::Int(5))));
        assert_eq!(change.drift(), Amount::Int(2));
        assert!(change.touches_existing());
    }

    #[test]
    fn a_missing_counter_is_drift_from_nothing() {
        let verdict = judge(&[None, None], Some(5));
        let change = verdict.drifted.first().unwrap();
        assert_eq!((change.from, change.drift()), (None, Amount::Int(5)));
        assert!(!change.touches_existing());
    }

    #[test]
    fn a_counter_that_ever_moved_is_not_judged_even_if_it_came_back() {
        for readings in [
            &[Some(3), Some(4), Some(3)][..],
            &[Some(3), Some(3), Some(4)],
            &[None, Some(0)],
            &[Some(1), None],
            &[],
        ] {
            let verdict = judge(readings, Some(5));
            assert_eq!((verdict.moved.len(), verdict.drifted.len()), (1, 0), "{readings:?}");
        }
    }

    #[test]
    fn what_settled_in_the_meantime_is_no_drift() {
        for (readings, truth) in [
            (&[Some(5), Some(5)][..], Some(5)),
            (&[None, None], Some(0)),
            (&[Some(0), Some(0)], None),
            (&[None, None], None),
        ] {
            assert_eq!(judge(readings, truth), Verdict { settled: 1, ..Verdict::default() });
        }
    }

    #[test]
    fn a_still_counter_without_truth_is_a_ghost() {
        let verdict = judge(&[Some(3), Some(3)], None);
        assert!(verdict.drifted.is_empty());
        assert_eq!(verdict.ghosts.first().unwrap().to, None);
    }

    #[test]
    fn a_reading_every_25th_of_settle_but_not_faster_than_5_ms() {
        let ms = Duration::from_millis;
        assert_eq!(reading_interval(ms(1000)), ms(40));
        assert_eq!(reading_interval(ms(50)), ms(5));
    }
}
