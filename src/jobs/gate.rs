//! Who may write to a family's counters at the same time.
//!
//! Compare-and-set from an exact value bears any number of runs beside each other. A correction that
//! is added to whatever a counter holds does not (R5): two runs that sampled the same drift would
//! both add it. So every run goes through a gate that it shares with others, and whoever samples
//! must have it to itself, from the first sample to the last write.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use super::context::{Context, Stop};
use super::counters::place;
use crate::config::{Family, Job};

/// A gate: a lock of the system on a file, which ends with the process at the latest.
#[derive(Debug)]
pub struct Gate(File);

impl Gate {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new().create(true).truncate(false).write(true).open(path).map(Self)
    }

    /// Goes through the gate of a family's counters; `None` where there is none.
    ///
    /// # Errors
    /// The run was cancelled, or its time was over, before whoever had it to himself was done.
    pub fn enter(job: &Job, family: &Family, context: &Context<'_>) -> Result<Option<Self>, Stop> {
        let place = place(job, &family.name());
        let gate = place.and_then(|place| context.ledger.gate(&place));
        if let Some(gate) = &gate {
            gate.wait_to_share(context)?;
        }
        Ok(gate)
    }

    /// Shares it, as soon as nobody has it to himself.
    ///
    /// # Errors
    /// As [`Gate::enter`].
    pub fn wait_to_share(&self, context: &Context<'_>) -> Result<(), Stop> {
        while !self.share() {
            context.wait(Context::SLICE)?;
        }
        Ok(())
    }

    fn share(&self) -> bool {
        self.0.try_lock_shared().is_ok()
    }

    /// Has it to itself from now on; false while others are in it. What was shared before may be
    /// lost then, and has to be asked for again.
    #[must_use]
    pub fn take(&self) -> bool {
        self.0.try_lock().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_several_together() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Gate::open(&folder.path().join("gates").join("a")).unwrap();
        let (first, second) = (open(), open());
        assert!(first.share() && second.share());
        assert!(!first.take());
        assert!(first.share());
        drop(second);
        assert!(first.take());
        let third = open();
        assert!(!third.share() && !third.take());
        assert!(first.share() && third.share());
    }
}
