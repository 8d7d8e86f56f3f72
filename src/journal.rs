//! What the daemon writes to its log about slots, reloads and the clock.

use chrono::TimeDelta;
use log::Level;

use crate::agenda::{Diff, Record, SlotEnd};
use crate::config::duration;
use crate::report::{Outcome, Report};

/// Logs what became of a slot (S13).
pub fn record(record: &Record) {
    let job = &record.job.name;
    let slot = record.slot.with_timezone(&record.job.zone).to_rfc3339();
    let run = record.run.map(|run| format!("run {run}, ")).unwrap_or_default();
    let stands_for = match record.stands_for {
        0 | 1 => String::new(),
        Record::MOST => format!(", for {} slots or more", Record::MOST),
        slots => format!(", for {slots} slots"),
    };
    let (level, text) = match &record.end {
        SlotEnd::Ran { outcome, report, reason, .. } => {
            // The reason names the job for those who read it alone; here the line does.
            let name = format!("job {job}: ");
            let reason = reason.as_deref().map(|r| r.strip_prefix(&name).unwrap_or(r));
            (level(*outcome), ran(*outcome, report.as_deref(), reason))
        }
        SlotEnd::Reload | SlotEnd::Shutdown => (Level::Info, record.end.to_string()),
        SlotEnd::Missed { .. }
        | SlotEnd::Expired { .. }
        | SlotEnd::Skipped { .. }
        | SlotEnd::OverLimit => (Level::Warn, record.end.to_string()),
    };
    log::log!(level, "{job}: {text} ({run}slot {slot}{stands_for})");
}

fn level(outcome: Outcome) -> Level {
    match outcome {
        Outcome::Clean | Outcome::Repaired => Level::Info,
        Outcome::Partial | Outcome::Refused | Outcome::Drift => Level::Warn,
        Outcome::Failed => Level::Error,
    }
}

fn ran(outcome: Outcome, report: Option<&Report>, reason: Option<&str>) -> String {
    let reason = reason.map(|r| format!(": {r}")).unwrap_or_default();
    let Some(report) = report else {
        return format!("{}{reason}", outcome.word());
    };
    let found = &report.findings;
    if found.counters == 0 {
        return format!("{}{reason}, after {} ms", outcome.word(), report.duration_ms);
    }
    format!(
        "{}{reason}; {} counters, {} drifted, {} repaired, {} unproven, {} ghosts, in {} ms",
        outcome.word(),
        found.counters,
        found.drifted,
        found.repaired,
        found.unproven,
        found.ghosts,
        report.duration_ms,
    )
}

/// Logs what a reload changed (S14).
pub fn reloaded(diff: &Diff) {
    let names = |names: &[std::sync::Arc<str>]| match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    log::info!(
        "reloaded: added {}; changed {}; removed {}; unchanged {}",
        names(&diff.added),
        names(&diff.changed),
        names(&diff.removed),
        diff.unchanged.len(),
    );
}

/// Logs a step of the wall clock with its size (S12).
pub fn clock_stepped(by: TimeDelta) {
    let size = duration::format(by.abs().to_std().unwrap_or_default());
    let way = if by < TimeDelta::zero() { "backward" } else { "forward" };
    log::warn!("the clock stepped {way} by {size}");
}
