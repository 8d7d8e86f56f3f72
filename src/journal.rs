//! What the daemon writes to its log about slots, reloads and the clock.

use chrono::TimeDelta;
use log::Level;

use crate::agenda::{Diff, Record, SlotEnd};
use crate::config::duration;
use crate::report::Outcome;

/// Logs what became of a slot (S13).
pub fn record(record: &Record) {
    let job = &record.job.name;
    let slot = record.slot.with_timezone(&record.job.zone).to_rfc3339();
    let level = match &record.end {
        SlotEnd::Ran { outcome, .. } => level(*outcome),
        // One record takes in the whole pause; only its beginning is news.
        SlotEnd::Paused { .. } if record.stands_for > 1 => Level::Debug,
        SlotEnd::Paused { .. } | SlotEnd::Reload | SlotEnd::Removed | SlotEnd::Shutdown => {
            Level::Info
        }
        SlotEnd::Missed { .. }
        | SlotEnd::Expired { .. }
        | SlotEnd::Skipped { .. }
        | SlotEnd::OverLimit => Level::Warn,
    };
    // The reason names the job for those who read it alone; here the line does.
    let name = format!("job {job}: ");
    let reason = record.reason().map(|r| format!(": {}", r.strip_prefix(&name).unwrap_or(&r)));
    let (word, reason, found) = (record.end.word(), reason.unwrap_or_default(), found(&record.end));
    log::log!(level, "{job}: {word}{reason}{found} (run {}, slot {slot})", record.run);
}

fn level(outcome: Outcome) -> Level {
    match outcome {
        Outcome::Clean | Outcome::Repaired => Level::Info,
        Outcome::Partial | Outcome::Refused | Outcome::Drift => Level::Warn,
        Outcome::Failed => Level::Error,
    }
}

fn found(end: &SlotEnd) -> String {
    let SlotEnd::Ran { report: Some(report), .. } = end else { return String::new() };
    let found = &report.findings;
    if found.is_empty() {
        return format!(", after {} ms", report.duration_ms);
    }
    let drift = match found.drift_in_words() {
        words if words.is_empty() => words,
        words => format!(" ({words})"),
    };
    format!(
        "; {} counters, {} drifted{drift}, {} repaired, {} unproven, {} ghosts, in {} ms",
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
