//! The writer of the state: what it writes once and only once, whose numbers and pauses it leaves alone, and who
//! may read its files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common_config;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use common_config::{VALID, accepted};
use recountd::agenda::{Cause, Memory, Order, Record, Remembered, RunId, SlotEnd};
use recountd::config::{Job, Keep};
use recountd::jobs::Ledger;
use recountd::reconcile::{Amount, Id, Proof, Repair};
use recountd::state::{self, Added, IN_TABLE, Place, Recorder, Row, RunNumber, State, StateError};
use rusqlite::{Connection, params};
use serde_json::{Map, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

/// A folder for a state, which may be away for a while, as a disk that is not mounted.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(disk.0.path().join("there")).unwrap();
        fs::write(disk.0.path().join("away"), "").unwrap();
        disk.mount("there");
        disk
    }

    /// In one step.
    fn mount(&self, what: &str) {
        symlink(self.0.path().join(what), self.0.path().join("new")).unwrap();
        fs::rename(self.0.path().join("new"), self.0.path().join("disk")).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("disk/recountd.db")
    }

    fn open(&self) -> (State, Memory) {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<(State, Memory), StateError> {
        State::open(&self.file(), keep(), now())
    }

    /// Another connection, as an administrator has it.
    fn look(&self) -> Connection {
        let connection = Connection::open(self.file()).unwrap();
        connection.busy_timeout(SOON).unwrap();
        connection
    }

    fn number(&self, query: &str) -> i64 {
        self.look().query_row(query, [], |row| row.get(0)).unwrap()
    }
}

fn keep() -> Keep {
    accepted(VALID).daemon.keep
}

fn job() -> Arc<Job> {
    Arc::clone(&accepted(VALID).jobs["good"])
}

/// To the millisecond, as the file has it.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(Utc::now().timestamp_millis()).unwrap()
}

fn memory(paused: Option<DateTime<Utc>>) -> Remembered {
    Remembered { done: now(), trigger: Arc::from("interval 10m"), paused }
}

fn order(run: u64) -> Order {
    Order { run: RunId(run), job: job(), slot: now(), attempt: 1, cause: Cause::Slot }
}

/// What becomes of a run.
fn record(run: u64, started: DateTime<Utc>) -> Record {
    Record {
        job: job(),
        slot: started,
        run: RunId(run),
        cause: Cause::Slot,
        started: Some(started),
        took: Some(Duration::ZERO),
        stands_for: 1,
        end: SlotEnd::OverLimit,
    }
}

/// Waits until all that was handed over is on disk.
#[track_caller]
fn settle(state: &State) {
    assert!(state.on_disk().wait(state.handed(), SOON), "it is not written");
}

fn added(name: &str) -> Added {
    let definition = json!({"interval": "1h"});
    Added { name: name.to_owned(), definition: definition.as_object().unwrap().clone() }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_written_is_written_once_though_old_records_cannot_be_removed() {
    let disk = Disk::new();
    disk.open().0.close();
    disk.look()
        .execute_batch(
            "INSERT INTO runs (id, job, slot, attempts, started, outcome) VALUES (1, 'a', 1, 1, 1, 'clean');
             CREATE TRIGGER stuck BEFORE DELETE ON runs BEGIN SELECT RAISE(FAIL, 'stuck'); END;
             CREATE TABLE tally (n);
             CREATE TRIGGER made AFTER INSERT ON jobs BEGIN INSERT INTO tally VALUES (1); END;
             CREATE TRIGGER changed AFTER UPDATE ON jobs BEGIN INSERT INTO tally VALUES (1); END;",
        )
        .unwrap();
    let (mut state, _) = disk.open();
    state.remember(Arc::from("good"), memory(None));
    settle(&state);
    state.remember(Arc::from("other"), memory(None));
    settle(&state);
    assert_eq!(disk.number("SELECT COUNT(*) FROM tally"), 2, "each is written once");
    assert!(state.written().load(Ordering::Acquire));
    state.close();
    assert_eq!(disk.number("SELECT COUNT(*) FROM runs"), 1, "the old one could not be removed");
}

#[test]
fn a_number_is_never_given_again_though_its_record_is_gone() {
    let disk = Disk::new();
    let (mut state, memory) = disk.open();
    assert_eq!(memory.last_run, 0);
    state.waits(order(3));
    state.started(order(7), now());
    state.ended(record(5, now()), now());
    state.close();
    disk.look().execute("DELETE FROM runs", []).unwrap();
    let (state, memory) = disk.open();
    assert_eq!(memory.last_run, 7);
    state.close();
    // One whose beginning was never written down, but which has left evidence.
    let evidence = "INSERT INTO evidence VALUES (9, '', 'good', 'here', 1, 1)";
    disk.look().execute(evidence, []).unwrap();
    disk.open().0.close();
    disk.look().execute_batch("DELETE FROM runs; DELETE FROM evidence").unwrap();
    assert_eq!(disk.open().1.last_run, 9);
}

#[test]
fn a_state_of_format_3_is_read_as_it_is_and_its_numbers_go_on() {
    let disk = Disk::new();
    disk.open().0.close();
    // As the version before this one made it.
    disk.look()
        .execute_batch(
            "DROP TABLE numbers; PRAGMA user_version = 3;
             INSERT INTO runs (id, job, slot, attempts, started, finished, outcome, cause)
             VALUES (41, 'good', 1, 1, 1, 2, 'clean', 'trigger'), (-7, 'good', 1, 1, 1, 2, 'clean', NULL);",
        )
        .unwrap();
    let mut rows = state::runs(&disk.file(), None, 10, now()).unwrap();
    rows.sort_by_key(|row| row.id);
    let causes: Vec<&str> = rows.iter().map(|row| row.cause.as_str()).collect();
    assert_eq!(causes, ["once", "trigger"]);
    assert_eq!(disk.number("PRAGMA user_version"), 3, "reading changes nothing");
    // Whoever comes first migrates it; the records may be gone by the time the daemon comes.
    Place::of(&disk.file()).all().unwrap();
    disk.look().execute("DELETE FROM runs", []).unwrap();
    assert_eq!(disk.open().1.last_run, 41);
}

#[test]
fn a_daemon_without_its_memory_gives_numbers_that_nobody_has_had_or_will_have() {
    let disk = Disk::new();
    disk.mount("away");
    let (mut state, memory) = disk.open();
    let first = memory.last_run + 1;
    assert!(first > u64::try_from(now().timestamp()).unwrap() * 500, "not by the second");
    disk.mount("there");
    for run in first..first + 3 {
        state.ended(record(run, now()), now());
    }
    settle(&state);
    state.close();
    let text = first.to_string();
    assert_eq!(text.parse::<RunNumber>().unwrap(), RunId(first).into(), "people can name it");
    disk.look().execute("DELETE FROM runs", []).unwrap();
    assert_eq!(disk.open().1.last_run, first + 2);
}

#[test]
fn a_run_with_the_number_of_another_does_not_take_its_place() {
    let disk = Disk::new();
    disk.open().0.close();
    // A clock that was ahead by a year, and is set right.
    let theirs = (now() + TimeDelta::days(365)).timestamp_millis();
    disk.look()
        .execute(
            "INSERT INTO runs (id, job, slot, attempts, started, outcome) \
             VALUES (?1, 'theirs', ?2, 1, ?2, 'clean')",
            params![theirs, now().timestamp_millis()],
        )
        .unwrap();
    disk.mount("away");
    let (mut state, memory) = disk.open();
    let theirs = u64::try_from(theirs).unwrap();
    disk.mount("there");
    for run in [memory.last_run + 1, theirs, theirs + 1] {
        state.started(order(run), now());
        state.ended(record(run, now()), now());
    }
    settle(&state);
    state.close();
    let rows = state::runs(&disk.file(), None, 10, now()).unwrap();
    let mut jobs: Vec<(String, String)> =
        rows.into_iter().map(|row| (row.id.to_string(), row.job)).collect();
    jobs.sort();
    let (second, theirs) = ((theirs + 1).to_string(), theirs.to_string());
    assert_eq!(jobs, [(theirs, "theirs".to_owned()), (second, "good".to_owned())]);
}

#[test]
fn a_pause_that_was_not_read_is_not_taken_away() {
    let disk = Disk::new();
    let (mut state, _) = disk.open();
    let since = now() - TimeDelta::hours(1);
    state.remember(Arc::from("good"), Remembered { done: since, ..memory(Some(since)) });
    state.close();
    disk.mount("away");
    let (mut state, nothing) = disk.open();
    assert!(nothing.jobs.is_empty());
    assert!(!state.on_disk().is_unread(), "nobody knows yet");
    disk.mount("there");
    let done = memory(None);
    let good: Arc<str> = Arc::from("good");
    state.remember(Arc::clone(&good), done.clone());
    state.remember(Arc::from("new"), done.clone());
    settle(&state);
    assert!(state.on_disk().is_unread());
    let kept = |name: &str| {
        let query = format!("SELECT paused FROM jobs WHERE name = '{name}'");
        disk.number(&query)
    };
    assert_eq!((kept("good"), kept("new")), (since.timestamp_millis(), 0));
    let of_slots = disk.number("SELECT done FROM jobs WHERE name = 'good'");
    assert_eq!(of_slots, done.done.timestamp_millis(), "no slot that has run runs again");
    // What the daemon itself is told to do counts.
    let later = now();
    state.remember(Arc::clone(&good), memory(Some(later)));
    settle(&state);
    assert_eq!(kept("good"), later.timestamp_millis());
    state.remember(Arc::clone(&good), memory(None));
    settle(&state);
    assert_eq!(kept("good"), 0);
    state.close();
    assert!(!disk.open().0.on_disk().is_unread(), "another start has read it all");
}

#[test]
fn a_late_state_is_unread_only_if_it_has_what_the_daemon_should_know() {
    for (late, is_unread) in [(None, false), (Some(-1), true), (Some(1), false)] {
        let disk = Disk::new();
        let (mut state, _) = disk.open();
        state.remember(Arc::from("good"), memory(None));
        state.close();
        if let Some(late) = late {
            // One that was added after the start is known.
            let at = now() + TimeDelta::hours(late);
            Place::of(&disk.file()).insert(&added("a"), None, at).unwrap();
        }
        disk.mount("away");
        let (mut state, _) = disk.open();
        disk.mount("there");
        state.remember(Arc::from("good"), memory(None));
        settle(&state);
        assert_eq!(state.on_disk().is_unread(), is_unread, "{late:?}");
        state.close();
    }
}

#[test]
fn what_is_retired_is_gone_in_one_transaction() {
    let disk = Disk::new();
    disk.open().0.close();
    let look = disk.look();
    let fill = || {
        Place::of(&disk.file()).insert(&added("a"), None, now()).unwrap();
        look.execute_batch(
            "INSERT OR REPLACE INTO jobs VALUES ('a', 'interval 10m', 1, 0);
             INSERT OR REPLACE INTO good VALUES ('a', 'here', 1, 1);",
        )
        .unwrap();
    };
    let left =
        || ["jobs", "good", "added"].map(|of| disk.number(&format!("SELECT COUNT(*) FROM {of}")));
    let (mut state, _) = disk.open();
    for forget_too in [false, true] {
        fill();
        assert_eq!(left(), [1, 1, 1]);
        if forget_too {
            state.forget(Arc::from("a"));
            settle(&state);
            assert_eq!(left(), [0, 0, 1], "what is only forgotten may come back");
        }
        state.retire(Arc::from("a"));
        settle(&state);
        assert_eq!(left(), [0, 0, 0]);
    }
    state.close();
}

#[test]
fn an_added_job_is_found_by_its_name_and_a_damaged_one_hides_no_other() {
    let disk = Disk::new();
    disk.open().0.close();
    let place = Place::of(&disk.file());
    for name in ["a", "b", "c", "d"] {
        assert!(place.insert(&added(name), None, now()).unwrap());
    }
    disk.look()
        .execute_batch(
            "UPDATE added SET definition = '{\"inter' WHERE name = 'a';
             UPDATE added SET definition = CAST(x'ff00' AS TEXT) WHERE name = 'b';
             UPDATE added SET definition = '[1]' WHERE name = 'c';",
        )
        .unwrap();
    let all = place.all().unwrap();
    let damaged: Vec<(&str, bool)> =
        all.iter().map(|added| (added.name.as_str(), added.is_damaged())).collect();
    assert_eq!(damaged, [("a", true), ("b", true), ("c", true), ("d", false)]);
    assert_eq!(place.find("d").unwrap(), Some(added("d")));
    let empty = Added { name: "b".to_owned(), definition: Map::new() };
    assert_eq!(place.find("b").unwrap(), Some(empty));
    assert_eq!(place.find("e").unwrap(), None);
}

#[test]
fn no_run_ends_before_it_starts() {
    let disk = Disk::new();
    let (mut state, _) = disk.open();
    let turn = now();
    // The worker read the clock after the loop had begun its turn.
    let started = turn + TimeDelta::milliseconds(1);
    for (run, at, ends) in [
        (1, turn, started),
        (2, started, started),
        (3, turn + TimeDelta::seconds(1), turn + TimeDelta::seconds(1)),
    ] {
        let record = record(run, started);
        assert_eq!(Row::of(&record, at).finished, Some(ends));
        state.ended(record, at);
        settle(&state);
        let row = state::run(&disk.file(), RunId(run).into(), now()).unwrap().unwrap();
        assert_eq!((row.started, row.finished), (Some(started), Some(ends)));
    }
    state.close();
}

#[test]
fn nobody_else_may_read_what_is_made() {
    let disk = Disk::new();
    let (mut state, _) = disk.open();
    state.waits(order(1));
    settle(&state);
    let recorder = Recorder::new(&disk.file(), RunId(1).into(), &job());
    recorder.wrote(&repairs(IN_TABLE + 1));
    let beside = |end: &str| PathBuf::from(format!("{}{end}", disk.file().display()));
    for end in ["", "-wal", "-shm", "-evidence/1.tsv"] {
        assert_eq!(mode(&beside(end)), 0o600, "recountd.db{end}");
    }
    drop(recorder);
    state.close();
}

#[test]
fn a_file_that_is_there_keeps_its_mode() {
    let disk = Disk::new();
    disk.open().0.close();
    fs::set_permissions(disk.file(), Permissions::from_mode(0o640)).unwrap();
    let (mut state, _) = disk.open();
    state.waits(order(1));
    settle(&state);
    assert_eq!(mode(&disk.file()), 0o640);
    state.close();
}

fn repairs(number: u64) -> Vec<Repair> {
    let repair = |n| Repair {
        target: Arc::from(""),
        id: Id::Number(n),
        before: None,
        after: Some(Amount::Int(1)),
        at: now(),
        proof: Proof::Still,
    };
    (0..number).map(repair).collect()
}
