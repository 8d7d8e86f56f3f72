//! A repair as evidence: what was written, when, and what proved it (R10).

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
}

impl Proof {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Still, Self::Absent, Self::Ghost, Self::Agreed, Self::Nearest];

    /// The word in the evidence.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Still => "still",
            Self::Absent => "absent",
            Self::Ghost => "ghost",
            Self::Agreed => "agreed",
            Self::Nearest => "nearest",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|proof| proof.word() == word)
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
