//! Faults of Redis.

use std::thread;
use std::time::{Duration, Instant};

use redis::Connection;

use super::support::proxy::{Fault, Way};
use super::support::toutiao::ARTICLES_KEY;
use super::support::{Redis, eventually, redis_server};
use super::trial::{SOON, Setting, Trial, under_traffic};

/// The write to hold a run at. The first call of a fresh server answers NOSCRIPT, and there are six or more.
const HALF_WAY: u64 = 4;

fn order(redis: &mut Connection, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.exec(redis).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

/// Starts a run and holds it in the midst of its writes, does `then`, lets it go on, and gives the report of its
/// failure.
#[track_caller]
fn fail_half_way(trial: &mut Trial, then: impl FnOnce(&mut Trial)) -> String {
    let run = trial.hold_at_write(HALF_WAY, Way::Requests);
    then(trial);
    trial.to_redis.release();
    trial.failed(run)
}

#[test]
fn redis_killed_in_the_midst_of_the_writes_and_restarted_with_its_log() {
    let redis = &["--appendonly", "yes", "--appendfsync", "always"][..];
    under_traffic(Setting { redis, ..Setting::default() }, |trial| {
        // Once it never sees the write, and once nobody sees its answer.
        for way in [Way::Requests, Way::Replies] {
            let run = trial.hold_at_write(HALF_WAY, way);
            trial.world.redis.kill();
            trial.to_redis.cut();
            let report = trial.failed(run);
            trial.world.redis.restart();
            assert!(report.contains("Redis main"), "{report}");
            trial.assert_half_way();
            trial.assert_only_right_writes();
            trial.break_again();
        }
    });
}

#[test]
fn redis_killed_at_any_moment_and_restarted_with_its_log() {
    let redis = &["--appendonly", "yes", "--appendfsync", "always"][..];
    under_traffic(Setting { redis, ..Setting::default() }, |trial| {
        for _ in 0..4 {
            let mut run = trial.spawn_once();
            thread::sleep(Duration::from_millis(trial.world.rng.u64(..700)));
            trial.world.redis.kill();
            run.wait_exit(SOON);
            trial.world.redis.restart();
            trial.assert_only_right_writes();
        }
    });
}

#[test]
fn a_reply_that_never_comes() {
    under_traffic(Setting { job: "timeout = \"1500ms\"", ..Setting::default() }, |trial| {
        for (word, nth) in [("PING", 1), ("ZMSCORE", 1), ("ZMSCORE", 9)] {
            trial.to_redis.trap(word, nth, Fault::Hold(Way::Replies));
            let report = trial.failed(trial.spawn_once());
            assert!(trial.to_redis.sprung(), "{word} {nth}");
            assert!(report.contains("Redis main"), "{report}");
            trial.to_redis.cut();
            trial.assert_nothing_written();
        }
        let run = trial.hold_at_write(HALF_WAY, Way::Replies);
        trial.failed(run);
        trial.to_redis.cut();
        trial.assert_half_way();
    });
}

#[test]
fn a_reply_that_comes_after_the_time_out() {
    under_traffic(Setting { job: "timeout = \"1500ms\"", ..Setting::default() }, |trial| {
        let run = trial.hold_at_write(HALF_WAY, Way::Replies);
        trial.assert_half_way();
        trial.failed(run);
        trial.to_redis.release();
    });
}

#[test]
fn every_reply_late_but_in_time() {
    under_traffic(Setting::default(), |trial| {
        trial.to_redis.delay(Duration::from_millis(15));
        let run = trial.once();
        assert!([0, 3].contains(&run.code()), "{} {}", run.stdout, run.stderr);
    });
}

#[test]
fn a_write_is_written_once_although_its_reply_was_lost() {
    under_traffic(Setting::default(), |trial| {
        for bytes in [0, 1, 5, 60] {
            let run = trial.hold_at_write(3, Way::Replies);
            trial.to_redis.cut_after(Way::Replies, bytes);
            trial.to_redis.release();
            trial.failed(run);
            trial.assert_only_right_writes();
            trial.break_again();
        }
    });
}

#[test]
fn what_the_app_writes_while_a_write_is_on_its_way_is_not_overwritten() {
    under_traffic(Setting::default(), |trial| {
        let mut run = trial.hold_at_write(HALF_WAY, Way::Requests);
        trial.assert_half_way();
        trial.app_commits();
        trial.app_increments();
        trial.to_redis.release();
        let code = run.wait_exit(SOON).code();
        assert!([Some(0), Some(3)].contains(&code), "{:?}", run.stdout.lines());
    });
}

/// A frozen connection is not a cut one: the request may still arrive when recountd has long given up, another run has
/// repaired the counters, and the app has moved on to values that the request expects.
#[test]
fn a_write_that_arrives_after_recountd_has_given_up_changes_nothing() {
    under_traffic(Setting { job: "timeout = \"1500ms\"", ..Setting::default() }, |trial| {
        let run = trial.hold_at_write(HALF_WAY, Way::Requests);
        let sent = Instant::now();
        trial.failed(run);
        trial.leave_the_proxies();
        assert_eq!(trial.run_to_the_end().code(), 0);
        assert!(trial.app_goes_back() > 50, "many counters hold again what the request expects");
        // A request carries how long it may be applied, about two seconds.
        thread::sleep(Duration::from_secs(4).saturating_sub(sent.elapsed()));
        let passed = trial.to_redis.passed(Way::Requests);
        trial.to_redis.release();
        let arrived = || trial.to_redis.passed(Way::Requests) > passed;
        eventually(SOON, "the request arrives", arrived);
        thread::sleep(Duration::from_millis(300));
        trial.assert_only_right_writes();
    });
}

#[test]
fn redis_turned_into_a_replica() {
    under_traffic(Setting::default(), |trial| {
        let mut redis = trial.world.connection();
        let report = fail_half_way(trial, |_| order(&mut redis, &["REPLICAOF", "127.0.0.1", "1"]));
        assert!(report.contains("point url at the primary"), "{report}");
        trial.assert_half_way();
        let refused = trial.once();
        assert_eq!(refused.code(), 4, "{}", refused.stdout);
        order(&mut redis, &["REPLICAOF", "NO", "ONE"]);
    });
}

#[test]
fn redis_full() {
    under_traffic(Setting::default(), |trial| {
        let mut redis = trial.world.connection();
        let report =
            fail_half_way(trial, |_| order(&mut redis, &["CONFIG", "SET", "maxmemory", "1"]));
        assert!(report.contains("raise maxmemory"), "{report}");
        trial.assert_half_way();
        let report = trial.failed(trial.spawn_once());
        assert!(report.contains("raise maxmemory"), "{report}");
        order(&mut redis, &["CONFIG", "SET", "maxmemory", "0"]);
    });
}

#[test]
fn the_script_forgotten_in_the_midst_of_the_writes() {
    under_traffic(Setting::default(), |trial| {
        let mut redis = trial.world.connection();
        let mut run = trial.hold_at_write(HALF_WAY, Way::Requests);
        order(&mut redis, &["SCRIPT", "FLUSH"]);
        trial.to_redis.release();
        let code = run.wait_exit(SOON).code();
        assert!([Some(0), Some(3)].contains(&code), "{:?}", run.stdout.lines());
        assert!(code == Some(3) || trial.repaired() == trial.damage());
    });
}

#[test]
fn the_key_turned_into_something_else_half_way() {
    under_traffic(Setting::default(), |trial| {
        let mut redis = trial.world.connection();
        let report = fail_half_way(trial, |_| {
            let mut pipe = redis::pipe();
            pipe.atomic().cmd("RENAME").arg(ARTICLES_KEY).arg("elsewhere");
            pipe.cmd("SET").arg(ARTICLES_KEY).arg("a string");
            pipe.exec(&mut redis).unwrap();
        });
        assert!(report.contains("correct target, or remove the key"), "{report}");
        let refused = trial.once();
        assert_eq!(refused.code(), 4, "{}", refused.stdout);
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("DEL").arg(ARTICLES_KEY);
        pipe.cmd("RENAME").arg("elsewhere").arg(ARTICLES_KEY);
        pipe.exec(&mut redis).unwrap();
        trial.assert_half_way();
    });
}

/// A millisecond for each key, so that a restarted Redis answers everything with LOADING for a while.
const SLOW_TO_LOAD: [&str; 8] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--key-load-delay",
    "1000",
    "--loading-process-events-interval-bytes",
    "1024",
];

#[test]
fn redis_still_loading() {
    under_traffic(Setting { redis: &SLOW_TO_LOAD, ..Setting::default() }, |trial| {
        let mut redis = trial.world.connection();
        let mut filler = redis::pipe();
        for n in 0..1_200 {
            filler.cmd("SET").arg(format!("filler:{n}")).arg("x".repeat(200)).ignore();
        }
        filler.exec(&mut redis).unwrap();
        // Between the commands of its log Redis answers only once in a thousand; between the keys of a snapshot often.
        order(&mut redis, &["BGREWRITEAOF"]);
        eventually(SOON, "the snapshot is written", || {
            let info: String = redis::cmd("INFO").arg("persistence").query(&mut redis).unwrap();
            info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
        });
        trial.world.redis.kill();
        trial.world.redis.begin_restart();
        wait_until_loading(&trial.world.redis);
        let report = trial.failed(trial.spawn_once());
        assert!(report.to_lowercase().contains("loading"), "{report}");
        eventually(SOON, "it has loaded", || ping(&trial.world.redis).is_ok());
        trial.assert_nothing_written();
    });
}

fn ping(redis: &Redis) -> redis::RedisResult<()> {
    redis::cmd("PING").exec(&mut redis_server::try_connect(&redis.url())?)
}

fn wait_until_loading(redis: &Redis) {
    eventually(SOON, "it loads", || {
        ping(redis).is_err_and(|error| error.to_string().to_lowercase().contains("loading"))
    });
}

#[test]
fn redis_frozen_for_longer_than_the_time_out() {
    let setting = Setting { job: "timeout = \"2s\"", calm: true, ..Setting::default() };
    under_traffic(setting, |trial| {
        let report = fail_half_way(trial, |trial| trial.world.redis.freeze());
        trial.world.redis.thaw();
        trial.assert_half_way();
        assert!(report.contains("Redis main"), "{report}");
    });
}

#[test]
fn redis_frozen_in_the_midst_of_a_watch() {
    under_traffic(Setting { calm: true, ..Setting::default() }, |trial| {
        trial.to_redis.trap("ZMSCORE", 9, Fault::Hold(Way::Requests));
        let mut run = trial.spawn_once();
        trial.to_redis.wait_until_held(Way::Requests, SOON);
        trial.world.redis.freeze();
        trial.to_redis.release();
        thread::sleep(Duration::from_millis(1_000));
        trial.world.redis.thaw();
        // A watch with a gap proves nothing and is begun again.
        let code = run.wait_exit(SOON).code();
        assert!([Some(0), Some(3)].contains(&code), "{:?}", run.stdout.lines());
    });
}

#[test]
fn the_clients_disconnected_half_way() {
    under_traffic(Setting::default(), |trial| {
        let mut redis = trial.world.connection();
        let report = fail_half_way(trial, |_| {
            order(&mut redis, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        });
        trial.assert_half_way();
        assert!(report.contains("the next run goes on from there"), "{report}");
    });
}
