//! What is known of earlier runs: repairs are explained, and the last good result is remembered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use mysql::prelude::Queryable;
use serde_json::Value;
use support::toutiao::ARTICLES_KEY;
use support::world::{JOB, World, articles_job};

const SOON: Duration = Duration::from_secs(20);

/// All counters may change at once.
const ANY: &str = "guard = { max_changed = \"100%\" }";

#[test]
fn explain_tells_every_repair_of_an_id_and_what_it_is_now() {
    let world = World::new(100, 2_000, ANY);
    let truth = world.counter("3").unwrap();
    for off in [2.0, -1.0] {
        world.set_counter("3", truth + off);
        world.call(&["once", JOB], 0);
    }
    let told = world.call(&["explain", JOB, "3", "--json"], 0).json();
    let repairs = told["repairs"].as_array().unwrap();
    assert_eq!(repairs.len(), 2, "{told}");
    let (first, second) = (&repairs[0], &repairs[1]);
    assert_eq!((&first["run"], &second["run"]), (&"o1".into(), &"o2".into()));
    assert_eq!(first["before"].as_f64(), Some(truth + 2.0));
    assert_eq!(second["before"].as_f64(), Some(truth - 1.0));
    assert_eq!(first["after"].as_f64(), Some(truth));
    assert_eq!((&first["proof"], &first["target"]), (&"still".into(), &Value::Null));
    let now = &told["now"][0];
    assert_eq!((now["redis"].as_f64(), now["mysql"].as_f64()), (Some(truth), Some(truth)));
    assert_eq!((&now["verdict"], now["drift"].as_i64()), (&"true".into(), Some(0)));

    world.set_counter("3", truth + 2.0);
    let text = world.call(&["explain", JOB, "3"], 0).stdout;
    for expected in [
        "id 3 in zset count:user:arts in redis://",
        "run o1",
        "-> ",
        "it stood still",
        "differs by 2 now",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let nobody = world.call(&["explain", JOB, "nobody"], 0).stdout;
    assert!(nobody.contains("no repair of it is on record"), "{nobody}");
    assert!(nobody.contains("Redis -, MySQL -: true"), "{nobody}");
    // What is known is told also when a server is away.
    world.redis.kill();
    let away = world.call(&["explain", JOB, "3"], 1);
    assert!(away.stdout.contains("run o2") && away.stderr.contains("Redis main"), "{away:?}");
    world.call(&["explain", "no-such-job", "3"], 2);
}

#[test]
fn explain_finds_an_id_that_a_narrowed_query_does_not() {
    let world = World::new(10, 10, "");
    let mut mysql = world.mysql();
    mysql.query_drop("CREATE TABLE levels (id ENUM('0', '1', '2') PRIMARY KEY, n INT)").unwrap();
    mysql.query_drop("INSERT INTO levels VALUES ('0', 100), ('1', 100), ('2', 100)").unwrap();
    world.write_jobs(
        "[jobs.levels]\ncron = \"@daily\"\nsettle = \"50ms\"\nguard = { max_changed = \"100%\" }\n\
         query = \"SELECT id, n FROM levels\"\ntarget = { zset = \"levels\" }",
    );
    world.call(&["once", "levels"], 0);
    let told = world.call(&["explain", "levels", "0", "--json"], 0).json();
    assert_eq!(told["repairs"][0]["proof"], "absent");
    assert_eq!(
        (&told["repairs"][0]["before"], &told["now"][0]["mysql"]),
        (&Value::Null, &100.into())
    );
}

#[test]
fn explain_without_an_id_names_those_that_are_repaired_again_and_again() {
    let world = World::new(100, 2_000, ANY);
    for off in [1.0, 1.0, -4.0] {
        world.shift(-off);
        if off < 0.0 {
            let nine = world.counter("9").unwrap();
            world.set_counter("9", nine + 1.0);
        }
        world.call(&["once", JOB], 0);
    }
    world.set_counter("1", 0.5);
    world.call(&["once", JOB], 0);
    let often = world.call(&["explain", JOB, "--json"], 0).json_lines();
    assert_eq!(often.len(), 5, "not 9, which was repaired once: {often:?}");
    assert_eq!((&often[0]["id"], &often[0]["runs"]), (&"1".into(), &4.into()));
    let second = &often[1];
    assert_eq!((&second["runs"], &second["added"]), (&3.into(), &(-2).into()));
    assert_eq!(second["added_abs"], 6);
    assert_eq!(world.call(&["explain", JOB, "--json", "-n", "2"], 0).json_lines().len(), 2);
    let text = world.call(&["explain", JOB], 0).stdout;
    assert!(text.contains("several runs") && text.lines().count() == 7, "{text}");
    // The people's report marks them.
    world.shift(7.0);
    let table = world.call(&["once", JOB], 0).stdout;
    assert!(table.contains("repaired in 3 earlier runs"), "{table}");
    assert!(table.contains("repaired in 4 earlier runs"), "{table}");
}

#[test]
fn a_result_that_shrank_since_the_last_good_run_is_refused_whatever_redis_holds() {
    let world = World::new(1_000, 20_000, "");
    world.call(&["once", JOB], 0);
    world.mysql().query_drop("DELETE FROM news_article_basic WHERE user_id > 100").unwrap();
    // Redis has lost its counters as well, so that it does not tell.
    world.lose_key();
    for arguments in [&["once", JOB, "--json", "--dry-run"][..], &["once", JOB, "--json"]] {
        let refused = world.call(arguments, 4).json();
        let reason = refused["reason"].as_str().unwrap();
        assert!(reason.contains("returned 100 rows where the last good run saw 1000"), "{reason}");
    }
    assert!(!world.image().contains_key(ARTICLES_KEY));
    // A refused run is no good one: the daemon refuses, too.
    world.write_jobs(&articles_job("interval = \"200ms\""));
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("refused: the query returned 100 rows where the last good run saw", SOON);
    daemon.wait_for_line("refused: the query returned 100 rows where the last good run saw", SOON);
    // What was forced counts as good from then on.
    world.call(&["once", JOB, "--force"], 0);
    daemon.wait_for_line("user-articles: clean", SOON);
    drop(daemon);
}

#[test]
fn an_edited_query_starts_afresh_and_so_does_another_key() {
    let world = World::new(1_000, 20_000, "");
    for (from, to) in [("status = 2", "status = 2 AND user_id <= 100"), (ARTICLES_KEY, "elsewhere")]
    {
        world.write_jobs(&articles_job(""));
        world.lose_key();
        world.call(&["once", JOB, "--force"], 0);
        world.lose_key();
        world.write_jobs(&articles_job("").replace(from, to));
        world.call(&["once", JOB], 0);
    }
}

#[test]
fn the_report_for_people_tells_share_sign_age_and_the_largest_differences() {
    let world = World::new(1_000, 20_000, "");
    let first = world.call(&["once", JOB], 0).stdout;
    assert!(first.contains("run o1; no clean run yet"), "{first}");
    for (id, off) in [("1", -1.0), ("2", -2.0), ("3", 40.0)] {
        world.set_counter(id, world.counter(id).unwrap() + off);
    }
    world.set_counter("ghost", 7.0);
    let table = world.call(&["once", JOB, "--dry-run"], 5).stdout;
    for expected in [
        "last clean run ",
        "of 1000, 0.30%, 2 too low, 1 too high; sum -37, of sizes 43",
        " drift",
        "-40",
        "+2",
    ] {
        assert!(table.contains(expected), "{expected} in\n{table}");
    }
    let ids: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.ends_with(" drift"))
        .skip(1)
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(ids, ["3", "ghost", "2", "1"], "the worst first");
}

#[test]
fn explain_takes_any_id_and_says_where_a_counter_was_that_is_elsewhere_now() {
    let world = World::new(100, 2_000, ANY);
    world.set_counter("-3", 7.0);
    world.call(&["once", JOB], 0);
    let negative = world.call(&["explain", JOB, "-3"], 0).stdout;
    assert!(negative.contains("run o1") && !negative.contains("(in zset"), "{negative}");
    world.write_jobs(&articles_job(ANY).replace(ARTICLES_KEY, "elsewhere"));
    let moved = world.call(&["explain", JOB, "-3", "--json"], 0);
    assert_eq!(moved.json()["repairs"][0]["run"], "o1");
    let moved = world.call(&["explain", JOB, "-3"], 0).stdout;
    assert!(moved.contains(&format!("(in zset {ARTICLES_KEY} in redis://")), "{moved}");
}
