//! The alerts of docs/alerts.yml ask for what the metrics have, under the names that they have there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common_agenda;
mod openmetrics;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common_agenda::{at, clean, job};
use openmetrics::Page;
use recountd::agenda::{Action, Agenda, Ended, Event, Memory};
use recountd::metrics::{JobGauges, Metrics};
use recountd::report::{Findings, Outcome, Report};

fn alerts() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.yml")).unwrap()
}

/// The rules, each from its name to the next one.
fn rules() -> Vec<String> {
    let text = alerts();
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let code = code.collect::<Vec<_>>().join("\n");
    code.split("- alert: ").skip(1).map(str::to_owned).collect()
}

/// A page with every series that there is: of a job that has run, on a daemon that has been through everything.
fn page() -> Page {
    let (metrics, job) = (Metrics::new("1"), job("a", "interval = '1m'"));
    let mut agenda =
        Agenda::new(vec![Arc::clone(&job)], &Memory::default(), 1, at("2026-11-21T03:00:00Z"), 1);
    let now = agenda.next_wake().unwrap();
    for action in agenda.handle(now, Event::Due) {
        let Action::Start(order) = action else { continue };
        metrics.started(&order, now);
        let Ended::Done { outcome, reason, retry, .. } = clean() else { panic!("it ran") };
        let report = Report {
            job: "a".to_owned(),
            outcome: Outcome::Clean,
            dry_run: false,
            started_at: now.fixed_offset(),
            duration_ms: 1,
            findings: Findings::default(),
            reason: None,
        };
        let ended = Ended::Done { outcome, reason, retry, report: Some(Box::new(report)) };
        for action in agenda.handle(now, Event::Finished { run: order.run, ended }) {
            if let Action::Record(record) = action {
                metrics.record(&record);
            }
        }
    }
    let gauges = JobGauges {
        name: Arc::clone(&job.name),
        last_clean: Some(now),
        paused: false,
        overdue: false,
        next: Some(now),
        period: Some(Duration::from_secs(60)),
    };
    Page::parse(&metrics.encode(std::iter::once(gauges), now))
}

/// The words of a text that begin so and go on with letters, digits and `_`.
fn words<'t>(text: &'t str, begin: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(begin).map(move |(place, _)| {
        let rest = &text[place..];
        let is_end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        &rest[..rest.find(is_end).unwrap_or(rest.len())]
    })
}

#[test]
fn every_series_that_an_alert_names_is_one_that_is_exported() {
    let (names, text) = (page().names(), alerts());
    let asked: BTreeSet<&str> = words(&text, "recountd_").collect();
    assert!(asked.len() > 10, "{asked:?}");
    for series in asked {
        assert!(names.contains(series), "{series} is none of {names:?}");
    }
    assert!(names.contains("process_start_time_seconds"));
}

#[test]
fn every_outcome_that_an_alert_names_is_there_before_it_happens() {
    let page = page();
    let from_zero = page.labels("recountd_slots_total", "outcome");
    let text = alerts();
    let mut count = 0;
    for part in text.split("outcome=").skip(1) {
        let words = part.trim_start_matches('~').trim_start_matches('"');
        for outcome in words.split('"').next().unwrap().split('|') {
            assert!(from_zero.contains(outcome), "{outcome} is none, or begins with 1");
            count += 1;
        }
    }
    assert!(count >= 4, "{count}");
}

#[test]
fn every_alert_says_for_how_long_how_bad_what_and_what_to_do() {
    let rules = rules();
    assert!(rules.len() >= 12, "{}", rules.len());
    let mut seen = BTreeSet::new();
    for rule in &rules {
        let name = rule.lines().next().unwrap();
        assert!(name.starts_with("Recountd") && seen.insert(name), "{name}");
        for key in ["expr: ", "for: ", "summary: ", "description: >-\n"] {
            assert!(rule.contains(key), "{name} has no {key}");
        }
        let severities = ["{ severity: critical }", "{ severity: warning }"];
        assert!(severities.iter().any(|severity| rule.contains(severity)), "{name}");
        let description = rule.split("description:").nth(1).unwrap();
        assert!(description.contains('`'), "{name} names no command");
    }
}

#[test]
fn every_alert_is_tried_out() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts_test.yml");
    let tests = fs::read_to_string(tests).unwrap();
    for rule in rules() {
        let name = rule.lines().next().unwrap();
        assert!(tests.contains(name), "docs/alerts_test.yml does not try {name}");
    }
}
