//! Bad input: a one-line reason that names the job, the thing and the way out, the right exit code, and Redis byte
//! for byte as it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use support::toutiao::ARTICLES_KEY;
use support::world::{JOB, World, articles_job};
use support::{Redis, servers_toml};

/// Runs the job and expects it to end without one write.
#[track_caller]
fn check(world: &World, code: i32, outcome: &str, says: &[&str]) {
    let before = world.image();
    for more in [&["--dry-run"][..], &[]] {
        let arguments = [&["once", JOB, "--json"][..], more].concat();
        let run = world.recountd.output(&arguments);
        let reason = run.json()["reason"].as_str().unwrap_or_default().to_owned();
        assert_eq!(run.json()["outcome"], outcome, "{reason}");
        assert_eq!(run.code(), code, "{reason}");
        assert_eq!(reason.lines().count(), 1, "{reason}");
        for part in [&["job user-articles"][..], says].concat() {
            assert!(reason.contains(part), "`{part}` in: {reason}");
        }
    }
    assert_eq!(world.image(), before, "Redis is as it was");
}

fn query(world: &World, query: &str) {
    let job = articles_job("");
    let line = job.lines().find(|l| l.starts_with("query")).unwrap().to_owned();
    world.write_jobs(&job.replace(&line, &format!("query = \"{query}\"")));
}

#[test]
fn a_query_that_is_wrong_fails() {
    let world = World::new(50, 200, "");
    for (text, says) in [
        ("SELECT user_id, COUNT(*) FROM no_such_table GROUP BY user_id", &["no_such_table"][..]),
        ("SELECT no_such_column, 1 FROM news_article_basic", &["no_such_column"]),
        ("SELEC user_id, 1 FROM news_article_basic", &["SQL syntax", "correct query"]),
        ("SELECT user_id FROM news_article_basic", &["one column", "id first"]),
        ("SELECT user_id, ? FROM news_article_basic", &["`?` outside of quotes"]),
    ] {
        query(&world, text);
        check(&world, 1, "failed", &[&["MySQL main"][..], says].concat());
    }
}

#[test]
fn a_query_that_writes_is_never_carried_out() {
    let world = World::new(50, 200, "");
    let rows = || -> u64 {
        world.mysql().query_first("SELECT COUNT(*) FROM news_article_basic").unwrap().unwrap()
    };
    let before = rows();
    for text in [
        "INSERT INTO news_article_basic (user_id, channel_id, title) VALUES (1, 1, 'x')",
        "INSERT INTO news_article_basic (user_id, channel_id, title) VALUES (1, 1, 'x') RETURNING 1, 2",
        "UPDATE news_article_basic SET status = 0",
        "DELETE FROM news_article_basic",
        "DELETE FROM news_article_basic RETURNING user_id, status",
        "TRUNCATE news_article_basic",
        "DROP TABLE news_article_basic",
        "CREATE TABLE copied AS SELECT 1, 2",
        "SELECT 1, 2 INTO OUTFILE '/tmp/recountd-must-not-write-this'",
        "SET GLOBAL max_connections = 1",
        "SELECT user_id, 1 FROM news_article_basic FOR UPDATE",
    ] {
        query(&world, text);
        check(&world, 1, "failed", &["MySQL main", "make query one SELECT"]);
        assert_eq!(rows(), before, "{text}");
    }
}

#[test]
fn a_result_that_cannot_be_believed_is_refused() {
    let world = World::new(50, 200, "");
    for (text, says) in [
        ("SELECT user_id, 1 FROM news_article_basic WHERE 1 = 0", &["no rows", "allow_empty"][..]),
        ("SELECT 7, NULL", &["id 7 is NULL", "COALESCE"]),
        ("SELECT NULL, 7", &["id is NULL"]),
        ("SELECT 7, 'many'", &["id 7 is `many`", "not a number"]),
        ("SELECT 7, 1 UNION ALL SELECT 7, 1", &["id 7 more than once", "GROUP BY"]),
        ("SELECT 7, 9007199254740993", &["id 7 is 9007199254740993", "2^53"]),
        ("SELECT 7, -9007199254740993", &["2^53"]),
        ("SELECT 7, 18446744073709551615", &["2^53"]),
        ("SELECT 7, 1", &["1 rows where Redis holds", "--force"]),
        ("SELECT 7, CURRENT_DATE", &["not a number"]),
    ] {
        query(&world, text);
        check(&world, 4, "refused", says);
    }
}

#[test]
fn a_bad_row_at_the_very_end_stops_a_rebuild_before_its_first_write() {
    let world = World::new(2_000, 8_000, "");
    redis::cmd("DEL").arg(ARTICLES_KEY).exec(&mut world.connection()).unwrap();
    let all = support::toutiao::ARTICLES_QUERY;
    query(&world, &format!("SELECT * FROM ({all}) t UNION ALL SELECT 0, NULL"));
    check(&world, 4, "refused", &["id 0 is NULL"]);
}

#[test]
fn a_change_of_more_than_max_changed_is_refused_unless_forced() {
    let mut world = World::new(100, 500, "guard = { max_changed = \"10%\" }");
    support::toutiao::break_counters(&mut world.connection(), 30, 0, 0, &mut world.rng);
    check(&world, 4, "refused", &["counters would change", "max_changed (10%)", "--force"]);
    let forced = world.recountd.output(&["once", JOB, "--force"]);
    assert_eq!(forced.code(), 0, "{}{}", forced.stdout, forced.stderr);
    assert!(world.wrong().is_empty());
}

#[test]
fn missing_counters_do_not_count_as_changes() {
    let mut world = World::new(100, 500, "guard = { max_changed = \"1%\" }");
    support::toutiao::break_counters(&mut world.connection(), 0, 80, 0, &mut world.rng);
    assert_eq!(world.recountd.output(&["once", JOB]).code(), 0);
    assert!(world.wrong().is_empty());
}

#[test]
fn an_empty_result_goes_through_with_force_or_leave() {
    let world = World::new(20, 50, "");
    let empty = "SELECT user_id, 1 FROM news_article_basic WHERE 1 = 0";
    query(&world, empty);
    let forced = world.recountd.output(&["once", JOB, "--force", "--dry-run", "--json"]);
    assert_eq!((forced.code(), forced.json()["counters"].as_u64()), (5, Some(0)));
    let job = articles_job("guard = { max_changed = \"100%\", allow_empty = true }");
    let line = job.lines().find(|l| l.starts_with("query")).unwrap().to_owned();
    world.write_jobs(&job.replace(&line, &format!("query = \"{empty}\"")));
    assert_eq!(world.recountd.output(&["once", JOB]).code(), 0);
    assert!(support::toutiao::counters(&mut world.connection(), ARTICLES_KEY).is_empty());
}

#[test]
fn a_key_of_another_type_is_refused() {
    let world = World::new(20, 50, "");
    let mut redis = world.connection();
    for (fill, word) in [
        (&["SET", ARTICLES_KEY, "1"][..], "string"),
        (&["HSET", ARTICLES_KEY, "1", "1"], "hash"),
        (&["SADD", ARTICLES_KEY, "1"], "set"),
    ] {
        redis::cmd("DEL").arg(ARTICLES_KEY).exec(&mut redis).unwrap();
        redis::cmd(fill[0]).arg(&fill[1..]).exec(&mut redis).unwrap();
        check(&world, 4, "refused", &[ARTICLES_KEY, &format!("is a {word}"), "correct target"]);
    }
}

#[test]
fn a_read_only_replica_is_refused() {
    let world = World::new(20, 50, "");
    let replica = Redis::start();
    let mut redis = replica.connection();
    let port = world.redis.port().to_string();
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).exec(&mut redis).unwrap();
    let head = servers_toml(world.database.url(), &replica.url());
    world.recountd.write_jobs(&format!("{head}{}", articles_job("")));
    check(&world, 4, "refused", &["Redis main is a read-only replica", "primary"]);
}

#[test]
fn a_server_that_lets_nobody_in_fails_with_the_way_out() {
    let world = World::new(20, 50, "");
    let (mysql, redis) = (world.database.url().to_owned(), world.redis.url());
    let port = |url: &str| url::Url::parse(url).unwrap().port().unwrap();
    let mysql_port = port(&mysql);
    for (mysql, redis, says) in [
        (format!("mysql://nobody:wrong@127.0.0.1:{mysql_port}/x"), redis.clone(), "Access denied"),
        (
            mysql.replace(world.database.name(), "no_such_database"),
            redis.clone(),
            "no_such_database",
        ),
        (mysql.clone(), redis.replace("redis://", "redis://:wrong@"), "Redis main"),
    ] {
        let jobs = format!("{}{}", servers_toml(&mysql, &redis), articles_job(""));
        world.recountd.write_jobs(&jobs);
        check(&world, 1, "failed", &[says]);
        let run = world.recountd.output(&["once", JOB]);
        assert!(!format!("{}{}", run.stdout, run.stderr).contains("wrong@"));
    }
}

#[test]
fn an_unreachable_server_never_hangs() {
    let world = World::new(20, 50, "");
    let (mysql, redis) = (world.database.url().to_owned(), world.redis.url());
    // One port where nobody listens, and one where somebody listens and never says a word.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [closed, mute.local_addr().unwrap()] {
        for (mysql, redis, says) in [
            (format!("mysql://root@{address}/x"), redis.clone(), "MySQL main"),
            (mysql.clone(), format!("redis://{address}"), "Redis main"),
        ] {
            let jobs = format!("{}{}", servers_toml(&mysql, &redis), articles_job(""));
            world.recountd.write_jobs(&jobs);
            let begun = Instant::now();
            check(&world, 1, "failed", &[says, "check that it runs"]);
            assert!(begun.elapsed() < Duration::from_secs(2 * 4), "{says} at {address}");
        }
    }
}

#[test]
fn a_query_beyond_its_timeout_is_cancelled_on_the_server_too() {
    let world = World::new(20, 50, "");
    let slow = "SELECT user_id, SLEEP(1000) FROM news_article_basic GROUP BY user_id";
    let job = articles_job("timeout = \"500ms\"");
    let line = job.lines().find(|l| l.starts_with("query")).unwrap().to_owned();
    world.write_jobs(&job.replace(&line, &format!("query = \"{slow}\"")));
    check(&world, 1, "failed", &["timed out after 500ms"]);
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(1000)%' \
                   AND info NOT LIKE '%processlist%' AND db = DATABASE()";
    support::eventually(Duration::from_secs(5), "the query is gone from the server", || {
        world.mysql().query_first::<u64, _>(running).unwrap() == Some(0)
    });
}

#[test]
fn an_error_late_in_the_stream_deletes_nothing() {
    let world = World::new(3_000, 10_000, "");
    // The error comes with the last row, long after the first ones have been compared.
    query(
        &world,
        "SELECT user_id, IF(user_id < last, 1, (SELECT 1 UNION SELECT 2)) FROM \
         (SELECT DISTINCT user_id FROM news_article_basic ORDER BY user_id) t, \
         (SELECT MAX(user_id) AS last FROM news_article_basic) m",
    );
    check(&world, 1, "failed", &["MySQL main", "1242"]);
}
