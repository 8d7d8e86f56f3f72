//! A row of truth: from what MySQL sent to an id and an amount, or to the reason why not (R7).

use super::amount::Amount;
use super::guard::Refusal;
use super::id::Id;

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
    /// The second column.
    pub truth: Amount,
}

impl Row {
    /// Reads a row whose value goes into the score of a zset.
    ///
    /// # Errors
    /// A NULL, a value that is no number, a value that a score cannot hold (R7).
    pub fn for_score(id: Cell, value: Cell) -> Result<Self, Refusal> {
        let id = match id {
            Cell::Null => return Err(Refusal::NullId),
            Cell::Int(number) => Id::from_i64(number),
            Cell::UInt(number) => Id::Number(number),
            Cell::Float(number) => Id::from_bytes(number.to_string().as_bytes()),
            Cell::Bytes(bytes) => Id::from_bytes(&bytes),
            Cell::Time(text) => return Err(Refusal::TimeId { id: text }),
        };
        let not_a_number = |text: &str| Refusal::NotANumber {
            id: id.to_string(),
            value: text.chars().take(40).collect(),
        };
        let truth = match value {
            Cell::Null => return Err(Refusal::NullValue { id: id.to_string() }),
            Cell::Int(number) => Amount::Int(number),
            Cell::UInt(number) => i64::try_from(number)
                .map_err(|_| Refusal::BeyondScore { id: id.to_string(), value: number.to_string() })
                .map(Amount::Int)?,
            Cell::Float(number) => Amount::from_f64(number),
            Cell::Bytes(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                Amount::from_text(&text).ok_or_else(|| not_a_number(&text))?
            }
            Cell::Time(text) => return Err(not_a_number(&text)),
        };
        if !truth.fits_score() {
            return Err(Refusal::BeyondScore { id: id.to_string(), value: truth.to_string() });
        }
        Ok(Self { id, truth })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Cell {
        Cell::Bytes(value.as_bytes().to_vec())
    }

    #[test]
    fn numbers_of_every_type_become_rows() {
        for (id, value, expected) in [
            (Cell::UInt(5), Cell::Int(3), ("5", Amount::Int(3))),
            (Cell::Int(-5), text("12.50"), ("-5", Amount::Real(12.5))),
            (text("ann"), text("7"), ("ann", Amount::Int(7))),
            (text("7"), Cell::Float(2.0), ("7", Amount::Int(2))),
        ] {
            let row = Row::for_score(id, value).unwrap();
            assert_eq!((row.id.to_string().as_str(), row.truth), expected);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let refused = |id, value| Row::for_score(id, value).unwrap_err();
        let five = || Cell::UInt(5);
        assert_eq!(refused(Cell::Null, five()), Refusal::NullId);
        assert_eq!(refused(five(), Cell::Null), Refusal::NullValue { id: "5".into() });
        assert!(matches!(refused(five(), text("many")), Refusal::NotANumber { .. }));
        assert!(matches!(refused(five(), text("")), Refusal::NotANumber { .. }));
        let day = Cell::Time("2026-01-01".into());
        assert!(matches!(refused(five(), day), Refusal::NotANumber { .. }));
        for beyond in [Cell::Int((1 << 53) + 1), Cell::UInt(u64::MAX), Cell::Float(f64::INFINITY)] {
            assert!(matches!(refused(five(), beyond), Refusal::BeyondScore { .. }));
        }
    }
}
