//! A run that the daemon tells of, as people and scripts are shown what `once` found.

use std::io::{self, Write};

use chrono::DateTime;
use serde_json::Value;

use super::api::RunView;
use super::grid::printable;
use super::table;
use crate::reconcile::Amount;
use crate::report::{Findings, Outcome, Report, Sample};

const OUTCOMES: [Outcome; 6] = [
    Outcome::Clean,
    Outcome::Repaired,
    Outcome::Partial,
    Outcome::Refused,
    Outcome::Drift,
    Outcome::Failed,
];

/// The exit code of `once` for an outcome; 1 for what did not run to its end.
pub(super) fn exit_code(outcome: &str) -> u8 {
    named(outcome).map_or(1, Outcome::exit_code)
}

fn named(word: &str) -> Option<Outcome> {
    OUTCOMES.into_iter().find(|outcome| outcome.word() == word)
}

/// Prints its report, or in one line why it has none.
pub(super) fn print(run: &RunView) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match run.report.as_ref().and_then(report) {
        Some(report) => table::print_told(&report, &run.number(), &mut out)?,
        None => {
            let (job, outcome) = (printable(&run.job), printable(&run.outcome));
            writeln!(out, "{job}: {outcome}, run {}", run.number())?;
            if let Some(reason) = &run.reason {
                writeln!(out, "  {}", printable(reason))?;
            }
        }
    }
    out.flush()
}

/// Reads back what `once --json` prints.
pub(super) fn report(told: &Value) -> Option<Report> {
    let text = |key: &str| told.get(key).and_then(Value::as_str);
    let count = |key: &str| told.get(key).and_then(Value::as_u64).unwrap_or(0);
    let sum = |key: &str| told.get(key).and_then(amount).unwrap_or(Amount::ZERO);
    let samples = told.get("samples").and_then(Value::as_array);
    Some(Report {
        job: text("job")?.to_owned(),
        outcome: named(text("outcome")?)?,
        dry_run: told.get("dry_run").and_then(Value::as_bool).unwrap_or(false),
        started_at: DateTime::parse_from_rfc3339(text("started_at")?).ok()?,
        duration_ms: count("duration_ms"),
        findings: Findings {
            counters: count("counters"),
            drifted: count("drifted"),
            repaired: count("repaired"),
            unproven: count("unproven"),
            missing: count("missing"),
            ghosts: count("ghosts"),
            drift_sum: sum("drift_sum"),
            drift_abs_sum: sum("drift_abs_sum"),
            samples: samples.into_iter().flatten().map(sample).collect(),
            ..Findings::default()
        },
        reason: text("reason").map(str::to_owned),
    })
}

fn sample(told: &Value) -> Sample {
    let text = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let amount = |key: &str| told.get(key).and_then(amount);
    Sample {
        target: text("target"),
        id: text("id"),
        redis: amount("redis"),
        mysql: amount("mysql"),
    }
}

fn amount(told: &Value) -> Option<Amount> {
    told.as_i64().map(Amount::Int).or_else(|| told.as_f64().map(Amount::from_f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_is_read_back_as_it_was_told() {
        let told = json!({
            "job": "a", "outcome": "partial", "dry_run": false, "started_at": "2026-11-22T03:00:00.000+08:00",
            "duration_ms": 38, "counters": 20, "drifted": 3, "repaired": 2, "unproven": 1, "missing": 1, "ghosts": 0,
            "drift_sum": -4, "drift_abs_sum": 4.5,
            "samples": [{"id": "7", "redis": 3, "mysql": null}, {"target": "likes", "id": "8", "redis": 1.5, "mysql": 2}],
            "reason": "one kept moving",
        });
        assert_eq!(serde_json::to_value(report(&told).unwrap()).unwrap(), told);
        assert_eq!(report(&json!({"outcome": "clean"})), None);
    }

    #[test]
    fn the_exit_codes_are_those_of_once() {
        for (outcome, code) in [
            ("clean", 0),
            ("repaired", 0),
            ("failed", 1),
            ("missed", 1),
            ("interrupted", 1),
            ("partial", 3),
            ("refused", 4),
            ("drift", 5),
        ] {
            assert_eq!(exit_code(outcome), code, "{outcome}");
        }
    }
}
