//! Rows on their way from MySQL, in few allocations.

use crate::reconcile::Cell;

/// Some rows: of each the id, then the values that were asked for.
#[derive(Debug)]
pub struct Rows {
    width: usize,
    cells: Vec<Cell>,
}

impl Rows {
    /// Room for `rows` rows of an id and `values` values.
    pub(super) fn with_capacity(rows: usize, values: usize) -> Self {
        let width = values + 1;
        Self { width, cells: Vec::with_capacity(rows * width) }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: impl Iterator<Item = Cell>) {
        self.cells.extend(row);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len() / self.width
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Each row: its id, and its values in the order in which they were asked for.
    pub fn iter(&self) -> impl Iterator<Item = (&Cell, &[Cell])> {
        self.cells.chunks_exact(self.width).filter_map(|row| row.split_first())
    }
}
