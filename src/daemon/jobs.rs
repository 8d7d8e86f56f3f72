//! The jobs of the daemon: those of jobs.toml, read again on SIGHUP (S14), and those that were added at
//! run time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Daemon;
use crate::agenda::{Event, Memory};
use crate::board::News;
use crate::config::{Config, Fault, Job};
use crate::load;
use crate::notify::{self, Notice};
use crate::state::{Added, Place};

/// The jobs that were added at run time before this start; their names go into the memory.
pub fn recall(state: &Path, memory: &mut Memory) -> BTreeMap<Arc<str>, Added> {
    match Place::of(state).all() {
        Ok(all) => {
            memory.added = all.iter().map(|added| Arc::from(&*added.name)).collect();
            all.into_iter().map(|added| (Arc::from(&*added.name), added)).collect()
        }
        Err(error) => {
            log::error!("the jobs that were added at run time cannot be read: {error}");
            // Any job that is not in jobs.toml may be one of them; its pause must not be forgotten.
            memory.added = memory.jobs.keys().cloned().collect();
            BTreeMap::new()
        }
    }
}

/// All the jobs, and those of the added ones that are not valid beside this jobs.toml, with the reason.
/// They stay where they are kept: another jobs.toml may make them valid again.
pub fn all(
    config: &Config,
    added: &BTreeMap<Arc<str>, Added>,
) -> (Vec<Arc<Job>>, Vec<(Added, String)>) {
    let mut jobs: Vec<Arc<Job>> = config.jobs.values().cloned().collect();
    let mut broken = Vec::new();
    for (name, added) in added {
        if config.jobs.contains_key(name) {
            log::error!("job {name}, added at run time, gives way to the one in jobs.toml");
            continue;
        }
        match config.added(name, &added.definition) {
            Ok(job) => jobs.push(Arc::new(job)),
            Err(faults) => {
                let is_damaged = added.is_damaged();
                let why = if is_damaged { Added::DAMAGED.to_owned() } else { in_words(&faults) };
                log::error!("job {name}, added at run time, cannot run: {why}");
                broken.push((added.clone(), why));
            }
        }
    }
    (jobs, broken)
}

fn in_words(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join(". ")
}

impl Daemon {
    /// S14: validate first, keep the last good one.
    pub(super) fn reload(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        notify::tell(Notice::Reloading);
        match load::load(&self.path) {
            Ok(config) => {
                let fixed = |config: &Config| {
                    let daemon = &config.daemon;
                    (daemon.workers, daemon.state.clone(), daemon.keep, config.admin.clone())
                };
                if fixed(&config) != fixed(&self.config) {
                    log::warn!(
                        "[admin], and workers, state and keep of [daemon], change at the next \
                         start only"
                    );
                }
                let (jobs, broken) = all(&config, &self.added);
                self.config = config;
                self.feed(Event::Reloaded(jobs));
                // The agenda keeps what it knows of those; their lines on the board are others now.
                for (added, _) in &broken {
                    self.board.tell(News::Gone(Arc::from(&*added.name)));
                }
                self.board.tell(News::Broken(broken));
                self.board.tell(News::Reloaded(None, self.clocks.0));
            }
            Err(error) => {
                log::error!("jobs.toml was not reloaded, the last good one stays:\n{error}");
                self.board.tell(News::Reloaded(Some(error.to_string()), self.clocks.0));
            }
        }
        self.tell_ready();
    }
}
