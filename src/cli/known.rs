//! The jobs that a command knows without asking the daemon: those of jobs.toml, and those that were added
//! at run time, which the state file keeps.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{CliError, state_file};
use crate::config::{Config, Fault, Job, nearest};
use crate::state::{Added, Place, StateError};

/// More names than this are not listed where one is not found.
const LISTED: usize = 12;

/// The jobs that were added at run time, as the state file has them.
pub(super) struct AtRunTime {
    added: BTreeMap<String, Added>,
    /// Why they are not known; a daemon that has never run has none.
    unknown: Option<StateError>,
}

impl AtRunTime {
    pub(super) fn of(path: &Path, config: &Config) -> Self {
        let (added, unknown) = match Place::of(&state_file(path, config)).look() {
            Ok(added) => (added, None),
            Err(StateError::Missing(_)) => (Vec::new(), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        // The daemon lets them give way as well.
        let is_alone = |added: &Added| !config.jobs.contains_key(added.name.as_str());
        let added = added.into_iter().filter(is_alone).map(|a| (a.name.clone(), a)).collect();
        Self { added, unknown }
    }

    /// The one of this name; `None` if there is none.
    pub(super) fn get(&self, config: &Config, name: &str) -> Option<Result<Arc<Job>, CliError>> {
        self.added.get(name).map(|added| read(config, added))
    }

    /// All of them by name, each with why it cannot run where that is so.
    pub(super) fn all(
        &self,
        config: &Config,
    ) -> impl Iterator<Item = (&str, Result<Arc<Job>, CliError>)> {
        self.added.iter().map(|(name, added)| (name.as_str(), read(config, added)))
    }

    /// Says so where it is not known which there are.
    pub(super) fn warn_if_unknown(&self) {
        if let Some(error) = &self.unknown {
            log::warn!("the jobs that were added at run time are not shown: {error}");
        }
    }
}

/// The job of this name, wherever it comes from.
pub(super) fn find(config: &Config, path: &Path, name: &str) -> Result<Arc<Job>, CliError> {
    if let Some(job) = config.jobs.get(name) {
        return Ok(Arc::clone(job));
    }
    let at_run_time = AtRunTime::of(path, config);
    if let Some(job) = at_run_time.get(config, name) {
        return job;
    }
    let known: Vec<&str> = config.jobs.keys().map(AsRef::as_ref).collect();
    let known: Vec<&str> =
        known.into_iter().chain(at_run_time.added.keys().map(String::as_str)).collect();
    let mut hint = match nearest(name, &known) {
        Some(near) if known.len() > LISTED => format!("did you mean {near}?"),
        _ if known.is_empty() => "there are none".to_owned(),
        _ if known.len() > LISTED => format!("`recountd check` shows all {}", known.len()),
        _ => format!("there are {}", known.join(", ")),
    };
    if let Some(error) = at_run_time.unknown {
        hint.push_str(&format!(" (and the jobs added at run time are not known: {error})"));
    }
    Err(CliError::NoSuchJob { name: name.to_owned(), file: path.display().to_string(), hint })
}

fn read(config: &Config, added: &Added) -> Result<Arc<Job>, CliError> {
    let name = &added.name;
    config.added(name, &added.definition).map(Arc::new).map_err(|faults| CliError::BrokenJob {
        name: name.clone(),
        reason: faults.iter().map(Fault::to_string).collect::<Vec<_>>().join(". "),
    })
}
