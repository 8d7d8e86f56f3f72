//! Every kind of target, with ids and values of every kind, on real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use mysql::prelude::Queryable;
use support::world::World;
use support::{Output, Redis};

/// The job's name and its table in MySQL.
const JOB: &str = "things";

/// Ids that want to be quoted, escaped or mistaken for something else.
const IDS: [&str; 12] = [
    "1",
    "2",
    "18446744073709551615",
    "007",
    "-5",
    "ann",
    "a b",
    "ünï",
    "{id}",
    "*",
    "a'`\"\\b",
    "x:y",
];

/// Where the counters of a test are, in jobs.toml and in Redis's own words.
#[derive(Clone, Copy)]
enum Kind {
    Zset,
    Hash,
    Field,
    Text,
}

const ALL: [Kind; 4] = [Kind::Zset, Kind::Hash, Kind::Field, Kind::Text];

impl Kind {
    fn target(self) -> &'static str {
        match self {
            Self::Zset => "{ zset = 'n:zset' }",
            Self::Hash => "{ hash = 'n:hash' }",
            Self::Field => "{ hash = 'n[1]:{id}:h', field = 'likes' }",
            Self::Text => "{ string = 'n*:{id}:s' }",
        }
    }

    fn set(self, redis: &mut redis::Connection, id: &str, value: &str) {
        let field = format!("n[1]:{id}:h");
        let text = format!("n*:{id}:s");
        let command: Vec<&str> = match self {
            Self::Zset => vec!["ZADD", "n:zset", value, id],
            Self::Hash => vec!["HSET", "n:hash", id, value],
            Self::Field => vec!["HSET", &field, "likes", value],
            Self::Text => vec!["SET", &text, value],
        };
        redis::cmd(command[0]).arg(&command[1..]).exec(redis).unwrap();
    }

    fn get(self, redis: &mut redis::Connection, id: &str) -> Option<String> {
        let field = format!("n[1]:{id}:h");
        let text = format!("n*:{id}:s");
        let command: Vec<&str> = match self {
            Self::Zset => vec!["ZSCORE", "n:zset", id],
            Self::Hash => vec!["HGET", "n:hash", id],
            Self::Field => vec!["HGET", &field, "likes"],
            Self::Text => vec!["GET", &text],
        };
        redis::cmd(command[0]).arg(&command[1..]).query(redis).unwrap()
    }
}

/// A world with a table of ids and values, and one job for it.
struct Things {
    world: World,
}

impl Things {
    /// `value` is the SQL type of the value; `settings` are further lines of the job.
    fn new(value: &str, targets: &str, settings: &str) -> Self {
        Self::on(Redis::start(), value, targets, settings)
    }

    fn on(redis: Redis, value: &str, targets: &str, settings: &str) -> Self {
        let world = World::on(support::Mariadb::shared(), redis, 1, 1, "");
        let create = format!(
            "CREATE TABLE things (id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, \
             n {value}, m BIGINT NOT NULL DEFAULT 0)"
        );
        world.mysql().query_drop(create).unwrap();
        world.write_jobs(&format!(
            "[jobs.{JOB}]\ncron = '0 3 * * *'\nsettle = '50ms'\nquery = 'SELECT id, n, m FROM things'\n\
             {targets}\n{settings}\n"
        ));
        Self { world }
    }

    fn of(kind: Kind, value: &str, settings: &str) -> Self {
        Self::new(value, &format!("target = {}", kind.target()), settings)
    }

    fn insert(&self, id: &str, n: &str) {
        let insert = "INSERT INTO things (id, n) VALUES (?, ?)";
        self.world.mysql().exec_drop(insert, (id, n)).unwrap();
    }

    fn once(&self) -> Output {
        self.world.recountd.output(&["once", JOB, "--json"])
    }
}

#[test]
fn drift_missing_and_ghosts_are_repaired_in_every_kind_of_target() {
    for kind in ALL {
        let things =
            Things::of(kind, "BIGINT", "ghosts = 'remove'\nguard = { max_changed = '100%' }");
        let mut redis = things.world.connection();
        for (place, id) in IDS.iter().enumerate() {
            things.insert(id, &(place + 1).to_string());
            match place % 3 {
                0 => kind.set(&mut redis, id, &(place + 1).to_string()),
                1 => kind.set(&mut redis, id, "99"),
                _ => {}
            }
        }
        for ghost in ["gone", "*gone", "5"] {
            kind.set(&mut redis, ghost, "7");
        }
        let output = things.once();
        assert_eq!(output.code(), 0, "{}: {}", kind.target(), output.stderr);
        let report = output.json();
        let found =
            ["counters", "drifted", "missing", "ghosts", "unproven"].map(|f| report[f].as_u64());
        assert_eq!(found, [Some(12), Some(8), Some(4), Some(3), Some(0)], "{report}");
        for (place, id) in IDS.iter().enumerate() {
            let value = kind.get(&mut redis, id);
            assert_eq!(value, Some((place + 1).to_string()), "{} of {}", id, kind.target());
        }
        for ghost in ["gone", "*gone", "5"] {
            assert_eq!(kind.get(&mut redis, ghost), None, "{}", kind.target());
        }
        assert_eq!(things.once().json()["outcome"], "clean", "{}", kind.target());
    }
}

#[test]
fn ghosts_with_a_key_of_their_own_are_looked_for_only_when_the_job_says_so() {
    for kind in [Kind::Field, Kind::Text] {
        for (settings, ghosts, left) in
            [("", 0, true), ("ghosts = 'keep'", 1, true), ("ghosts = 'remove'", 1, false)]
        {
            let things = Things::of(kind, "BIGINT", settings);
            let mut redis = things.world.connection();
            things.insert("1", "5");
            kind.set(&mut redis, "1", "5");
            kind.set(&mut redis, "2", "5");
            things.world.recountd.output(&["once", JOB, "--force"]);
            assert_eq!(kind.get(&mut redis, "2").is_some(), left, "{settings}");
            kind.set(&mut redis, "2", "5");
            let report = things.world.recountd.output(&["once", JOB, "--json", "--dry-run"]).json();
            assert_eq!(report["ghosts"].as_u64(), Some(ghosts), "{settings}: {report}");
        }
    }
}

#[test]
fn somebody_elses_keys_that_match_the_pattern_are_left_alone() {
    let things =
        Things::of(Kind::Text, "BIGINT", "ghosts = 'remove'\nguard = { max_changed = '100%' }");
    let mut redis = things.world.connection();
    things.insert("1", "5");
    Kind::Text.set(&mut redis, "1", "4");
    Kind::Text.set(&mut redis, "name", "not a number");
    redis::cmd("RPUSH").arg("n*:list:s").arg("x").exec(&mut redis).unwrap();
    redis::cmd("SET").arg("nn:2:s").arg("5").exec(&mut redis).unwrap();
    let output = things.once();
    assert_eq!(output.json()["ghosts"].as_u64(), Some(0), "{}", output.stderr);
    assert_eq!(Kind::Text.get(&mut redis, "1").as_deref(), Some("5"));
    let keys: Vec<String> = redis::cmd("KEYS").arg("n*").query(&mut redis).unwrap();
    assert!(["n*:name:s", "n*:list:s", "nn:2:s"].iter().all(|key| keys.contains(&(*key).into())));
}

#[test]
fn a_string_keeps_its_time_to_live() {
    let things = Things::of(Kind::Text, "BIGINT", "");
    let mut redis = things.world.connection();
    things.insert("1", "5");
    redis::cmd("SET").arg("n*:1:s").arg("4").arg("EX").arg(5000).exec(&mut redis).unwrap();
    assert_eq!(things.world.recountd.output(&["once", JOB, "--force"]).code(), 0);
    let left: i64 = redis::cmd("TTL").arg("n*:1:s").query(&mut redis).unwrap();
    assert!((4000..=5000).contains(&left), "{left}");
    assert_eq!(Kind::Text.get(&mut redis, "1").as_deref(), Some("5"));
}

#[test]
fn whole_numbers_of_64_bits_are_exact_in_hashes_and_strings() {
    let (most, almost) = (i64::MAX.to_string(), (i64::MAX - 1).to_string());
    for kind in [Kind::Hash, Kind::Field, Kind::Text] {
        let things = Things::of(kind, "BIGINT", "guard = { max_changed = '100%' }");
        let mut redis = things.world.connection();
        things.insert("1", &most);
        kind.set(&mut redis, "1", &almost);
        assert_eq!(things.once().code(), 0, "{}", kind.target());
        assert_eq!(kind.get(&mut redis, "1").as_ref(), Some(&most), "{}", kind.target());
        assert_eq!(things.once().json()["outcome"], "clean");
    }
}

#[test]
fn decimals_and_floats_go_into_zsets() {
    for (sql, truth, wrong) in [
        ("DECIMAL(20,2)", "12.50", "12.25"),
        ("DECIMAL(20,2)", "12.00", "11"),
        ("DOUBLE", "0.1", "0.2"),
        ("DOUBLE", "1e-7", "5"),
    ] {
        let things = Things::of(Kind::Zset, sql, "guard = { max_changed = '100%' }");
        let mut redis = things.world.connection();
        things.insert("1", truth);
        Kind::Zset.set(&mut redis, "1", wrong);
        assert_eq!(things.once().code(), 0, "{sql} {truth}");
        let score = Kind::Zset.get(&mut redis, "1").unwrap();
        assert_eq!(score.parse(), truth.parse::<f64>(), "{sql}");
        assert_eq!(things.once().json()["outcome"], "clean", "{sql} {truth}");
    }
}

#[test]
fn what_a_target_cannot_hold_or_is_not_a_counter_is_refused() {
    let refused = |things: &Things, what: &str| {
        let before = things.world.image();
        let output = things.once();
        assert_eq!(output.code(), 4, "{what}: {}", output.stderr);
        assert_eq!(things.world.image(), before, "{what}: nothing is written");
        output.json()["reason"].as_str().unwrap().to_owned()
    };
    for kind in [Kind::Hash, Kind::Field, Kind::Text] {
        let things = Things::of(kind, "DECIMAL(20,1)", "");
        things.insert("1", "2.5");
        let reason = refused(&things, kind.target());
        assert!(reason.contains("round it, or use a zset"), "{reason}");

        let things = Things::of(kind, "BIGINT", "");
        things.insert("1", "2");
        for text in ["many", "007", "5 "] {
            kind.set(&mut things.world.connection(), "1", text);
            let reason = refused(&things, kind.target());
            assert!(reason.contains(&format!("`{text}` for id 1")), "{reason}");
        }
    }
    for (kind, key) in [
        (Kind::Zset, "n:zset"),
        (Kind::Hash, "n:hash"),
        (Kind::Field, "n[1]:1:h"),
        (Kind::Text, "n*:1:s"),
    ] {
        let things = Things::of(kind, "BIGINT", "");
        things.insert("1", "2");
        redis::cmd("RPUSH").arg(key).arg("x").exec(&mut things.world.connection()).unwrap();
        let reason = refused(&things, key);
        assert!(reason.contains(key) && reason.contains("correct target"), "{reason}");
    }
}

#[test]
fn several_targets_are_recounted_from_one_query() {
    let targets = "targets = { n = { zset = 'z' }, M = { hash = 'h' } }";
    let things = Things::new("BIGINT", targets, "guard = { max_changed = '100%' }");
    let mut redis = things.world.connection();
    let insert =
        "INSERT INTO things (id, n, m) VALUES ('1', 10, 100), ('2', 20, 200), ('3', 0, 300)";
    things.world.mysql().query_drop(insert).unwrap();
    for (key, id, value) in [("z", "1", "9"), ("z", "ghost", "1")] {
        redis::cmd("ZADD").arg(key).arg(value).arg(id).exec(&mut redis).unwrap();
    }
    redis::cmd("HSET").arg("h").arg("2").arg("5").exec(&mut redis).unwrap();
    let output = things.once();
    assert_eq!(output.code(), 0, "{}", output.stderr);
    let report = output.json();
    let found = ["counters", "drifted", "missing", "ghosts"].map(|f| report[f].as_u64());
    assert_eq!(found, [Some(3), Some(5), Some(3), Some(1)], "{report}");
    let scores: Vec<String> =
        redis::cmd("ZRANGE").arg("z").arg(0).arg(-1).arg("WITHSCORES").query(&mut redis).unwrap();
    assert_eq!(scores, ["1", "10", "2", "20"]);
    let fields: Vec<Option<String>> =
        redis::cmd("HMGET").arg("h").arg(&["1", "2", "3"]).query(&mut redis).unwrap();
    assert_eq!(fields, [Some("100".into()), Some("200".into()), Some("300".into())]);
    assert_eq!(things.once().json()["outcome"], "clean");
}

#[test]
fn one_refused_target_keeps_the_others_from_being_written() {
    let targets = "targets = { n = { zset = 'z' }, m = { hash = 'h' } }";
    let things = Things::new("BIGINT", targets, "");
    let mut redis = things.world.connection();
    things.world.mysql().query_drop("INSERT INTO things VALUES ('1', 1, 1), ('2', 2, 2)").unwrap();
    redis::cmd("HSET").arg("h").arg(&["1", "8", "2", "9"]).exec(&mut redis).unwrap();
    let before = things.world.image();
    let output = things.once();
    assert_eq!(output.code(), 4, "{}", output.stderr);
    assert_eq!(things.world.image(), before, "the lost zset is not filled either");
}

#[test]
fn a_column_that_the_query_has_not_is_named() {
    let things = Things::new("BIGINT", "targets = { likes = { zset = 'z' } }", "");
    things.insert("1", "2");
    let output = things.once();
    assert_eq!(output.code(), 1);
    let reason = output.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("no column `likes`; it has id, n, m"), "{reason}");
}

#[test]
fn many_missing_counters_with_keys_of_their_own_are_filled_in() {
    let things = Things::of(Kind::Text, "BIGINT", "");
    let mut mysql = things.world.mysql();
    let fill = "INSERT INTO things (id, n) SELECT seq, seq % 7 FROM seq_1_to_30000";
    mysql.query_drop(fill).unwrap();
    let mut redis = things.world.connection();
    for id in ["5", "6"] {
        Kind::Text.set(&mut redis, id, "1");
    }
    let output = things.once();
    assert_eq!(output.code(), 0, "{}", output.stderr);
    let zeros = 30_000 / 7;
    assert_eq!(output.json()["missing"].as_u64(), Some(30_000 - zeros - 2));
    for (id, value) in [("5", "5"), ("6", "6"), ("29999", "4"), ("8", "1")] {
        assert_eq!(Kind::Text.get(&mut redis, id).as_deref(), Some(value), "{id}");
    }
    assert_eq!(things.once().json()["outcome"], "clean");
}

#[test]
fn lost_targets_of_different_kinds_are_filled_side_by_side() {
    let targets = "targets = { n = { zset = 'z' }, m = { hash = 'h' } }\nredis_share = '100%'";
    let things = Things::new("BIGINT", targets, "");
    let fill = "INSERT INTO things (id, n, m) SELECT seq, seq % 7 + 1, seq FROM seq_1_to_5000";
    things.world.mysql().query_drop(fill).unwrap();
    let output = things.once();
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert_eq!(output.json()["missing"].as_u64(), Some(10_000));
    assert_eq!(things.once().json()["outcome"], "clean");
    let mut redis = things.world.connection();
    let score: f64 = redis::cmd("ZSCORE").arg("z").arg("4999").query(&mut redis).unwrap();
    let field: i64 = redis::cmd("HGET").arg("h").arg("4999").query(&mut redis).unwrap();
    assert_eq!((score, field), (2.0, 4999));
}

#[test]
fn a_broken_query_is_refused_also_where_most_rows_are_0() {
    for kind in ALL {
        let things = Things::of(kind, "BIGINT", "");
        let fill = "INSERT INTO things (id, n) SELECT seq, seq <= 20 FROM seq_1_to_1000";
        things.world.mysql().query_drop(fill).unwrap();
        let mut redis = things.world.connection();
        for id in 1..=1_000 {
            kind.set(&mut redis, &id.to_string(), if id <= 20 { "1" } else { "0" });
        }
        assert_eq!(things.once().json()["outcome"], "clean", "{}", kind.target());
        things.world.mysql().query_drop("UPDATE things SET n = 0").unwrap();
        let output = things.once();
        assert_eq!(output.code(), 4, "{}: {}", kind.target(), output.stdout);
        assert_eq!(kind.get(&mut redis, "7").as_deref(), Some("1"));
    }
}

#[test]
fn a_redis_user_with_the_rights_that_the_readme_names_is_enough() {
    let readme = include_str!("../README.md").replace('\n', " ");
    let (_, rights) = readme.split_once("The Redis user needs `").unwrap();
    let (rights, _) = rights.split_once('`').unwrap();
    for kind in ALL {
        let things =
            Things::of(kind, "BIGINT", "guard = { max_changed = '100%' }\nghosts = 'remove'");
        let mut redis = things.world.connection();
        let user = ["SETUSER", "app", "on", ">secret", "~n*", "-@all"].into_iter();
        redis::cmd("ACL")
            .arg(user.chain(rights.split(' ')).collect::<Vec<_>>())
            .exec(&mut redis)
            .unwrap();
        let jobs = std::fs::read_to_string(things.world.recountd.jobs_path()).unwrap();
        things.world.recountd.write_jobs(&jobs.replace("redis://", "redis://app:secret@"));
        for (id, value) in [("1", "5"), ("2", "7"), ("3", "9")] {
            things.insert(id, value);
        }
        kind.set(&mut redis, "1", "5");
        kind.set(&mut redis, "2", "5");
        kind.set(&mut redis, "ghost", "5");
        let output = things.once();
        assert_eq!(output.code(), 0, "{}: {} {}", kind.target(), output.stdout, output.stderr);
        let held = ["1", "2", "3", "ghost"].map(|id| kind.get(&mut redis, id));
        assert_eq!(held, [Some("5".into()), Some("7".into()), Some("9".into()), None]);
        let denied: redis::Value = redis::cmd("ACL").arg("LOG").query(&mut redis).unwrap();
        assert_eq!(denied, redis::Value::Array(Vec::new()), "{}", kind.target());
    }
}

#[test]
fn a_server_without_zmscore_will_do() {
    let redis = Redis::start_with(&["--rename-command", "ZMSCORE", ""]);
    let things = Things::on(redis, "BIGINT", "target = { zset = 'n:zset' }", "");
    let mut redis = things.world.connection();
    for (id, n) in [("1", "5"), ("2", "6"), ("3", "7")] {
        things.insert(id, n);
    }
    Kind::Zset.set(&mut redis, "1", "5");
    Kind::Zset.set(&mut redis, "2", "5");
    Kind::Zset.set(&mut redis, "4", "5");
    let output = things.world.recountd.output(&["once", JOB, "--json", "--force"]);
    assert_eq!(output.code(), 0, "{}", output.stderr);
    for (id, n) in [("1", Some("5")), ("2", Some("6")), ("3", Some("7")), ("4", None)] {
        assert_eq!(Kind::Zset.get(&mut redis, id).as_deref(), n, "{id}");
    }
}
