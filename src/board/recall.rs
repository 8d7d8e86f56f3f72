//! What the state knows of earlier runs, for jobs that are new on the board.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::state::{self, Last};

/// How long after a failure the state is asked again for what it could not tell then.
const PAUSE: Duration = Duration::from_secs(60);

/// Asks the state, and again later if it cannot be read.
pub struct Recall {
    state: PathBuf,
    /// The jobs of which it is not known what is on record.
    unknown: BTreeSet<Arc<str>>,
    again_at: Option<Instant>,
    pause: Duration,
}

impl Recall {
    /// What there is to know is in this state file.
    pub fn of(state: PathBuf) -> Self {
        Self { state, unknown: BTreeSet::new(), again_at: None, pause: PAUSE }
    }

    /// What is on record of the jobs in `new`, and of those that could not be told before if it is time to ask again.
    /// The order of the runs is that of their names; a name that is not in the answer will be in a later one.
    pub fn about(&mut self, new: BTreeSet<Arc<str>>) -> BTreeMap<Arc<str>, Last> {
        let mut wanted: BTreeSet<Arc<str>> =
            new.into_iter().filter(|name| !self.unknown.contains(name)).collect();
        if self.again_at.is_some_and(|at| at <= clock::monotonic()) {
            wanted.append(&mut self.unknown);
            self.again_at = None;
        }
        if wanted.is_empty() {
            return BTreeMap::new();
        }
        match state::last(&self.state, wanted.iter().map(AsRef::as_ref), clock::wall()) {
            Ok(known) => wanted.into_iter().zip(known).collect(),
            Err(error) => {
                log::warn!("nothing is known of earlier runs for now: {error}");
                self.unknown.append(&mut wanted);
                self.again_at.get_or_insert_with(|| clock::monotonic() + self.pause);
                BTreeMap::new()
            }
        }
    }

    /// The job is gone.
    pub fn forget(&mut self, job: &str) {
        self.unknown.remove(job);
    }
}
