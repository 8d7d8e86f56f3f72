//! What the API gives of jobs and of the daemon, as values that become JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono_tz::Tz;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::agenda::RunId;
use crate::config::Origin;
use crate::state::{Added, Shown};

/// A job.
#[derive(Debug, Serialize)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// Free text; may be empty.
    pub description: String,
    /// `jobs.toml` or `run-time`.
    pub origin: &'static str,
    /// What its runs do.
    pub kind: &'static str,
    /// The keys of its trigger.
    pub trigger: BTreeMap<&'static str, String>,
    /// Its trigger in words.
    pub trigger_in_words: String,
    /// The zone of its times.
    pub timezone: Cow<'static, str>,
    /// `scheduled`, `running`, `paused`, `done` or `broken`.
    pub state: &'static str,
    /// Why it is broken.
    pub reason: Option<String>,
    /// Since when it is paused.
    pub paused_since: Option<String>,
    /// Its next slot; while it is paused, the next that would be.
    pub next_run: Option<String>,
    /// Whether a slot that has not been dealt with is late by more than its period.
    pub overdue: bool,
    /// The runs that have not ended.
    pub running: Vec<ActiveView>,
    /// The last run of the daemon that has ended.
    pub last_run: Option<Shown>,
    /// When every counter was last found true, or made so.
    pub last_clean: Option<String>,
    /// Its table; only where one job is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Map<String, Value>>,
}

impl JobView {
    /// A job that was added at run time and is not valid. It is shown as it was given; `zone` is that of jobs that name
    /// none.
    #[must_use]
    pub fn broken(added: &Added, why: &str, zone: Tz) -> Self {
        let text = |key: &str| added.definition.get(key).and_then(Value::as_str);
        let trigger = ["cron", "interval", "start", "date"]
            .into_iter()
            .filter_map(|key| Some((key, text(key)?.to_owned())));
        let trigger: BTreeMap<_, _> = trigger.collect();
        // Nobody has understood it, so it cannot be put into other words.
        let words: Vec<String> =
            trigger.iter().map(|(key, text)| format!("{key} {text}")).collect();
        let zone_given = text("timezone").map(|zone| zone.to_owned().into());
        Self {
            name: added.name.clone(),
            description: text("description").unwrap_or_default().to_owned(),
            origin: Origin::RunTime.word(),
            kind: "reconcile",
            trigger,
            trigger_in_words: words.join(", "),
            timezone: zone_given.unwrap_or(zone.name().into()),
            state: "broken",
            reason: Some(why.to_owned()),
            paused_since: None,
            next_run: None,
            overdue: false,
            running: Vec::new(),
            last_run: None,
            last_clean: None,
            definition: None,
        }
    }
}

/// A run that has not ended.
#[derive(Debug, Serialize)]
pub struct ActiveView {
    /// Its number.
    #[serde(serialize_with = "number")]
    pub id: RunId,
    /// Its slot.
    pub slot: String,
    /// When it started; `None` while it waits for its jitter, a retry or a worker.
    pub started_at: Option<String>,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// `slot` or `trigger`.
    pub cause: &'static str,
    /// Whether it writes nothing.
    pub dry_run: bool,
}

fn number<S: serde::Serializer>(id: &RunId, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(id.0)
}

/// How the daemon is.
#[derive(Debug, Serialize)]
pub struct StatusView {
    /// Its version.
    pub version: &'static str,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started_at: String,
    /// What time it is there.
    pub now: String,
    /// The zone of these times.
    pub timezone: &'static str,
    /// Its jobs.toml.
    pub file: PathBuf,
    /// When that was last taken over.
    pub loaded_at: String,
    /// Why the last reload was not taken over.
    pub reload_error: Option<String>,
    /// Its state file.
    pub state: PathBuf,
    /// The threads of its pool.
    pub workers: u32,
    /// Runs that wait for one of them.
    pub queue_depth: usize,
    /// Runs that have not ended.
    pub active_runs: usize,
    /// How often the clock stepped since it started.
    pub clock_steps: u64,
    /// Whether it is about to end.
    pub stopping: bool,
    /// Its jobs by state.
    pub jobs: Counts,
}

/// Jobs by state.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Counts {
    /// All of them.
    pub total: usize,
    /// Those that wait for their next slot.
    pub scheduled: usize,
    /// Those with a run at work.
    pub running: usize,
    /// Those that are paused.
    pub paused: usize,
    /// Those without a slot left.
    pub done: usize,
    /// Those whose definition is not valid.
    pub broken: usize,
    /// Those that are late, whatever their state.
    pub overdue: usize,
}

impl Counts {
    /// Counts a job in; one that is gone has no state.
    pub fn add(&mut self, state: Option<&str>, is_overdue: bool) {
        let place = match state {
            None => return,
            Some("running") => &mut self.running,
            Some("paused") => &mut self.paused,
            Some("done") => &mut self.done,
            Some(_) => &mut self.scheduled,
        };
        *place += 1;
        self.total += 1;
        self.overdue += usize::from(is_overdue);
    }
}
