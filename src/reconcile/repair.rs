//! A change that is proven right, and a repair as evidence of one: what was written, when, and what
//! proved it (R10).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::amount::Amount;
use super::id::Id;

/// What proved that a counter had to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// It stood still from T − settle to T + settle and differed from the truth at T (R3).
    Still,
    /// It was absent, and still was a settle after the truth was taken (R6).
    Absent,
    /// It stood still, and the whole result has no such id (R2).
    Ghost,
    /// It never stood still that long, but samples of its drift agreed (R5).
    Agreed,
    /// The samples did not agree, but all were far on one side; the nearest to 0 was added (R5).
    Nearest,
    /// Nothing but somebody's word: `recountd undo` put back what a run had written.
    Undo,
}

impl Proof {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Still, Self::Absent, Self::Ghost, Self::Agreed, Self::Nearest, Self::Undo];

    /// The word in the evidence.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Still => "still",
            Self::Absent => "absent",
            Self::Ghost => "ghost",
            Self::Agreed => "agreed",
            Self::Nearest => "nearest",
            Self::Undo => "undo",
        }
    }

    /// The same in a sentence, for those who ask why.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Still => {
                "it stood still from a settle before to a settle after the truth was read"
            }
            Self::Absent => "it was absent, and still was a settle after the truth was read",
            Self::Ghost => "it stood still, and the whole result of the query has no such id",
            Self::Agreed => "it never stood still, but samples of its drift agreed",
            Self::Nearest => {
                "it never stood still; of its drift as sampled, the smallest was added"
            }
            Self::Undo => "recountd undo put back what a run had written",
        }
    }

    /// Whether a difference was added to a counter in motion, instead of an exact value set (R5).
    #[must_use]
    pub fn is_relative(self) -> bool {
        matches!(self, Self::Agreed | Self::Nearest)
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|proof| proof.word() == word)
    }
}

/// A write that is proven right: from what the counter stood still at, to the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The id.
    pub id: Id,
    /// What the counter must still hold; `None`: it must still be absent.
    pub from: Option<Amount>,
    /// What it gets; `None`: it is removed.
    pub to: Option<Amount>,
    /// What proves it.
    pub proof: Proof,
}

impl Change {
    /// How far the counter was off: truth − counter.
    #[must_use]
    pub fn drift(&self) -> Amount {
        Amount::between(self.from, self.to)
    }

    /// Whether it writes to or removes a counter that Redis holds (the guard counts these); 0 is
    /// as good as absent.
    #[must_use]
    pub fn touches_existing(&self) -> bool {
        self.from.is_some_and(|counter| !counter.is_zero())
    }

    /// Whether it removes a ghost.
    #[must_use]
    pub fn removes(&self) -> bool {
        self.to.is_none()
    }
}

/// One counter that a run wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Repair {
    /// The target's name where a query has several, else empty.
    pub target: Arc<str>,
    /// The id.
    pub id: Id,
    /// What the counter held; `None`: it was absent.
    pub before: Option<Amount>,
    /// What it got; `None`: it was removed.
    pub after: Option<Amount>,
    /// When Redis had answered, by the wall clock.
    pub at: DateTime<Utc>,
    /// What proved it.
    pub proof: Proof,
}

impl Repair {
    /// What was added: after − before, absent being 0 (R1).
    #[must_use]
    pub fn added(&self) -> Amount {
        Amount::between(self.before, self.after)
    }

    /// What puts the counter back, if it holds `now`; `None` if it has moved on.
    ///
    /// An exact value is put back only where the counter still holds what the run wrote. A
    /// difference that was added to a counter in motion is taken off what it holds now: whatever
    /// was counted since then stays counted. Where the counter has gone, there is nothing to take
    /// it off.
    #[must_use]
    pub fn undoing(&self, now: Option<Amount>) -> Option<Change> {
        let to = if !self.proof.is_relative() {
            if now != self.after {
                return None;
            }
            self.before
        } else {
            Some(now?.minus(self.added()))
        };
        Some(Change { id: self.id.clone(), from: now, to, proof: Proof::Undo })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repair(before: Option<i64>, after: Option<i64>, proof: Proof) -> Repair {
        let [before, after] = [before, after].map(|n| n.map(Amount::Int));
        let (id, at, target) = (Id::Number(7), DateTime::<Utc>::MIN_UTC, Arc::from(""));
        Repair { target, id, before, after, at, proof }
    }

    /// What the counter gets back if it holds `now`.
    fn back(repair: &Repair, now: Option<i64>) -> Option<Option<Amount>> {
        let change = repair.undoing(now.map(Amount::Int))?;
        assert_eq!((change.from, change.proof), (now.map(Amount::Int), Proof::Undo));
        Some(change.to)
    }

    #[test]
    fn every_proof_is_found_by_its_word() {
        for proof in Proof::ALL {
            assert_eq!(Proof::from_word(proof.word()), Some(proof));
        }
        assert_eq!(Proof::from_word("guess"), None);
    }

    #[test]
    fn an_exact_value_is_put_back_only_where_it_still_stands() {
        let written = repair(Some(3), Some(5), Proof::Still);
        assert_eq!(back(&written, Some(5)), Some(Some(Amount::Int(3))));
        assert_eq!(back(&written, Some(6)), None);
        assert_eq!(back(&written, None), None);
        assert_eq!(back(&repair(None, Some(5), Proof::Absent), Some(5)), Some(None));
        assert_eq!(back(&repair(Some(3), None, Proof::Ghost), None), Some(Some(Amount::Int(3))));
    }

    #[test]
    fn what_was_added_in_motion_is_taken_off_what_is_there_now() {
        let added = repair(Some(100), Some(103), Proof::Agreed);
        assert_eq!(back(&added, Some(250)), Some(Some(Amount::Int(247))));
        assert_eq!(back(&added, None), None);
    }
}
