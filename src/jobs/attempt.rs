//! One attempt of a job, from its start to its report.

use chrono::{DateTime, Utc};

use super::context::{Context, RunError, Stop};
use super::reconcile;
use crate::clock;
use crate::config::Job;
use crate::report::{Outcome, Report};

/// A finished attempt.
#[derive(Debug)]
pub struct Attempt {
    /// What it found and how it ended.
    pub report: Report,
    /// Whether a later attempt may succeed without anybody changing anything (S9).
    pub retry: bool,
}

/// Runs a job once; `started_at` is now, by the wall clock.
#[must_use]
pub fn attempt(job: &Job, context: &Context<'_>, started_at: DateTime<Utc>) -> Attempt {
    let begun = clock::monotonic();
    let (mut findings, ended) = reconcile::run(job, context);
    findings.targets = job.work.families.len() as u64;
    let duration = clock::monotonic().saturating_duration_since(begun);
    let (outcome, problem, retry) = match ended {
        Ok(Outcome::Partial) => {
            let n = findings.unproven;
            let text = if findings.hurried {
                format!("{n} ids could not be confirmed in time; raise timeout, or lower settle")
            } else {
                format!("{n} ids cannot be told from writes in flight; the next run looks again")
            };
            (Outcome::Partial, Some(text), false)
        }
        Ok(outcome) => (outcome, None, false),
        Err(Stop::Refused(refusal)) => (Outcome::Refused, Some(refusal.to_string()), false),
        Err(Stop::Failed(error)) => {
            (Outcome::Failed, Some(error.to_string()), RunError::is_passing(&error))
        }
    };
    let report = Report {
        job: job.name.to_string(),
        outcome,
        dry_run: context.mode.dry_run,
        started_at: started_at.with_timezone(&job.zone).fixed_offset(),
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        findings,
        reason: problem.map(|text| format!("job {}: {text}", job.name)),
    };
    Attempt { report, retry }
}
