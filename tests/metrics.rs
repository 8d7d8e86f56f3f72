//! What the page of metrics says after a known history; it is read by a parser of OpenMetrics of our own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common_agenda;
mod openmetrics;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use common_agenda::{at, job};
use openmetrics::Page;
use recountd::agenda::{Action, Agenda, Ended, Event, Memory, Order, Record};
use recountd::config::Job;
use recountd::metrics::{JobGauges, Metrics};
use recountd::report::{Findings, Outcome, Report};

const NOW: &str = "2026-11-21T03:00:00Z";
const EVERY_MINUTE: &str = "interval = '1m'\nmisfire_grace = '1h'";

fn gauges(name: &str) -> JobGauges {
    let (name, next) = (Arc::from(name), Some(at("2026-11-22T03:00:00.25Z")));
    let period = Some(Duration::from_secs(86_400));
    JobGauges { name, last_clean: None, paused: false, overdue: false, next, period }
}

fn scrape(metrics: &Metrics, names: &[&str], now: &str) -> Page {
    Page::parse(&metrics.encode(names.iter().map(|name| gauges(name)), at(now)))
}

/// What the agenda makes of a slot of this job which is seen `late` after it was due, and whose only attempt ends so.
fn slot(job: &Arc<Job>, late: TimeDelta, ended: Option<Ended>) -> (Option<Order>, Record) {
    let begin = at(NOW);
    let mut agenda = Agenda::new(vec![Arc::clone(job)], &Memory::default(), 10, begin, 1);
    let due = agenda.next_wake().unwrap() + late;
    let mut order = None;
    let mut actions = agenda.handle(due, Event::Due);
    if let Some(ended) = ended {
        let started = actions.into_iter().find_map(|action| match action {
            Action::Start(order) => Some(order),
            _ => None,
        });
        let run = started.as_ref().expect("it starts").run;
        order = started;
        let end = due + TimeDelta::milliseconds(500);
        actions = agenda.handle(end, Event::Finished { run, ended });
    }
    let record = actions.into_iter().find_map(|action| match action {
        Action::Record(record) => Some(record),
        _ => None,
    });
    (order, record.expect("a record"))
}

fn found(outcome: Outcome, dry_run: bool, numbers: [u64; 4]) -> Ended {
    let [counters, drifted, repaired, unproven] = numbers;
    let report = Report {
        job: "a".to_owned(),
        outcome,
        dry_run,
        started_at: DateTime::<Utc>::UNIX_EPOCH.fixed_offset(),
        duration_ms: 500,
        findings: Findings { counters, drifted, repaired, unproven, ..Findings::default() },
        reason: None,
    };
    Ended::Done { outcome, reason: None, retry: false, report: Some(Box::new(report)) }
}

fn run(metrics: &Metrics, job: &Arc<Job>, ended: Ended) {
    metrics.record(&slot(job, TimeDelta::zero(), Some(ended)).1);
}

#[test]
fn a_run_counts_its_slot_its_time_and_what_it_found() {
    let (metrics, job) = (Metrics::new("1.2.3"), job("a", EVERY_MINUTE));
    run(&metrics, &job, found(Outcome::Repaired, false, [100, 7, 6, 0]));
    run(&metrics, &job, found(Outcome::Partial, false, [100, 3, 1, 2]));
    let page = scrape(&metrics, &["a"], NOW);
    for (series, value) in [
        ("recountd_slots_total{job=a,outcome=repaired}", 1.0),
        ("recountd_slots_total{job=a,outcome=partial}", 1.0),
        ("recountd_counters_compared_total{job=a}", 200.0),
        ("recountd_counters_drifted_total{job=a}", 10.0),
        ("recountd_counters_repaired_total{job=a}", 7.0),
        ("recountd_counters_unproven_total{job=a}", 2.0),
        ("recountd_last_run_drifted{job=a}", 3.0),
        ("recountd_last_run_unproven{job=a}", 2.0),
        ("recountd_run_seconds_count{job=a}", 2.0),
        ("recountd_run_seconds_sum{job=a}", 1.0),
        ("recountd_run_seconds_bucket{job=a,le=0.25}", 0.0),
        ("recountd_run_seconds_bucket{job=a,le=1.0}", 2.0),
        ("recountd_build_info{version=1.2.3}", 1.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
}

#[test]
fn a_run_that_did_not_come_to_its_end_leaves_the_gauges_of_the_last_one_that_did() {
    let (metrics, job) = (Metrics::new("1"), job("a", EVERY_MINUTE));
    run(&metrics, &job, found(Outcome::Repaired, false, [100, 7, 7, 0]));
    run(&metrics, &job, found(Outcome::Failed, false, [40, 2, 1, 0]));
    run(&metrics, &job, found(Outcome::Refused, false, [100, 0, 0, 0]));
    let page = scrape(&metrics, &["a"], NOW);
    assert_eq!(page.value("recountd_last_run_drifted{job=a}"), 7.0);
    // What a failed run repaired is repaired.
    assert_eq!(page.value("recountd_counters_repaired_total{job=a}"), 8.0);
}

#[test]
fn a_dry_run_is_counted_as_a_slot_and_as_nothing_else() {
    let (metrics, job) = (Metrics::new("1"), job("a", EVERY_MINUTE));
    run(&metrics, &job, found(Outcome::Drift, true, [100, 7, 0, 0]));
    run(&metrics, &job, found(Outcome::Clean, true, [100, 0, 0, 0]));
    let page = scrape(&metrics, &["a"], NOW);
    assert_eq!(page.value("recountd_slots_total{job=a,outcome=drift}"), 1.0);
    assert_eq!(page.value("recountd_slots_total{job=a,outcome=clean}"), 1.0);
    assert_eq!(page.value("recountd_counters_compared_total{job=a}"), 0.0);
    assert_eq!(page.get("recountd_last_run_drifted{job=a}"), None);
    assert_eq!(page.get("recountd_run_seconds_count{job=a}"), None);
}

#[test]
fn every_slot_that_a_record_stands_for_is_counted_once() {
    let metrics = Metrics::new("1");
    let coalesced =
        slot(&job("a", EVERY_MINUTE), TimeDelta::minutes(4), Some(common_agenda::clean()));
    let missed = slot(&job("b", "interval = '10m'"), TimeDelta::minutes(125), None);
    metrics.record(&coalesced.1);
    metrics.record(&missed.1);
    let page = scrape(&metrics, &["a", "b"], NOW);
    for (series, value) in [
        ("recountd_slots_total{job=a,outcome=clean}", 1.0),
        ("recountd_slots_total{job=a,outcome=coalesced}", 4.0),
        ("recountd_slots_total{job=b,outcome=missed}", 13.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    assert_eq!(page.get("recountd_slots_total{job=b,outcome=coalesced}"), None);
    assert_eq!(page.get("recountd_run_seconds_count{job=b}"), None, "it did not run");
}

#[test]
fn lateness_is_measured_once_a_run_from_its_slot() {
    let metrics = Metrics::new("1");
    let (order, _) =
        slot(&job("a", EVERY_MINUTE), TimeDelta::milliseconds(2), Some(common_agenda::clean()));
    let first = order.unwrap();
    metrics.started(&first, first.slot + TimeDelta::milliseconds(2));
    metrics.started(&first, first.slot - TimeDelta::milliseconds(2));
    let again = Order { attempt: 2, ..first.clone() };
    metrics.started(&again, first.slot + TimeDelta::seconds(9));
    let page = scrape(&metrics, &[], NOW);
    for (series, value) in [
        ("recountd_slot_lateness_seconds_count", 2.0),
        ("recountd_slot_lateness_seconds_sum", 0.002),
        ("recountd_slot_lateness_seconds_bucket{le=0.001}", 1.0),
        ("recountd_slot_lateness_seconds_bucket{le=0.0025}", 2.0),
        ("recountd_slot_lateness_seconds_bucket{le=+Inf}", 2.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
}

#[test]
fn what_a_scrape_is_told_of_a_job_is_shown_as_it_is() {
    let metrics = Metrics::new("1");
    let jobs = [
        JobGauges {
            last_clean: Some(at("2026-11-21T02:59:00Z")),
            paused: true,
            overdue: true,
            ..gauges("a")
        },
        JobGauges { next: None, period: None, ..gauges("b") },
        // A name that comes twice must not make a page that nobody can read.
        gauges("a"),
    ];
    let page = Page::parse(&metrics.encode(jobs.into_iter(), at(NOW)));
    for (series, value) in [
        ("recountd_seconds_since_clean_run{job=a}", 60.0),
        ("recountd_job_paused{job=a}", 1.0),
        ("recountd_job_overdue{job=a}", 1.0),
        ("recountd_job_next_slot_timestamp_seconds{job=a}", 1_795_316_400.25),
        ("recountd_job_period_seconds{job=a}", 86_400.0),
        ("recountd_job_paused{job=b}", 0.0),
        ("recountd_job_overdue{job=b}", 0.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    assert_eq!(page.get("recountd_job_next_slot_timestamp_seconds{job=b}"), None);
    assert_eq!(page.get("recountd_job_period_seconds{job=b}"), None);
}

#[test]
fn a_job_that_was_never_clean_counts_from_the_first_scrape_that_named_it() {
    let metrics = Metrics::new("1");
    let since =
        |now: &str| scrape(&metrics, &["a"], now).value("recountd_seconds_since_clean_run{job=a}");
    assert_eq!(since("2026-11-21T03:00:00Z"), 0.0);
    assert_eq!(since("2026-11-21T04:00:00Z"), 3600.0);
    // The clock was set back.
    assert_eq!(since("2026-11-21T01:00:00Z"), 0.0);
}

#[test]
fn what_somebody_wants_to_be_woken_by_is_there_with_0_before_it_happens() {
    let page = scrape(&Metrics::new("1"), &["a"], NOW);
    for series in [
        "recountd_slots_total{job=a,outcome=failed}",
        "recountd_slots_total{job=a,outcome=missed}",
        "recountd_slots_total{job=a,outcome=partial}",
        "recountd_slots_total{job=a,outcome=refused}",
        "recountd_slots_total{job=a,outcome=skipped}",
        "recountd_counters_unproven_total{job=a}",
        "recountd_counters_drifted_total{job=a}",
        "recountd_retries_total{job=a}",
        "recountd_clock_steps_total",
        "recountd_state_records_lost_total",
    ] {
        assert_eq!(page.value(series), 0.0, "{series}");
    }
    assert_eq!(page.get("recountd_run_seconds_count{job=a}"), None);
}

#[test]
fn the_daemon_tells_of_itself() {
    let metrics = Metrics::new("1");
    let before = Utc::now().timestamp() - 60;
    let page = scrape(&metrics, &[], NOW);
    assert_eq!(page.value("recountd_config_reload_successful"), 1.0);
    let started = page.value("process_start_time_seconds");
    assert!(started > before as f64, "{started}");
    assert_eq!(page.value("recountd_config_last_reload_success_timestamp_seconds"), started);

    metrics.reloaded(true, at("2026-11-21T03:00:00.500Z"));
    metrics.reloaded(false, at("2026-11-21T04:00:00Z"));
    metrics.clock_stepped();
    metrics.set_queue_depth(3);
    metrics.set_active_runs(13);
    metrics.set_lost_records(3);
    metrics.retried(&Arc::from("a"));
    let page = scrape(&metrics, &["a"], NOW);
    for (series, value) in [
        ("recountd_config_reload_successful", 0.0),
        ("recountd_config_last_reload_success_timestamp_seconds", 1_795_230_000.5),
        ("recountd_clock_steps_total", 1.0),
        ("recountd_queue_depth", 3.0),
        ("recountd_active_runs", 13.0),
        ("recountd_state_records_lost_total", 3.0),
        ("recountd_retries_total{job=a}", 1.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
}

#[test]
fn a_job_that_is_gone_leaves_no_series_not_even_by_a_run_that_ends_later() {
    let (metrics, job) = (Metrics::new("1"), job("a", EVERY_MINUTE));
    run(&metrics, &job, found(Outcome::Clean, false, [1, 0, 0, 0]));
    metrics.forget("a");
    assert!(!metrics.encode(std::iter::empty(), at(NOW)).contains("job="));
    run(&metrics, &job, found(Outcome::Clean, false, [1, 0, 0, 0]));
    assert!(!metrics.encode(std::iter::empty(), at(NOW)).contains("job="));
    // What that run left is dropped by the second scrape that does not name the job: a new one of the name begins
    // with nothing.
    scrape(&metrics, &["b"], NOW);
    let page = scrape(&metrics, &["a"], NOW);
    assert_eq!(page.get("recountd_slots_total{job=a,outcome=clean}"), None);
    // And one that is named goes on.
    run(&metrics, &job, found(Outcome::Clean, false, [1, 0, 0, 0]));
    for _ in 0..3 {
        let page = scrape(&metrics, &["a", "b"], NOW);
        assert_eq!(page.value("recountd_slots_total{job=a,outcome=clean}"), 1.0);
    }
}

#[test]
fn ten_thousand_jobs_are_one_page_while_runs_are_counted() {
    let metrics = Metrics::new("1");
    let names: Vec<String> = (0..10_000).map(|n| format!("job-{n}")).collect();
    let (_, record) = slot(
        &job("x", EVERY_MINUTE),
        TimeDelta::zero(),
        Some(found(Outcome::Clean, false, [9; 4])),
    );
    for name in &names {
        let job = Arc::new(Job { name: Arc::from(name.as_str()), ..Job::clone(&record.job) });
        metrics.record(&Record { job, ..record.clone() });
    }
    let page = std::thread::scope(|scope| {
        let pages: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| metrics.encode(names.iter().map(|name| gauges(name)), at(NOW))))
            .collect();
        metrics.record(&record);
        pages.into_iter().map(|page| page.join().unwrap()).next_back().unwrap()
    });
    let page = Page::parse(&page);
    assert_eq!(page.sum("recountd_slots_total"), 10_000.0);
    assert_eq!(page.sum("recountd_job_paused"), 0.0);
    assert!(page.series() > 10_000 * 24, "{}", page.series());
}
