#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! For those who come from APScheduler 3: what its options and triggers mean there, and what the same words mean
//! here. Each row is a promise of recountd that its `check` holds the agenda or a trigger to. What is said of
//! APScheduler is from the documentation of 3.11 and was tried on 3.11.3.

mod common_agenda;

use std::sync::Arc;
use std::time::Duration;

use Verdict::{Different, Same};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use common_agenda::{World, at, clean, job};
use recountd::agenda::Event;
use recountd::config::{Job, Limits};
use recountd::schedule::{Cron, Trigger};

struct Row {
    topic: &'static str,
    apscheduler: &'static str,
    recountd: &'static str,
    verdict: Verdict,
    check: fn(),
}

enum Verdict {
    Same,
    /// On purpose, and why.
    Different(&'static str),
}

const BEGIN: &str = "2026-11-21T00:00:00Z";

/// A job every minute with these limits.
fn minutely(lines: &str) -> [Arc<Job>; 1] {
    [job("a", &format!("interval = '1m'\n{lines}"))]
}

/// The first slots after `t`, as many as are wanted.
#[track_caller]
fn slots(trigger: &Trigger, t: &str, want: &[&str]) {
    let mut t: DateTime<Utc> = at(t);
    for slot in want {
        assert_eq!(trigger.next_after(t), Some(at(slot)), "{trigger} after {t}");
        t = at(slot);
    }
}

#[track_caller]
fn cron(expression: &str, zone: Tz, t: &str, want: &[&str]) {
    slots(&Trigger::Cron(Cron::parse(expression, zone).unwrap()), t, want);
}

const MISFIRES: [Row; 6] = [
    Row {
        topic: "misfire_grace_time",
        apscheduler: "a run that is later than so many seconds does not run; at exactly so many it does",
        recountd: "the same of misfire_grace",
        verdict: Same,
        check: || {
            for (late, started) in [("1m20s", 1), ("1m20s1ms", 0)] {
                let mut world = World::new(&minutely("misfire_grace = '20s'"), BEGIN, 10);
                world.sleep(late);
                assert_eq!(world.started.len(), started, "{late}");
            }
        },
    },
    Row {
        topic: "misfire_grace_time, default",
        apscheduler: "1 second",
        recountd: "60 seconds",
        verdict: Different("two busy seconds shall not cost the recount of a night"),
        check: || {
            assert_eq!(Limits::default().misfire_grace, Duration::from_secs(60));
            let mut world = World::new(&minutely(""), BEGIN, 10);
            world.sleep("1m2s");
            assert_eq!(world.started.len(), 1);
        },
    },
    Row {
        topic: "a misfire",
        apscheduler: "an event for listeners and a warning in the log",
        recountd: "a record with how late it was and how many slots it stands for, which is kept",
        verdict: Different("why nothing ran at 03:00 is asked days later (S13)"),
        check: || {
            let mut world = World::new(&minutely("misfire_grace = '20s'"), BEGIN, 10);
            world.sleep("5m30s");
            assert_eq!(world.ends(), ["seen 30s late, more than misfire_grace 5x"]);
        },
    },
    Row {
        topic: "coalesce, on by default",
        apscheduler: "several due runs become one, the latest; nothing is said of the others",
        recountd: "the same, and the record says how many the run stands for",
        verdict: Same,
        check: || {
            let mut world = World::new(&minutely(""), BEGIN, 10);
            world.sleep("5m30s");
            assert_eq!(world.slots(), ["00:05:00"]);
            world.finish(clean());
            assert_eq!(world.ends(), ["clean 5x"]);
        },
    },
    Row {
        topic: "coalesce = false",
        apscheduler: "every due run is enumerated and run in its order, each within its grace",
        recountd: "the same order and grace; those beyond the grace are one record, and at most 100 run",
        verdict: Different(
            "after a year of sleep that is 31 million runs of a job every second (S4)",
        ),
        check: || {
            let lines = "coalesce = false\nmax_instances = 1000\nmisfire_grace = '2m30s'";
            let mut world = World::new(&minutely(lines), BEGIN, 1000);
            world.sleep("5m30s");
            assert_eq!(world.slots(), ["00:03:00", "00:04:00", "00:05:00"]);
            assert_eq!(world.ends(), ["seen 3m30s late, more than misfire_grace 2x"]);
            let lines = "coalesce = false\nmax_instances = 1000\nmisfire_grace = '1d'";
            let mut world = World::new(&minutely(lines), BEGIN, 1000);
            world.sleep("3h");
            assert_eq!(world.started.len(), 100);
            assert_eq!(world.ends(), ["more than 100 late slots 80x"]);
        },
    },
    Row {
        topic: "coalesce = false with max_instances = 1",
        apscheduler: "all due runs count as one instance, which runs them one after another",
        recountd: "each is a run of its own: the oldest runs, the others are skipped while it is active",
        verdict: Different("max_instances counts runs, never bundles of them (S7)"),
        check: || {
            let jobs = minutely("coalesce = false\nmisfire_grace = '1h'");
            let mut world = World::new(&jobs, BEGIN, 10);
            world.sleep("3m30s");
            assert_eq!(world.slots(), ["00:01:00"]);
            assert_eq!(world.ends(), ["run 1 has been active for 0s 1x"; 2]);
        },
    },
];

const INSTANCES: [Row; 2] = [
    Row {
        topic: "max_instances, 1 by default",
        apscheduler: "a run that is due while so many are active is skipped; those that wait in the pool are active",
        recountd: "the same, and the record names the run in its way",
        verdict: Same,
        check: || {
            // One place for two jobs: the second waits, and is active none the less.
            let jobs = ["a", "b"].map(|name| job(name, "interval = '1m'"));
            let mut world = World::new(&jobs, BEGIN, 1);
            world.pass("2m");
            assert_eq!(world.slots(), ["00:01:00"]);
            let reasons = [1, 2].map(|run| format!("run {run} has been active for 1m 1x"));
            assert_eq!(world.ends(), reasons);
        },
    },
    Row {
        topic: "remove_job",
        apscheduler: "what was submitted to the executor still runs, though it has not begun",
        recountd: "a run that has begun finishes; one that waits is dropped, with a record",
        verdict: Different("what was taken out of jobs.toml shall not begin afterwards (S14)"),
        check: || {
            let jobs = ["a", "b"].map(|name| job(name, "interval = '1m'"));
            let mut world = World::new(&jobs, BEGIN, 1);
            world.pass("1m");
            world.feed(Event::Reloaded(Vec::new()));
            world.finish(clean());
            assert_eq!(
                world.ends(),
                ["a reload took its job away before it started 1x", "clean 1x"]
            );
        },
    },
];

const NEXT_TIMES: [Row; 6] = [
    Row {
        topic: "jitter",
        apscheduler: "up to so many seconds are added to the next run time, and an interval goes on from the sum",
        recountd: "each start is delayed by up to jitter; slots stay where they are",
        verdict: Different(
            "with 60 s of jitter a job every 10 min drifts by half an hour in ten hours (S11)",
        ),
        check: || {
            let mut world = World::new(&minutely("jitter = '30s'"), BEGIN, 10);
            for minute in 1..=50 {
                world.pass("1m");
                let next = world.agenda.next_slots().next().unwrap().1;
                assert_eq!(next, at(BEGIN) + TimeDelta::minutes(minute + 1));
                if world.started.len() > world.records.len() {
                    world.finish(clean());
                }
            }
        },
    },
    Row {
        topic: "interval without start_date",
        apscheduler: "counts from the instant at which the job is added: now + interval",
        recountd: "counts from the Unix epoch",
        verdict: Different("restarts every 9 min would keep a job every 10 from ever running (S5)"),
        check: || {
            for begin in ["2026-11-21T00:00:01Z", "2026-11-21T00:09:59Z"] {
                let world = World::new(&[job("a", "interval = '10m'")], begin, 10);
                assert_eq!(world.agenda.next_wake(), Some(at("2026-11-21T00:10:00Z")));
            }
        },
    },
    Row {
        topic: "interval with start_date",
        apscheduler: "the first run; if it is past, the times go on from it and nothing is run for the past",
        recountd: "the same of start",
        verdict: Same,
        check: || {
            let lines = "interval = '10m'\nstart = 2026-01-01T00:03:00Z";
            let past = World::new(&[job("a", lines)], BEGIN, 10);
            assert!(past.started.is_empty() && past.records.is_empty());
            assert_eq!(past.agenda.next_wake(), Some(at("2026-11-21T00:03:00Z")));
            let future = World::new(&[job("a", lines)], "2025-12-31T00:00:00Z", 10);
            assert_eq!(future.agenda.next_wake(), Some(at("2026-01-01T00:03:00Z")));
        },
    },
    Row {
        topic: "a run time equal to now when the job is added",
        apscheduler: "runs: the first time is looked for from now on, now included",
        recountd: "does not: the next slot is strictly after now; a date that is now runs",
        verdict: Different("a restart within the instant of a slot would run it twice (S4)"),
        check: || {
            let world = World::new(&[job("a", "cron = '0 0 * * *'")], BEGIN, 10);
            assert!(world.started.is_empty());
            assert_eq!(world.agenda.next_wake(), Some(at("2026-11-22T00:00:00Z")));
            let date = format!("date = {BEGIN}");
            assert_eq!(World::new(&[job("a", &date)], BEGIN, 10).started.len(), 1);
        },
    },
    Row {
        topic: "date",
        apscheduler: "runs once; one that is past is a misfire, or runs if it is within its grace",
        recountd: "the same",
        verdict: Same,
        check: || {
            let date = [job("a", "date = 2026-11-20T23:59:30Z")];
            assert_eq!(World::new(&date, BEGIN, 10).started.len(), 1);
            let late = World::new(&date, "2026-11-21T00:59:30Z", 10);
            assert_eq!(late.ends(), ["seen 1h late, more than misfire_grace 1x"]);
            assert_eq!(late.agenda.next_wake(), None);
        },
    },
    Row {
        topic: "date, added again by each start of the program",
        apscheduler: "is run or is a misfire at every start, since the store forgets a job after its last run",
        recountd: "has one record, however often the daemon starts",
        verdict: Different(
            "jobs.toml keeps a date after it has passed; it shall not run again (S12)",
        ),
        check: || {
            let date = [job("a", "date = 2026-11-20T23:59:30Z")];
            let first = World::new(&date, BEGIN, 10);
            let second = first.restarted(&date, "1s");
            assert!(second.started.is_empty() && second.records.is_empty());
        },
    },
];

const RESTARTS: [Row; 4] = [
    Row {
        topic: "missed while down, with a persistent job store",
        apscheduler: "dealt with at the next start, by misfire_grace_time and coalesce",
        recountd: "the same",
        verdict: Same,
        check: || {
            let jobs = minutely("misfire_grace = '30s'");
            let mut world = World::new(&jobs, BEGIN, 10);
            world.pass("1m");
            let soon = world.restarted(&jobs, "5m20s");
            assert_eq!(soon.slots(), ["00:06:00"]);
            let late = world.restarted(&jobs, "5m40s");
            assert_eq!(late.ends(), ["seen 40s late, more than misfire_grace 5x"]);
        },
    },
    Row {
        topic: "missed while down, as most programs start: add_job(replace_existing=True), or the store in memory",
        apscheduler: "lost without a word: the next run time is reckoned anew from now",
        recountd: "an unchanged job goes on from its last slot, and so does one whose limits changed",
        verdict: Different(
            "the file is read at every start, which must not make the daemon forget (S6)",
        ),
        check: || {
            let mut world = World::new(&minutely(""), BEGIN, 10);
            world.pass("1m");
            let changed = world.restarted(&minutely("misfire_grace = '5s'"), "5m20s");
            assert_eq!(changed.ends(), ["seen 20s late, more than misfire_grace 5x"]);
        },
    },
    Row {
        topic: "reschedule_job",
        apscheduler: "the next run time is reckoned from now by the new trigger; the past is dropped",
        recountd: "the same of a reload, and of a restart, with another trigger",
        verdict: Same,
        check: || {
            let hourly = [job("a", "interval = '1h'")];
            let mut world = World::new(&minutely(""), BEGIN, 10);
            world.pass("90s");
            let restarted = world.restarted(&hourly, "1d");
            assert!(restarted.started.is_empty() && restarted.records.is_empty());
            world.feed(Event::Reloaded(hourly.to_vec()));
            assert_eq!(world.agenda.next_wake(), Some(at("2026-11-21T01:00:00Z")));
        },
    },
    Row {
        topic: "modify_job",
        apscheduler: "other options than the trigger leave the next run time alone",
        recountd: "the same of a reload",
        verdict: Same,
        check: || {
            let mut world = World::new(&minutely(""), BEGIN, 10);
            world.pass("90s");
            world.feed(Event::Reloaded(minutely("retries = 9").to_vec()));
            assert_eq!(world.agenda.next_wake(), Some(at("2026-11-21T00:02:00Z")));
        },
    },
];

const CRON: [Row; 6] = [
    Row {
        topic: "numbers of weekdays (from_crontab)",
        apscheduler: "0 is Monday, by a mistake that 3.x cannot mend; 7 is refused",
        recountd: "0 and 7 are Sunday",
        verdict: Different("cron(8) has it so, and lines are copied from crontabs (S1)"),
        check: || {
            for sunday in ["0 0 * * 0", "0 0 * * 7", "0 0 * * sun"] {
                cron(sunday, Tz::UTC, BEGIN, &["2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"]);
            }
        },
    },
    Row {
        topic: "day of month and day of week",
        apscheduler: "both must match: 0 0 13 * fri is Friday the 13th",
        recountd: "either is enough where neither starts with *",
        verdict: Different("cron(8) has it so (S1)"),
        check: || {
            let want = ["2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"];
            cron("0 0 13 * fri", Tz::UTC, "2026-02-06T00:00:00Z", &want);
        },
    },
    Row {
        topic: "`last`, `3rd fri`, weeks and years",
        apscheduler: "are expressions of the cron trigger",
        recountd: "are refused; seconds and @daily are taken",
        verdict: Different("one dialect, which people know (S1)"),
        check: || {
            assert!(Cron::parse("0 0 last * *", Tz::UTC).is_err());
            assert!(Cron::parse("0 0 * * 3rd-fri", Tz::UTC).is_err());
            cron("*/30 0 0 * * *", Tz::UTC, BEGIN, &["2026-11-21T00:00:30Z"]);
            cron("@daily", Tz::UTC, BEGIN, &["2026-11-22T00:00:00Z"]);
        },
    },
    Row {
        topic: "a time that daylight saving skips",
        apscheduler: "`will not execute at all`, says the documentation; 3.11.3 does, an hour late by the wall clock",
        recountd: "runs once, at the first instant after the gap",
        verdict: Different("a nightly job runs every night, as under Vixie cron (S3)"),
        check: || {
            let want = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
            cron("30 2 * * *", Tz::Europe__Berlin, "2026-03-28T00:00:00Z", &want);
        },
    },
    Row {
        topic: "a time that daylight saving repeats",
        apscheduler: "runs twice",
        recountd: "runs in the first pass only",
        verdict: Different("a nightly job runs once a night, as under Vixie cron (S3)"),
        check: || {
            let want = ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
            cron("30 2 * * *", Tz::Europe__Berlin, "2026-10-24T23:00:00Z", &want);
        },
    },
    Row {
        topic: "every so many minutes, over a change of daylight saving",
        apscheduler: "at every matching minute that exists, in both passes",
        recountd: "the same",
        verdict: Same,
        check: || {
            let zone = Tz::Europe__Berlin;
            let gap = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"];
            cron("*/30 * * * *", zone, "2026-03-29T00:00:00Z", &gap);
            let fold = ["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"];
            cron("15 * * * *", zone, "2026-10-25T00:00:00Z", &fold);
        },
    },
];

#[test]
fn every_row_says_what_recountd_does() {
    for row in MISFIRES.iter().chain(&INSTANCES).chain(&NEXT_TIMES).chain(&RESTARTS).chain(&CRON) {
        // Shown when the check below fails.
        println!("{}\n  APScheduler: {}\n  recountd: {}", row.topic, row.apscheduler, row.recountd);
        match row.verdict {
            Same => println!("  the same"),
            Different(why) => println!("  different, because {why}"),
        }
        (row.check)();
    }
}
