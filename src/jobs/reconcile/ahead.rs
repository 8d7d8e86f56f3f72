//! Asking Redis before it has answered, so that neither side waits for the other.

use super::family::Count;
use super::{Run, Stop};
use crate::clock;
use crate::reconcile::{Change, Row, compare};

/// Commands that may wait in line: enough for Redis to go on while this thread is not on a
/// processor, and so few that another client waits for a moment only (R9).
const AHEAD: usize = 4;
/// While commands wait in line their cost cannot be told apart; every so many are sent alone.
const MEASURED: u64 = 16;

/// A question that is not answered yet; answers come in the order of the questions.
pub enum Asked {
    /// For the counters of some rows.
    Rows(Vec<Row>),
    /// To write some changes.
    Changes(Vec<Change>),
}

impl Run<'_> {
    /// Whether the next command may be sent ahead. If not, nothing is left in line.
    fn may_go_ahead(&mut self, counts: &mut [Count<'_>]) -> Result<bool, Stop> {
        self.turns += 1;
        if self.pace.is_unbounded() && !self.turns.is_multiple_of(MEASURED) {
            while self.line.len() >= AHEAD {
                self.take_first(counts)?;
            }
            return Ok(true);
        }
        self.take_all(counts)?;
        Ok(false)
    }

    /// Compares rows of a family with their counters, sooner or later.
    pub(super) fn compare_rows(
        &mut self,
        counts: &mut [Count<'_>],
        place: usize,
        rows: Vec<Row>,
    ) -> Result<(), Stop> {
        let ahead = self.may_go_ahead(counts)?;
        let Some(count) = counts.get_mut(place).filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let ids = rows.iter().map(|row| &row.id);
        if ahead {
            self.redis.ask_for(count.target(), ids)?;
            self.line.push_back((place, Asked::Rows(rows)));
        } else {
            let counters = self.read(count.target(), ids)?;
            count.take(compare(&rows, &counters));
        }
        Ok(())
    }

    /// Writes changes of a family, sooner or later; no dry run comes here.
    pub(super) fn write_changes(
        &mut self,
        counts: &mut [Count<'_>],
        place: usize,
        changes: Vec<Change>,
    ) -> Result<(), Stop> {
        let ahead = self.may_go_ahead(counts)?;
        if counts.get(place).is_some_and(|count| !self.redis.is_ready_for(count.target())) {
            self.take_all(counts)?;
        }
        let Some(count) = counts.get_mut(place).filter(|_| !changes.is_empty()) else {
            return Ok(());
        };
        if ahead {
            self.context.check()?;
            let sent = self.redis.send(count.target(), &changes);
            self.unless_lost(count, &changes, sent)?;
            self.line.push_back((place, Asked::Changes(changes)));
            return Ok(());
        }
        self.apply(count, &changes)
    }

    /// Takes every answer that is still to come.
    pub(super) fn take_all(&mut self, counts: &mut [Count<'_>]) -> Result<(), Stop> {
        while !self.line.is_empty() {
            self.take_first(counts)?;
        }
        Ok(())
    }

    pub(super) fn take_first(&mut self, counts: &mut [Count<'_>]) -> Result<(), Stop> {
        let Some((place, asked)) = self.line.pop_front() else { return Ok(()) };
        let Some(count) = counts.get_mut(place) else { return Ok(()) };
        match asked {
            Asked::Rows(rows) => {
                let ids = rows.iter().map(|row| &row.id);
                let counters = self.redis.take(count.target(), ids)?;
                count.take(compare(&rows, &counters));
            }
            Asked::Changes(changes) => {
                let done = self.redis.sent(&changes);
                // What the server has forgotten how to write is confirmed and written again later.
                let done = self.unless_lost(count, &changes, done)?;
                let done = done.unwrap_or_else(|| vec![false; changes.len()]);
                self.take_done(count, &changes, &done);
            }
        }
        self.replied = clock::monotonic();
        Ok(())
    }
}
