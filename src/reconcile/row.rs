//! A row of truth: from what MySQL sent to an id and an amount, or to the reason why not (R7).

use super::amount::Amount;
use super::guard::Refusal;
use super::id::Id;
use crate::config::Target;

/// One column of one row, as MySQL sent it.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// FLOAT or DOUBLE.
    Float(f64),
    /// A text, a blob, or a DECIMAL.
    Bytes(Vec<u8>),
    /// A date or a time, as text.
    Time(String),
}

/// An id and its truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The first column.
    pub id: Id,
    /// The value of the column that belongs to the family.
    pub truth: Amount,
}

/// Reads the first column.
///
/// # Errors
/// A NULL, a date or a time (R7).
pub fn read_id(cell: &Cell) -> Result<Id, Refusal> {
    match cell {
        Cell::Null => Err(Refusal::NullId),
        Cell::Int(number) => Ok(Id::from_i64(*number)),
        Cell::UInt(number) => Ok(Id::Number(*number)),
        Cell::Float(number) => Ok(Id::from_bytes(number.to_string().as_bytes())),
        Cell::Bytes(bytes) => Ok(Id::from_bytes(bytes)),
        Cell::Time(text) => Err(Refusal::TimeId { id: text.clone() }),
    }
}

/// Reads the value of `id` that goes into `target`.
///
/// # Errors
/// A NULL, a value that is no number, a value that the target cannot hold exactly (R7).
pub fn read_truth(id: &Id, cell: &Cell, target: &Target) -> Result<Amount, Refusal> {
    let not_a_number = |text: &str| Refusal::NotANumber {
        id: id.to_string(),
        value: text.chars().take(40).collect(),
    };
    let is_score = matches!(target, Target::Zset { .. });
    let beyond = |value: String| {
        let id = id.to_string();
        if is_score { Refusal::BeyondScore { id, value } } else { Refusal::NotWhole { id, value } }
    };
    let truth = match cell {
        Cell::Null => return Err(Refusal::NullValue { id: id.to_string() }),
        Cell::Int(number) => Amount::Int(*number),
        Cell::UInt(number) => {
            i64::try_from(*number).map_err(|_| beyond(number.to_string())).map(Amount::Int)?
        }
        Cell::Float(number) => Amount::from_f64(*number),
        Cell::Bytes(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            Amount::from_text(&text).ok_or_else(|| not_a_number(&text))?
        }
        Cell::Time(text) => return Err(not_a_number(text)),
    };
    let fits = if is_score { truth.fits_score() } else { matches!(truth, Amount::Int(_)) };
    if fits { Ok(truth) } else { Err(beyond(truth.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Cell {
        Cell::Bytes(value.as_bytes().to_vec())
    }

    fn zset() -> Target {
        Target::Zset { key: "k".to_owned() }
    }

    fn string() -> Target {
        Target::Text { key: "k:{id}".to_owned() }
    }

    #[test]
    fn numbers_of_every_type_become_rows() {
        for (id, value, expected) in [
            (Cell::UInt(5), Cell::Int(3), ("5", Amount::Int(3))),
            (Cell::Int(-5), text("12.50"), ("-5", Amount::Real(12.5))),
            (text("ann"), text("7"), ("ann", Amount::Int(7))),
            (text("7"), Cell::Float(2.0), ("7", Amount::Int(2))),
        ] {
            let id = read_id(&id).unwrap();
            let truth = read_truth(&id, &value, &zset()).unwrap();
            assert_eq!((id.to_string().as_str(), truth), expected);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let refused = |value| read_truth(&Id::Number(5), &value, &zset()).unwrap_err();
        assert_eq!(read_id(&Cell::Null).unwrap_err(), Refusal::NullId);
        assert_eq!(refused(Cell::Null), Refusal::NullValue { id: "5".into() });
        assert!(matches!(refused(text("many")), Refusal::NotANumber { .. }));
        assert!(matches!(refused(text("")), Refusal::NotANumber { .. }));
        let day = Cell::Time("2026-01-01".into());
        assert!(matches!(read_id(&day), Err(Refusal::TimeId { .. })));
        assert!(matches!(refused(day), Refusal::NotANumber { .. }));
        for beyond in [Cell::Int((1 << 53) + 1), Cell::UInt(u64::MAX), Cell::Float(f64::INFINITY)] {
            assert!(matches!(refused(beyond), Refusal::BeyondScore { .. }));
        }
    }

    #[test]
    fn a_hash_or_a_string_counts_whole_numbers_of_64_bits() {
        let read = |value| read_truth(&Id::Number(5), &value, &string());
        assert_eq!(read(Cell::Int(i64::MAX)), Ok(Amount::Int(i64::MAX)));
        assert_eq!(read(text("5.00")), Ok(Amount::Int(5)));
        for beyond in [Cell::UInt(u64::MAX), text("2.5"), Cell::Float(0.5), Cell::Float(1e300)] {
            assert!(matches!(read(beyond), Err(Refusal::NotWhole { .. })));
        }
    }
}
