//! The smallest world in which a job can run: the app's tables and counters on private servers, and recountd with
//! one job for the articles.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fastrand::Rng;
use mysql::Conn;
use redis::{Commands, Connection};
use serde_json::Value;

use super::toutiao::{self, ARTICLES_KEY, ARTICLES_QUERY, Wrong};
use super::{Database, Mariadb, Output, Recountd, Redis, seed, servers_toml};

/// The job that every world has.
pub const JOB: &str = "user-articles";

/// A database of its own, a Redis of its own, and recountd.
pub struct World {
    pub database: Database,
    pub redis: Redis,
    pub recountd: Recountd,
    pub rng: Rng,
}

impl World {
    /// Users and their articles, all counters true; `settings` are more lines of the job.
    pub fn new(users: u64, articles: u64, settings: &str) -> Self {
        Self::on(Mariadb::shared(), Redis::start(), users, articles, settings)
    }

    /// The same on servers that the test has started itself.
    pub fn on(mariadb: &Mariadb, redis: Redis, users: u64, articles: u64, settings: &str) -> Self {
        let database = mariadb.create_database();
        let mut rng = Rng::with_seed(seed());
        let mut conn = database.conn();
        toutiao::create(&mut conn);
        toutiao::seed(&mut conn, &mut redis.connection(), users, articles, &mut rng);
        let head = servers_toml(database.url(), &redis.url());
        let jobs = format!("{head}{}", articles_job(settings));
        let Some(binary) = option_env!("CARGO_BIN_EXE_recountd") else {
            panic!("only cargo test knows where the binary is");
        };
        let recountd = Recountd::new(binary, &jobs);
        Self { database, redis, recountd, rng }
    }

    /// Writes a jobs.toml with the same servers and other jobs.
    pub fn write_jobs(&self, jobs: &str) {
        let head = servers_toml(self.database.url(), &self.redis.url());
        self.recountd.write_jobs(&format!("{head}{jobs}"));
    }

    pub fn mysql(&self) -> Conn {
        self.database.conn()
    }

    pub fn connection(&self) -> Connection {
        self.redis.connection()
    }

    /// Runs recountd, which has to end with this code.
    #[track_caller]
    pub fn call(&self, arguments: &[&str], code: i32) -> Output {
        let output = self.recountd.output(arguments);
        let (out, err) = (&output.stdout, &output.stderr);
        assert_eq!(output.code(), code, "{arguments:?} {out} {err}");
        output
    }

    /// All the runs on record, the newest first.
    pub fn runs(&self) -> Vec<Value> {
        self.call(&["runs", "--json", "-n", "1000"], 0).json_lines()
    }

    /// The counter of an id.
    pub fn counter(&self, id: &str) -> Option<f64> {
        self.connection().zscore(ARTICLES_KEY, id).expect("ZSCORE")
    }

    /// Gives an id another counter.
    pub fn set_counter(&self, id: &str, value: f64) {
        self.connection().zadd::<_, _, _, ()>(ARTICLES_KEY, id, value).expect("ZADD");
    }

    /// Moves the counters of the users 1 to 5.
    pub fn shift(&self, by: f64) {
        for id in ["1", "2", "3", "4", "5"] {
            self.set_counter(id, self.counter(id).unwrap_or(0.0) + by);
        }
    }

    /// Drops the key of the counters.
    pub fn lose_key(&self) {
        self.connection().del::<_, ()>(ARTICLES_KEY).expect("DEL");
    }

    /// Where recountd keeps its state.
    pub fn state(&self) -> PathBuf {
        self.recountd.folder().join("recountd.db")
    }

    /// What is wrong now, counted from outside.
    pub fn wrong(&self) -> Vec<Wrong> {
        let truth = toutiao::truth(&mut self.mysql());
        toutiao::wrong(&truth, &toutiao::counters(&mut self.connection(), ARTICLES_KEY))
    }

    /// Every key of Redis with its serialised value: equal images mean that nothing was written.
    pub fn image(&self) -> BTreeMap<String, Vec<u8>> {
        let mut redis = self.connection();
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).expect("KEYS");
        let dump = |key: String| {
            let value = redis::cmd("DUMP").arg(&key).query(&mut redis).expect("DUMP");
            (key, value)
        };
        keys.into_iter().map(dump).collect()
    }
}

/// The table of the job for the articles, with more lines.
pub fn articles_job(settings: &str) -> String {
    let trigger = if settings.contains("interval") { "" } else { "cron = \"0 3 * * *\"\n" };
    let settle = if settings.contains("settle") { "" } else { "settle = \"100ms\"\n" };
    format!(
        "[jobs.{JOB}]\n{trigger}{settle}query = \"{ARTICLES_QUERY}\"\n\
         target = {{ zset = \"{ARTICLES_KEY}\" }}\n{settings}\n"
    )
}
