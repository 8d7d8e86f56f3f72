//! `recountd undo` on real servers: what it puts back, and what it leaves alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use redis::Commands;
use serde_json::Value;
use support::proxy::{Fault, Proxy, Way};
use support::toutiao::{self, ARTICLES_KEY};
use support::world::{JOB, World, articles_job};
use support::{eventually, servers_toml};

const SOON: Duration = Duration::from_secs(20);

/// All counters may change at once.
const ANY: &str = "guard = { max_changed = \"100%\" }";

#[test]
fn undo_puts_back_what_a_run_wrote_and_says_what_has_moved() {
    let mut world = World::new(500, 5_000, ANY);
    let broken = toutiao::break_counters(&mut world.connection(), 60, 20, 10, &mut world.rng);
    let wrong = world.image();
    world.call(&["once", JOB], 0);
    let right = world.image();
    assert_eq!(world.wrong(), []);

    let dry = world.call(&["undo", "o1", "--dry-run", "--json"], 0).json();
    assert_eq!(
        (&dry["undone"], &dry["run"], &dry["outcome"]),
        (&90.into(), &Value::Null, &"undone".into())
    );
    assert_eq!(world.image(), right, "a dry run writes nothing");
    assert_eq!(world.runs().len(), 1, "and is no run");

    let undone = world.call(&["undo", "o1", "--json"], 0).json();
    assert_eq!((&undone["undone"], &undone["run"]), (&90.into(), &"o2".into()));
    assert_eq!(world.image(), wrong, "all is as it was before the run");
    let row = &world.runs()[0];
    assert_eq!(
        (&row["id"], &row["outcome"], &row["repairs"]),
        (&"o2".into(), &"undone".into(), &90.into())
    );

    // Once more: nothing holds any more what the run wrote.
    let again = world.call(&["undo", "o1", "--json"], 3).json();
    assert_eq!(
        (&again["undone"], &again["moved"], &again["outcome"]),
        (&0.into(), &90.into(), &"partial".into())
    );
    assert_eq!(again["moved_samples"].as_array().unwrap().len(), 10);
    assert_eq!(world.image(), wrong);

    // An undo is a run like any other: explain shows it, and it can be undone.
    let id = broken.missing[0].to_string();
    let told = world.call(&["explain", JOB, &id, "--json"], 0).json();
    let words: Vec<&Value> =
        told["repairs"].as_array().unwrap().iter().map(|r| &r["proof"]).collect();
    assert_eq!(words, ["still", "undo"]);
    world.set_counter(&broken.errors[0].to_string(), 1e6);
    let back = world.call(&["undo", "o2"], 3).stdout;
    assert!(back.contains("89 counters put back, 1 have moved since"), "{back}");
    assert!(back.contains("1000000"), "the value that is there now: {back}");
    assert_eq!(world.wrong().len(), 1);
}

#[test]
fn what_was_added_to_a_counter_in_motion_is_taken_off_what_it_holds_now_and_only_once() {
    let world = World::new(100, 1_000, ANY);
    world.shift(-3.0);
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    file.execute("UPDATE repairs SET proof = 'agreed' WHERE id IN (x'31', x'32', x'33')", [])
        .unwrap();
    let right = |id: &str| toutiao::truth(&mut world.mysql())[&id.parse::<u64>().unwrap()] as f64;
    // All five have been counted up since; 2 was repaired again, and 3 has lost its counter.
    world.shift(10.0);
    for id in ["1", "3", "4", "5"] {
        world.set_counter(id, right(id));
    }
    world.call(&["once", JOB], 0);
    world.shift(10.0);
    world.connection().zrem::<_, _, ()>(ARTICLES_KEY, "3").unwrap();
    let undone = world.call(&["undo", "o1", "--json"], 3).json();
    assert_eq!((&undone["undone"], &undone["moved"]), (&1.into(), &4.into()), "{undone}");
    assert_eq!(world.counter("1"), Some(right("1") + 10.0 - 3.0));
    assert_eq!(world.counter("2"), Some(right("2") + 10.0), "that value is another run's");
    assert_eq!((world.counter("3"), world.counter("4")), (None, Some(right("4") + 10.0)));
    world.call(&["undo", "o1"], 3);
    assert_eq!(world.counter("1"), Some(right("1") + 10.0 - 3.0), "not taken off a second time");
}

#[test]
fn a_run_that_wrote_nothing_has_nothing_to_undo() {
    let world = World::new(100, 1_000, ANY);
    world.call(&["once", JOB], 0);
    let image = world.image();
    for dry in [&["--dry-run"][..], &[]] {
        let told = world.call(&[&["undo", "o1"][..], dry].concat(), 0).stdout;
        assert!(told.contains("nothing to undo"), "{told}");
    }
    let told = world.call(&["undo", "o1", "--json"], 0).json();
    assert_eq!((&told["run"], &told["undone"]), (&Value::Null, &0.into()));
    assert!(told["reason"].as_str().unwrap().contains("nothing to undo"), "{told}");
    assert_eq!(world.runs().len(), 1, "and no run is made of it");
    assert_eq!(world.image(), image);
}

#[test]
fn a_run_whose_evidence_was_lost_is_not_called_undone() {
    let world = World::new(100, 1_000, ANY);
    world.shift(-3.0);
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    file.execute_batch("DELETE FROM repairs; DELETE FROM evidence").unwrap();
    let undone = world.call(&["undo", "o1", "--json"], 3).json();
    let numbers = ["undone", "moved", "no_evidence"].map(|field| undone[field].as_u64().unwrap());
    assert_eq!(numbers, [0, 0, 5]);
    assert_eq!(world.wrong(), []);
}

#[test]
fn a_counter_that_a_run_wrote_twice_comes_all_the_way_back() {
    let world = World::new(100, 1_000, ANY);
    world.shift(-3.0);
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    let again = "INSERT INTO repairs (run, job, target, id, before, after, at, proof) \
         SELECT run, job, target, id, after, '777', at + 1, proof FROM repairs WHERE id = x'34'";
    assert_eq!(file.execute(again, []).unwrap(), 1);
    let first = world.counter("4").unwrap() - 3.0;
    world.set_counter("4", 777.0);
    let undone = world.call(&["undo", "o1", "--json"], 0).json();
    assert_eq!((&undone["undone"], world.counter("4")), (&6.into(), Some(first)));
}

#[test]
fn an_undo_whose_answer_was_lost_takes_nothing_off_a_second_time() {
    let world = World::new(100, 1_000, ANY);
    let proxy = Proxy::before(world.redis.port());
    let redis = format!("redis://127.0.0.1:{}", proxy.port());
    let head = servers_toml(world.database.url(), &redis);
    world.recountd.write_jobs(&format!("{head}{}", articles_job(ANY)));
    world.shift(-3.0);
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    file.execute("UPDATE repairs SET proof = 'nearest'", []).unwrap();
    let right: f64 = world.counter("1").unwrap();
    // Redis writes, and nobody hears of it.
    proxy.trap("EVALSHA", 1, Fault::Cut(Way::Replies, 0));
    let cut = world.call(&["undo", "o1"], 1);
    assert!(proxy.sprung() && cut.stderr.contains("Redis main"), "{}", cut.stderr);
    eventually(SOON, "the write has come", || world.counter("1") == Some(right - 3.0));
    let image = world.image();
    let evidence: i64 = file
        .query_row("SELECT COUNT(*) FROM repairs WHERE proof = 'undo'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(evidence, 0, "only the claims can know");
    for arguments in [&["undo", "o1", "--json", "--dry-run"][..], &["undo", "o1", "--json"]] {
        let again = world.call(arguments, 3).json();
        assert_eq!((&again["undone"], &again["moved"]), (&0.into(), &5.into()), "{again}");
    }
    assert_eq!(world.image(), image);
}

#[test]
fn what_was_claimed_and_not_written_can_be_undone_later() {
    let world = World::new(100, 1_000, ANY);
    world.shift(-3.0);
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    file.execute("UPDATE repairs SET proof = 'agreed'", []).unwrap();
    let right = world.counter("1").unwrap();
    // A state that takes no claim: nothing is taken off.
    file.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON claims BEGIN SELECT RAISE(FAIL, 'full'); END",
    )
    .unwrap();
    let refused = world.call(&["undo", "o1", "--json"], 3);
    assert_eq!(refused.json()["undone"], 0);
    assert!(refused.stderr.contains("cannot be written down"), "{}", refused.stderr);
    assert_eq!(world.counter("1"), Some(right));
    file.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(world.call(&["undo", "o1", "--json"], 0).json()["undone"], 5);
    assert_eq!(world.counter("1"), Some(right - 3.0));
}

#[test]
fn a_state_that_does_not_take_the_end_hides_nothing_of_what_was_put_back() {
    let world = World::new(100, 1_000, ANY);
    world.shift(-3.0);
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    file.execute_batch(
        "CREATE TRIGGER full BEFORE UPDATE ON runs BEGIN SELECT RAISE(FAIL, 'full'); END",
    )
    .unwrap();
    let undone = world.call(&["undo", "o1"], 0);
    assert!(undone.stdout.contains("5 counters put back"), "{}", undone.stdout);
    assert!(undone.stderr.contains("the end of this undo is not recorded"), "{}", undone.stderr);
}

#[test]
fn an_undo_that_is_stopped_says_what_holds_and_the_next_one_does_the_rest() {
    let world = World::new(4_000, 20_000, "");
    world.lose_key();
    world.call(&["once", JOB], 0);
    let count = || world.connection().zcard::<_, u64>(ARTICLES_KEY).unwrap();
    let all = count();
    // Slow enough to be stopped on the way: Redis is left alone for most of the time.
    world.write_jobs(&articles_job("redis_share = \"1%\""));
    let mut undo = world.recountd.spawn(&["undo", "o1"]);
    eventually(SOON, "some are put back", || count() < all);
    undo.signal("INT");
    undo.wait_for_line("run undo again for the rest", SOON);
    assert_eq!(undo.wait_exit(SOON).code(), Some(1));
    let left = count();
    assert!(left > 0, "it was stopped in the middle");
    world.write_jobs(&articles_job(""));
    let rest = world.call(&["undo", "o1", "--json"], 3).json();
    assert_eq!((&rest["undone"], count()), (&left.into(), 0));
}

#[test]
fn what_another_run_has_written_since_is_its_own() {
    let world = World::new(100, 1_000, ANY);
    world.shift(-3.0);
    world.call(&["once", JOB], 0);
    world.call(&["undo", "o1"], 0);
    assert_eq!(world.wrong().len(), 5);
    world.call(&["once", JOB], 0);
    // What the counters hold is what the first run wrote as well, and is the second one's.
    let again = world.call(&["undo", "o1", "--json"], 3).json();
    assert_eq!((&again["undone"], &again["moved"]), (&0.into(), &5.into()), "{again}");
    assert_eq!(world.wrong(), []);
    assert_eq!(world.call(&["undo", "o3", "--json"], 0).json()["undone"], 5);
}

#[test]
fn where_the_newer_of_two_repairs_has_moved_the_older_one_stays() {
    let world = World::new(100, 1_000, ANY);
    world.shift(-3.0);
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    let twice = "UPDATE repairs SET proof = 'agreed' WHERE id = x'34';
        INSERT INTO repairs (run, job, target, id, before, after, at, proof)
        SELECT run, job, target, id, after, '777', at + 1, 'still' FROM repairs WHERE id = x'34'";
    file.execute_batch(twice).unwrap();
    world.set_counter("4", 780.0);
    for arguments in [&["undo", "o1", "--json", "--dry-run"][..], &["undo", "o1", "--json"]] {
        let undone = world.call(arguments, 3).json();
        assert_eq!((&undone["undone"], &undone["moved"]), (&4.into(), &2.into()), "{undone}");
        assert_eq!(world.counter("4"), Some(780.0));
    }
}

#[test]
fn a_repair_whose_place_is_not_on_record_is_not_undone() {
    let world = World::new(100, 1_000, ANY);
    world.shift(-3.0);
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    file.execute("DELETE FROM evidence", []).unwrap();
    let refused = world.call(&["undo", "o1"], 1);
    assert!(refused.stderr.contains("no record of where"), "{}", refused.stderr);
    assert_eq!(world.wrong(), []);
}

#[test]
fn undo_refuses_what_it_cannot_do_and_writes_nothing() {
    let mut world = World::new(100, 1_000, ANY);
    toutiao::break_counters(&mut world.connection(), 5, 0, 0, &mut world.rng);
    world.call(&["once", JOB], 0);
    let right = world.image();
    for (arguments, code, says) in [
        (&["undo", "o9"][..], 2, "there is no run o9"),
        (&["undo", "seven"], 2, "12 or o3"),
        (&["undo"], 2, "<RUN>"),
    ] {
        let output = world.call(arguments, code);
        assert!(output.stderr.contains(says), "{says} in {}", output.stderr);
    }
    for (jobs, says) in [
        (articles_job(ANY).replace(JOB, "other"), "job user-articles, which is gone"),
        (
            articles_job(ANY).replace(ARTICLES_KEY, "elsewhere"),
            "the job's target is zset elsewhere",
        ),
    ] {
        world.write_jobs(&jobs);
        let output = world.call(&["undo", "o1"], 1);
        assert!(output.stderr.contains(says), "{says} in {}", output.stderr);
    }
    world.write_jobs(&articles_job(ANY));
    let mut redis = world.connection();
    let primary = support::Redis::start();
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(primary.port()).exec(&mut redis).unwrap();
    let output = world.call(&["undo", "o1"], 1);
    assert!(output.stderr.contains("read-only replica"), "{}", output.stderr);
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut redis).unwrap();
    redis::cmd("DEL").arg(ARTICLES_KEY).exec(&mut redis).unwrap();
    redis::cmd("SET").arg(ARTICLES_KEY).arg("text").exec(&mut redis).unwrap();
    let output = world.call(&["undo", "o1"], 1);
    assert!(output.stderr.contains("is a string, not a zset"), "{}", output.stderr);
    assert_eq!(right.len(), world.image().len());
    // A run that wrote nothing is undone already.
    redis::cmd("DEL").arg(ARTICLES_KEY).exec(&mut redis).unwrap();
    world.write_jobs(
        &articles_job("guard = { allow_empty = true }").replace("status = 2", "status = 9"),
    );
    world.call(&["once", JOB, "--force"], 0);
    let newest = world.runs()[0]["id"].as_str().unwrap().to_owned();
    let output = world.call(&["undo", &newest], 0);
    assert!(output.stdout.contains("nothing to undo"), "{}", output.stdout);
}

#[test]
fn more_than_a_thousand_repairs_go_into_a_file_and_are_explained_and_undone_all_the_same() {
    let world = World::new(3_000, 30_000, "");
    let before = world.image();
    let mut redis = world.connection();
    redis::cmd("DEL").arg(ARTICLES_KEY).exec(&mut redis).unwrap();
    world.call(&["once", JOB], 0);
    assert_eq!(world.wrong(), []);
    let row = world.runs().remove(0);
    let written = row["repairs"].as_u64().unwrap();
    assert_eq!(written, toutiao::truth(&mut world.mysql()).len() as u64);
    let file = PathBuf::from(row["evidence"].as_str().unwrap());
    let lines = fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count() as u64, written - 1_000);
    let id = lines.lines().last().unwrap().split('\t').next().unwrap();
    let told = world.call(&["explain", JOB, id, "--json"], 0).json();
    assert_eq!(
        (&told["repairs"][0]["run"], &told["repairs"][0]["proof"]),
        (&"o1".into(), &"absent".into())
    );

    // What a lost file held has no evidence any more; the rest is undone.
    let kept = fs::read(&file).unwrap();
    let half: Vec<u8> = kept[..kept.len() / 2].to_vec();
    fs::write(&file, &half).unwrap();
    let dry = world.call(&["undo", "o1", "--dry-run", "--json"], 3).json();
    let missing = dry["no_evidence"].as_u64().unwrap();
    assert!(missing > 0 && missing + dry["undone"].as_u64().unwrap() == written, "{dry}");
    fs::write(&file, &kept).unwrap();
    let undone = world.call(&["undo", "o1", "--json"], 0).json();
    assert_eq!(undone["undone"].as_u64(), Some(written));
    assert!(!world.image().contains_key(ARTICLES_KEY), "the key is gone again");
    world.call(&["undo", "o2"], 0);
    assert_eq!(toutiao::counters(&mut redis, ARTICLES_KEY).len() as u64, written);
    assert_eq!(before.len(), world.image().len());
    assert_eq!(world.wrong(), []);
}
