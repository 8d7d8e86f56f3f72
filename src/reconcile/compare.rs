//! Comparing rows of truth with the counters that Redis gave for them (R1).

use super::amount::Amount;
use super::id::Id;
use super::row::Row;

/// An id whose counter looked wrong once. Seen once, it is not believed (R3).
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    /// The id.
    pub id: Id,
    /// Whether Redis had a counter for it that was not 0.
    pub in_redis: bool,
    /// Whether the result of the whole query had it; if not, it looks like a ghost.
    pub in_truth: bool,
}

/// What one chunk of rows came to.
#[derive(Debug, Default, PartialEq)]
pub struct Comparison {
    /// Rows for which Redis has a counter.
    pub present: u64,
    /// Those of them whose counter is not 0.
    pub nonzero: u64,
    /// Rows that differ.
    pub suspects: Vec<Suspect>,
}

/// Compares rows with their counters, one for each row and in the same order. Absent and 0 are
/// equal (R1).
#[must_use]
pub fn compare(rows: &[Row], counters: &[Option<Amount>]) -> Comparison {
    let mut found = Comparison::default();
    for (row, counter) in rows.iter().zip(counters) {
        let in_redis = counter.is_some_and(|c| !c.is_zero());
        found.present += u64::from(counter.is_some());
        found.nonzero += u64::from(in_redis);
        if counter.unwrap_or(Amount::ZERO) != row.truth {
            found.suspects.push(Suspect { id: row.id.clone(), in_redis, in_truth: true });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_zero_are_equal_and_every_other_difference_is_kept() {
        let row = |id, truth| Row { id: Id::Number(id), truth: Amount::Int(truth) };
        let rows = [row(1, 5), row(2, 5), row(3, 5), row(4, 0), row(5, 0), row(6, 0)];
        let counter = |n| Some(Amount::Int(n));
        let counters = [counter(5), counter(4), None, None, counter(0), counter(2)];
        let found = compare(&rows, &counters);
        assert_eq!((found.present, found.nonzero), (4, 3));
        let ids: Vec<_> = found.suspects.iter().map(|s| (s.id.to_string(), s.in_redis)).collect();
        assert_eq!(ids, [("2".into(), true), ("3".into(), false), ("6".into(), true)]);
    }
}
