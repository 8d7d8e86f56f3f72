//! What one run may leave behind is bounded, however much it writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use chrono_tz::Tz;
use recountd::config::{Job, Surroundings, parse};
use recountd::jobs::Ledger;
use recountd::reconcile::{Amount, Id, Proof, Repair};
use recountd::state::{Beside, History, IN_FILE, IN_TABLE, Recorder};

fn job() -> Arc<Job> {
    let text = "[mysql.main]\nurl = \"mysql://127.0.0.1/app\"\n[redis.main]\nurl = \"redis://127.0.0.1\"\n\
         [jobs.a]\ninterval = \"1h\"\nquery = \"SELECT 1, 1\"\ntarget = { zset = \"k\" }\n";
    let nothing = |_: &str| Err(String::new());
    let surroundings = Surroundings {
        system_zone: Tz::UTC,
        variable: &nothing,
        credential: &nothing,
        check_url: &|_, _| Ok(()),
    };
    Arc::clone(&parse("jobs.toml", text, &surroundings).unwrap().jobs["a"])
}

fn repairs(ids: std::ops::Range<u64>) -> Vec<Repair> {
    let target: Arc<str> = Arc::from("");
    let repair = |id| Repair {
        target: Arc::clone(&target),
        id: Id::Number(id),
        before: None,
        after: Some(Amount::Int(1)),
        at: Utc::now(),
        proof: Proof::Absent,
    };
    ids.map(repair).collect()
}

#[test]
fn the_first_thousand_go_into_the_table_a_million_into_the_file_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("recountd.db");
    let job = job();
    let run = Beside::begin(&state, "a", Utc::now(), Duration::from_secs(60)).unwrap().number();
    let all = IN_TABLE + IN_FILE + 2_345;
    // In two attempts, and in portions that fit none of the bounds.
    for attempt in [0..700_030, 700_030..all] {
        let recorder = Recorder::new(&state, run, &job);
        for first in attempt.clone().step_by(490) {
            recorder.wrote(&repairs(first..(first + 490).min(attempt.end)));
        }
    }
    let evidence = History::open(&state).unwrap().of_run(run, Utc::now()).unwrap().unwrap();
    assert_eq!(evidence.written, all);
    // An attempt that goes on with a file begins with a line break, should the last one be cut off.
    let kept = evidence.repairs.len() as u64;
    assert!((IN_TABLE + IN_FILE - 1..=IN_TABLE + IN_FILE).contains(&kept), "{kept}");
    let in_order = evidence.repairs.iter().enumerate();
    assert!(in_order.into_iter().all(|(n, repair)| repair.id == Id::Number(n as u64)));
}

#[test]
fn the_place_of_a_target_is_on_record_from_its_first_repair_on_also_where_that_goes_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("recountd.db");
    let run = Beside::begin(&state, "a", Utc::now(), Duration::from_secs(60)).unwrap().number();
    let recorder = Recorder::new(&state, run, &job());
    recorder.wrote(&repairs(0..IN_TABLE));
    let mut other = repairs(0..1);
    other[0].target = Arc::from("other");
    recorder.wrote(&other);
    let evidence = History::open(&state).unwrap().of_run(run, Utc::now()).unwrap().unwrap();
    let targets: Vec<&str> = evidence.places.iter().map(|(target, _)| target.as_str()).collect();
    assert_eq!(targets, ["", "other"]);
    assert_eq!(evidence.repairs.len() as u64, IN_TABLE + 1);
}
