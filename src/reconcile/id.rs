//! Ids, and a compact set of them.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use roaring::RoaringTreemap;

/// What names a counter: the first column of the query, and the member in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// A whole number from 0, written without leading zeros.
    Number(u64),
    /// Anything else, as bytes.
    Text(Box<[u8]>),
}

impl Id {
    /// From the bytes of a member or of a text column. `7` is the number; `07` and `+7` are text,
    /// because Redis holds them as other members.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let canonical = bytes.len() == 1 || bytes.first() != Some(&b'0');
        if canonical
            && !bytes.is_empty()
            && bytes.iter().all(u8::is_ascii_digit)
            && let Some(number) = std::str::from_utf8(bytes).ok().and_then(|t| t.parse().ok())
        {
            return Self::Number(number);
        }
        Self::Text(bytes.into())
    }

    /// From a signed integer column.
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        u64::try_from(value)
            .map_or_else(|_| Self::Text(value.to_string().into_bytes().into()), Self::Number)
    }

    /// The member's bytes in Redis.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Number(number) => number.to_string().into_bytes(),
            Self::Text(bytes) => bytes.to_vec(),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
        }
    }
}

/// Which ids a result held: a few bits for each number, 8 bytes and overhead for each text (R2).
///
/// Texts are kept as 64-bit hashes. Two texts with one hash look like one id, which is on the safe
/// side both times: a duplicate is refused, and a ghost that looks like a known id is left alone.
#[derive(Debug, Default)]
pub struct IdSet {
    numbers: RoaringTreemap,
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl IdSet {
    /// Adds an id; false if it was there already.
    pub fn insert(&mut self, id: &Id) -> bool {
        match id {
            Id::Number(number) => self.numbers.insert(*number),
            Id::Text(bytes) => self.hashes.insert(self.hasher.hash_one(bytes)),
        }
    }

    /// Whether the id is there.
    #[must_use]
    pub fn contains(&self, id: &Id) -> bool {
        match id {
            Id::Number(number) => self.numbers.contains(*number),
            Id::Text(bytes) => self.hashes.contains(&self.hasher.hash_one(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_writing_of_a_number_is_that_number() {
        for (bytes, number) in [
            (b"7".as_slice(), Some(7)),
            (b"0", Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"07", None),
            (b"00", None),
            (b"+7", None),
            (b"-7", None),
            (b"", None),
            (b"\xff", None),
        ] {
            let id = Id::from_bytes(bytes);
            assert_eq!(matches!(&id, Id::Number(n) if Some(*n) == number), number.is_some());
            assert_eq!(id.to_bytes(), bytes);
        }
        assert_eq!(Id::from_i64(-7), Id::from_bytes(b"-7"));
        assert_eq!(Id::from_i64(7), Id::from_bytes(b"7"));
    }

    #[test]
    fn a_set_tells_a_second_time_from_a_first() {
        let mut set = IdSet::default();
        for bytes in [b"7".as_slice(), b"07", b"seven", b""] {
            let id = Id::from_bytes(bytes);
            assert!(!set.contains(&id));
            assert!(set.insert(&id));
            assert!(!set.insert(&id));
            assert!(set.contains(&id));
        }
    }
}
