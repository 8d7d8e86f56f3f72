//! What stops a run before its first write (R7).

use thiserror::Error;

use crate::config::Guard;

/// Why a run was stopped before its first write. `Display` says what to do.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Refusal {
    /// The query gave no row at all.
    #[error(
        "the query returned no rows; if that is right, set guard = {{ allow_empty = true }} or use --force"
    )]
    EmptyResult,
    /// The result has far fewer rows than Redis has counters.
    #[error(
        "the query returned {rows} rows where Redis holds {held} counters, fewer than max_changed allows; check the query, or use --force"
    )]
    Shrunk {
        /// Rows of the result.
        rows: u64,
        /// Counters in Redis that are not 0.
        held: u64,
    },
    /// The result has far fewer rows than it had in the last good run.
    #[error(
        "the query returned {rows} rows where the last good run saw {last}, fewer than max_changed allows; check the query, or use --force once: then this counts as good"
    )]
    ShrunkSince {
        /// Rows of the result.
        rows: u64,
        /// Rows of the last good run's result.
        last: u64,
    },
    /// Too many counters would change.
    #[error(
        "{changes} of {held} counters would change or go, more than max_changed ({max}) allows; look at --dry-run, then raise guard.max_changed or use --force"
    )]
    TooManyChanges {
        /// Counters that would be written or removed; missing ones are not counted.
        changes: u64,
        /// Counters in Redis that are not 0.
        held: u64,
        /// The limit as jobs.toml has it.
        max: String,
    },
    /// The id of a row is NULL.
    #[error("the query returned a row whose id is NULL; exclude it with WHERE ... IS NOT NULL")]
    NullId,
    /// The id of a row is a date or a time, which has more than one spelling.
    #[error("the id {id} is a date or a time; select CAST(... AS CHAR), spelled as Redis has it")]
    TimeId {
        /// The id.
        id: String,
    },
    /// The value of a row is NULL.
    #[error("the value of id {id} is NULL; wrap the second column in COALESCE(..., 0)")]
    NullValue {
        /// The id.
        id: String,
    },
    /// The value of a row is no number.
    #[error(
        "the value of id {id} is `{value}`, which is not a number; the second column must be one"
    )]
    NotANumber {
        /// The id.
        id: String,
        /// Its value, cut short.
        value: String,
    },
    /// The value of a row does not fit into a score.
    #[error(
        "the value of id {id} is {value}, beyond ±2^53, which a zset cannot hold exactly; use a hash or string target"
    )]
    BeyondScore {
        /// The id.
        id: String,
        /// Its value.
        value: String,
    },
    /// The value of a row is not a whole number of 64 bits, which is all that INCRBY can count.
    #[error(
        "the value of id {id} is {value}; a hash or a string counts whole numbers of 64 bits: round it, or use a zset"
    )]
    NotWhole {
        /// The id.
        id: String,
        /// Its value.
        value: String,
    },
    /// What Redis holds for an id is no number.
    #[error(
        "{target} holds `{value}` for id {id}, which is no counter; correct target, or remove it"
    )]
    NotACounter {
        /// Where.
        target: String,
        /// The id.
        id: String,
        /// What is there, cut short.
        value: String,
    },
    /// Two rows have one id.
    #[error("the query returned id {id} more than once; add GROUP BY on the first column")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// The key is there, and it is something else.
    #[error("the key {key} is a {found}, not a {wanted}; correct target, or remove the key")]
    WrongType {
        /// The key.
        key: String,
        /// What it should be.
        wanted: &'static str,
        /// What TYPE says.
        found: String,
    },
    /// Redis is a read-only replica.
    #[error("Redis {server} is a read-only replica; point url at its primary")]
    ReadOnlyReplica {
        /// The name in jobs.toml.
        server: String,
    },
}

/// What the guard is measured against.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// The job's limits.
    pub guard: Guard,
    /// `--force`: the limits on size do not hold.
    pub force: bool,
    /// Counters in Redis that are not 0, before the first write.
    pub held: u64,
    /// Rows of the result; 0 before they are counted.
    pub rows: u64,
    /// Those of them whose value is not 0; 0 before they are counted.
    pub truths: u64,
    /// Rows of the result of the last good run of the same query, if one is known.
    pub last_good: Option<u64>,
}

impl Scope {
    /// What `max_changed` is a share of: the counters that Redis holds.
    ///
    /// Where it holds less than a tenth of what should be in it, the key was lost and the app is
    /// making it anew: each of the few counters there began from nothing and is wrong. A lost key is
    /// rebuilt without asking, so what is to be in it counts then. Rows whose value is 0 do not:
    /// they are in no key, lost or not.
    fn base(&self) -> u64 {
        if self.held.saturating_mul(10) < self.truths { self.truths } else { self.held }
    }
}

/// Judges a whole result, before anything is confirmed.
///
/// # Errors
/// An empty result, or one that shrank by more than `max_changed`, be it against what Redis holds
/// or against the last good run: Redis may be empty for the same reason (R7).
pub fn check_result(scope: &Scope) -> Result<(), Refusal> {
    let rows = scope.rows;
    if scope.force {
        return Ok(());
    }
    if rows == 0 {
        return if scope.guard.allow_empty { Ok(()) } else { Err(Refusal::EmptyResult) };
    }
    if over_limit(scope, scope.held.saturating_sub(rows)) {
        return Err(Refusal::Shrunk { rows, held: scope.held });
    }
    if let Some(last) = scope.last_good
        && exceeds(scope, last.saturating_sub(rows), last)
    {
        return Err(Refusal::ShrunkSince { rows, last });
    }
    Ok(())
}

/// Judges what would change or go, before the first write.
///
/// # Errors
/// More than `max_changed` of the counters that Redis holds (R7).
pub fn check_changes(scope: &Scope, changes: u64) -> Result<(), Refusal> {
    if !scope.force && over_limit(scope, changes) {
        let max = scope.guard.max_changed.to_string();
        return Err(Refusal::TooManyChanges { changes, held: scope.held, max });
    }
    Ok(())
}

fn over_limit(scope: &Scope, changes: u64) -> bool {
    exceeds(scope, changes, scope.base())
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no exact count")]
fn exceeds(scope: &Scope, changes: u64, of: u64) -> bool {
    changes as f64 > of as f64 * scope.guard.max_changed.factor()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Percent;

    fn scope(max_changed: &str, allow_empty: bool, force: bool, held: u64, rows: u64) -> Scope {
        let max_changed = Percent::parse(max_changed).unwrap();
        let guard = Guard { max_changed, allow_empty };
        Scope { guard, force, held, rows, truths: rows, last_good: None }
    }

    #[test]
    fn an_empty_result_needs_leave() {
        assert_eq!(check_result(&scope("50%", false, false, 9, 0)), Err(Refusal::EmptyResult));
        assert_eq!(check_result(&scope("50%", false, false, 0, 0)), Err(Refusal::EmptyResult));
        assert_eq!(check_result(&scope("50%", true, false, 9, 0)), Ok(()));
        assert_eq!(check_result(&scope("50%", false, true, 9, 0)), Ok(()));
    }

    #[test]
    fn a_result_may_shrink_by_max_changed_and_no_more() {
        assert_eq!(check_result(&scope("50%", false, false, 100, 50)), Ok(()));
        let refused = Err(Refusal::Shrunk { rows: 49, held: 100 });
        assert_eq!(check_result(&scope("50%", false, false, 100, 49)), refused);
        assert_eq!(check_result(&scope("50%", false, true, 100, 49)), Ok(()));
        assert_eq!(check_result(&scope("50%", false, false, 100, 1_000_000)), Ok(()));
    }

    #[test]
    fn a_result_may_not_shrink_against_the_last_good_run_either_whatever_redis_holds() {
        let since = |last, scope| Scope { last_good: Some(last), ..scope };
        assert_eq!(check_result(&since(100, scope("50%", false, false, 0, 50))), Ok(()));
        let refused = Err(Refusal::ShrunkSince { rows: 49, last: 100 });
        assert_eq!(check_result(&since(100, scope("50%", false, false, 0, 49))), refused);
        assert_eq!(check_result(&since(100, scope("50%", false, false, 49, 49))), refused);
        assert_eq!(check_result(&since(100, scope("50%", false, true, 0, 49))), Ok(()));
        assert_eq!(check_result(&since(100, scope("50%", false, false, 0, 1_000))), Ok(()));
        assert_eq!(check_result(&since(100, scope("50%", true, false, 0, 0))), Ok(()));
    }

    #[test]
    fn so_many_counters_may_change_and_no_more() {
        assert_eq!(check_changes(&scope("10%", false, false, 100, 100), 10), Ok(()));
        assert!(check_changes(&scope("10%", false, false, 100, 100), 11).is_err());
        assert!(check_changes(&scope("0%", false, false, 100, 100), 1).is_err());
        assert_eq!(check_changes(&scope("0%", false, true, 100, 100), 100), Ok(()));
        assert_eq!(check_changes(&scope("0%", false, false, 0, 100), 0), Ok(()));
    }

    #[test]
    fn rows_of_nothing_make_no_key_look_lost() {
        let scope = Scope { truths: 90, ..scope("50%", false, false, 90, 1_000_000) };
        assert!(check_changes(&scope, 90).is_err());
        assert!(check_changes(&scope, 45).is_ok());
    }

    #[test]
    fn a_lost_key_that_the_app_makes_anew_is_rebuilt_without_asking() {
        assert_eq!(check_changes(&scope("50%", false, false, 9, 100), 9), Ok(()));
        assert!(check_changes(&scope("50%", false, false, 10, 100), 9).is_err());
    }
}
