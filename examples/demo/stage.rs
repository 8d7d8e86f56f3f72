//! What the demo plays on: the servers, the app's data, and recountd's jobs.toml.

use std::iter::repeat_with;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use fastrand::Rng;
use mysql::Conn;
use redis::Connection;

use crate::support::toutiao::{self, Wrong};
use crate::support::{Mariadb, Recountd, Redis, Writer, WriterOptions, servers_toml};
use crate::tell;

/// The job that has something to do; nobody breaks the followings.
pub const JOB: &str = "user-articles";

const USERS: u64 = 20_000;
const ARTICLES: u64 = 100_000;

/// Counters that get another value, that vanish, and that are made up: 700 in all.
const BROKEN: (usize, usize, usize) = (500, 150, 50);

/// Articles that the app publishes a second, and the share of them whose increment never happens.
pub const RATE: f64 = 200.0;
pub const LOSS: f64 = 0.05;

/// Where a browser can look on.
pub struct Page {
    pub address: SocketAddr,
    pub token: String,
}

impl Page {
    /// A port that is free now, and a token that nobody knows yet.
    pub fn new() -> Self {
        let any = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = any.local_addr().expect("it has an address");
        let token = repeat_with(fastrand::alphanumeric).take(24).collect();
        Self { address, token }
    }
}

/// What the demo needs for as long as it runs. The fields go away in this order: recountd before the servers.
pub struct Stage {
    pub recountd: Recountd,
    conn: Conn,
    connection: Connection,
    mysql_url: String,
    redis: Redis,
    _mariadb: Mariadb,
}

impl Stage {
    /// Starts the servers, fills them, and breaks some counters.
    pub fn set(binary: &Path, page: Option<&Page>) -> Self {
        let (mariadb, redis) = (Mariadb::start(), Redis::start());
        tell::item("servers", "a private MariaDB and a private Redis");
        let database = mariadb.create_database();
        let (mut conn, mut connection) = (database.conn(), redis.connection());
        // Always the same story; only the app's threads interleave as they like.
        let mut rng = Rng::with_seed(1);
        toutiao::create(&mut conn);
        toutiao::seed(&mut conn, &mut connection, USERS, ARTICLES, &mut rng);
        let (users, articles) = (tell::number(USERS), tell::number(ARTICLES));
        tell::item("MySQL", &format!("{users} users, {articles} articles, who follows whom"));
        tell::item("Redis", "a counter of articles and one of followings for each user");
        let (errors, missing, ghosts) = BROKEN;
        toutiao::break_counters(&mut connection, errors, missing, ghosts, &mut rng);
        tell::item(
            "broken",
            &format!("{errors} counters changed, {missing} removed, {ghosts} made up"),
        );
        let mut jobs = jobs_toml(database.url(), &redis.url());
        if let Some(Page { address, .. }) = page {
            jobs +=
                &format!("[admin]\nlisten = [\"{address}\"]\ntoken = \"${{RECOUNTD_TOKEN}}\"\n");
        }
        let token = page.map_or("", |page| page.token.as_str());
        Self {
            recountd: Recountd::new(binary, &jobs).env("RECOUNTD_TOKEN", token),
            conn,
            connection,
            mysql_url: database.url().to_owned(),
            redis,
            _mariadb: mariadb,
        }
    }

    /// Starts the web app.
    pub fn start_app(&self) -> Writer {
        let options = WriterOptions {
            users: 1..=USERS,
            rate: Some(RATE),
            loss: LOSS,
            ..WriterOptions::default()
        };
        Writer::start(&self.mysql_url, &self.redis.url(), &options)
    }

    /// Compares every counter in Redis with MySQL; the demo does not take recountd's word for it.
    pub fn wrong(&mut self) -> Vec<Wrong> {
        let mut all = Vec::new();
        for (key, query) in [
            (toutiao::ARTICLES_KEY, toutiao::ARTICLES_QUERY),
            (toutiao::FOLLOWINGS_KEY, toutiao::FOLLOWINGS_QUERY),
        ] {
            let truth = toutiao::truth_of(&mut self.conn, query);
            all.extend(toutiao::wrong(&truth, &toutiao::counters(&mut self.connection, key)));
        }
        all
    }
}

fn jobs_toml(mysql_url: &str, redis_url: &str) -> String {
    let mut text = servers_toml(mysql_url, redis_url);
    for (job, key, query) in [
        (JOB, toutiao::ARTICLES_KEY, toutiao::ARTICLES_QUERY),
        ("user-followings", toutiao::FOLLOWINGS_KEY, toutiao::FOLLOWINGS_QUERY),
    ] {
        text += &format!(
            "[jobs.{job}]\ninterval = \"5s\"\nsettle = \"200ms\"\ntarget = {{ zset = \"{key}\" }}\n\
             query = \"{query}\"\n\n"
        );
    }
    text
}
