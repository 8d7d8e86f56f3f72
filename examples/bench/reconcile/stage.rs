//! The servers and the data on which everything is measured: a table that gives one row for each counter, so that
//! reading it costs MySQL as little as it can, and a zset.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mysql::Conn;
use mysql::prelude::Queryable;
use redis::{Connection, cmd};

use crate::limit::{self, COLUMNS, KEY, QUERY, TABLE};
use crate::support::{Database, Mariadb, Redis, servers_toml};

/// The job in jobs.toml.
pub const JOB: &str = "user-articles";

/// The job's `settle`.
pub const SETTLE: Duration = Duration::from_millis(200);

/// All rows stay in memory.
const MARIADB: [&str; 3] = [
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=256M",
    "--innodb-max-dirty-pages-pct=0",
];

/// Rows in one statement that fills the table.
const PORTION: u64 = 500_000;

/// One of so many counters is made wrong by [`Stage::drift`].
const DRIFT: u64 = 1_000;

/// How long a server may be busy with what was before.
const PATIENCE: Duration = Duration::from_secs(600);

/// Commands that take longer than this are told of, in microseconds.
const SLOW: u64 = 1_000;

pub struct Stage {
    counters: u64,
    folder: PathBuf,
    rng: Rng,
    conn: Conn,
    connection: Connection,
    redis_process: u32,
    mysql_process: u32,
    database: Database,
    redis: Redis,
    _mariadb: Mariadb,
}

impl Stage {
    /// Starts the servers and fills them; all counters are true.
    pub fn set(counters: u64, folder: &Path) -> Self {
        let (mariadb, redis) = (Mariadb::start_with(&MARIADB), Redis::start());
        let database = mariadb.create_database();
        let (mut conn, mut connection) = (database.conn(), redis.connection());
        connection.set_read_timeout(Some(PATIENCE)).expect("the socket takes a time-out");
        let jobs = folder.join("jobs.toml");
        fs::write(jobs, jobs_toml(database.url(), &redis.url())).expect("the folder takes a file");
        let pid_file = mariadb.folder().join("pid");
        let mysql_process = fs::read_to_string(pid_file).expect("MariaDB says its number");
        let redis_process = info(&mut connection, "server", "process_id:");
        fill(&mut conn, counters);
        limit::add(redis.port(), counters);
        for (setting, value) in [("slowlog-log-slower-than", SLOW), ("slowlog-max-len", 1_000)] {
            let set = cmd("CONFIG").arg("SET").arg(setting).arg(value).exec(&mut connection);
            set.expect("Redis takes the setting");
        }
        let mut stage = Self {
            counters,
            folder: folder.to_owned(),
            // Always the same counters are made wrong.
            rng: Rng::with_seed(1),
            conn,
            connection,
            redis_process: redis_process.parse().expect("a number"),
            mysql_process: mysql_process.trim().parse().expect("a number"),
            database,
            redis,
            _mariadb: mariadb,
        };
        stage.check();
        stage
    }

    /// Makes one of a thousand counters wrong; how many.
    pub fn drift(&mut self) -> u64 {
        let mut numbers = BTreeSet::new();
        while (numbers.len() as u64) < self.counters / DRIFT {
            numbers.insert(self.rng.u64(1..=self.counters));
        }
        let numbers: Vec<u64> = numbers.into_iter().collect();
        for some in numbers.chunks(1_000) {
            let mut pipe = redis::pipe();
            for number in some {
                let off = self.rng.i32(1..=3) * if self.rng.bool() { 1 } else { -1 };
                pipe.cmd("ZINCRBY").arg(KEY).arg(off).arg(limit::id(*number)).ignore();
            }
            pipe.exec(&mut self.connection).expect("the counters are made wrong");
        }
        numbers.len() as u64
    }

    /// Removes the key, and waits until its memory is free again.
    pub fn lose(&mut self) {
        cmd("UNLINK").arg(KEY).exec(&mut self.connection).expect("the key can be removed");
        let begin = Instant::now();
        while info(&mut self.connection, "memory", "lazyfree_pending_objects:") != "0" {
            assert!(begin.elapsed() < PATIENCE, "Redis frees the memory of a key");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Compares every counter with its truth: a figure of a run that does not do its work is worth nothing.
    pub fn check(&mut self) {
        let wrong = limit::wrong(self.redis.port(), self.counters);
        let held: u64 = cmd("ZCARD").arg(KEY).query(&mut self.connection).expect("Redis answers");
        assert_eq!((wrong, held), (0, self.counters), "counters that are wrong, that there are");
    }

    /// Makes every counter true again, whatever a process left that did not succeed.
    pub fn restore(&mut self) {
        self.await_quiet();
        self.lose();
        limit::add(self.redis.port(), self.counters);
        self.check();
    }

    /// Waits until Redis has done what was asked of it by somebody who is gone: then it answers at once, for a while.
    fn await_quiet(&mut self) {
        let (begin, mut quiet) = (Instant::now(), 0);
        while quiet < 100 {
            let asked = Instant::now();
            cmd("PING").exec(&mut self.connection).expect("Redis answers");
            quiet = if asked.elapsed() < Duration::from_millis(50) { quiet + 1 } else { 0 };
            assert!(begin.elapsed() < PATIENCE, "Redis comes to rest");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn forget_slow_commands(&mut self) {
        cmd("SLOWLOG").arg("RESET").exec(&mut self.connection).expect("Redis answers");
    }

    /// Of those since they were forgotten.
    pub fn longest_command_ms(&mut self) -> Option<f64> {
        type Entry = (u64, u64, u64, Vec<redis::Value>, String, String);
        let log: Vec<Entry> =
            cmd("SLOWLOG").arg("GET").arg(1_000).query(&mut self.connection).expect("a log");
        log.iter().map(|entry| entry.2).max().map(|micros| micros as f64 / 1e3)
    }

    /// The servers' names and versions.
    pub fn versions(&mut self) -> String {
        let mariadb: Option<String> =
            self.conn.query_first("SELECT VERSION()").expect("MariaDB answers");
        let mariadb = mariadb.unwrap_or_default();
        let mariadb = mariadb.split('-').next().unwrap_or_default();
        format!(
            "MariaDB {mariadb}, Redis {}",
            info(&mut self.connection, "server", "redis_version:")
        )
    }

    pub fn counters(&self) -> u64 {
        self.counters
    }

    /// Where jobs.toml and logs lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn mysql_url(&self) -> &str {
        self.database.url()
    }

    pub fn redis_port(&self) -> u16 {
        self.redis.port()
    }

    pub fn redis_process(&self) -> u32 {
        self.redis_process
    }

    pub fn mysql_process(&self) -> u32 {
        self.mysql_process
    }
}

fn jobs_toml(mysql_url: &str, redis_url: &str) -> String {
    let (servers, settle) = (servers_toml(mysql_url, redis_url), SETTLE.as_millis());
    format!(
        "{servers}[jobs.{JOB}]\ninterval = \"1d\"\nquery = \"{QUERY}\"\ntarget = {{ zset = \"{KEY}\" }}\n\
         settle = \"{settle}ms\"\nredis_share = \"100%\"\ntimeout = \"1h\"\n"
    )
}

fn fill(conn: &mut Conn, counters: u64) {
    let mut order = |statement: String| conn.query_drop(statement).expect("MariaDB does it");
    order(format!(
        "CREATE TABLE {TABLE} (user_id BIGINT UNSIGNED NOT NULL PRIMARY KEY, articles INT NOT NULL) ENGINE=InnoDB"
    ));
    for from in (1..=counters).step_by(PORTION as usize) {
        let to = counters.min(from + PORTION - 1);
        order(format!("INSERT INTO {TABLE} SELECT {COLUMNS} FROM seq_{from}_to_{to}"));
    }
    // What is still to be written to disk would be written while something is measured.
    let begin = Instant::now();
    let dirty = "SELECT variable_value FROM information_schema.global_status \
                 WHERE variable_name = 'Innodb_buffer_pool_pages_dirty'";
    while conn.query_first::<u64, _>(dirty).expect("MariaDB answers") != Some(0) {
        assert!(begin.elapsed() < PATIENCE, "MariaDB comes to rest");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A line of INFO.
fn info(connection: &mut Connection, section: &str, name: &str) -> String {
    let info: String = cmd("INFO").arg(section).query(connection).expect("Redis answers");
    let value = info.lines().find_map(|line| line.strip_prefix(name));
    value.expect("Redis tells it").to_owned()
}
