//! The web app's tables and counters, as in a news site: articles and followings per user.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fastrand::Rng;
use mysql::Conn;
use mysql::prelude::Queryable;
use redis::Connection;

/// Approved articles per user.
pub const ARTICLES_KEY: &str = "count:user:arts";
pub const ARTICLES_QUERY: &str = "SELECT user_id, COUNT(article_id) FROM news_article_basic \
     WHERE status = 2 GROUP BY user_id";

/// Followed users per user.
pub const FOLLOWINGS_KEY: &str = "count:user:followings";
pub const FOLLOWINGS_QUERY: &str = "SELECT user_id, COUNT(target_user_id) FROM user_relation \
     WHERE relation = 1 GROUP BY user_id";

/// The status of an article that counts.
pub const APPROVED: u8 = 2;

/// Ghosts get ids from here on, far above those of users.
pub const FIRST_GHOST: u64 = 1_000_000_000;

const TABLES: [&str; 2] = [
    "CREATE TABLE news_article_basic (
       article_id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, user_id BIGINT UNSIGNED NOT NULL,
       channel_id INT NOT NULL, title VARCHAR(130) NOT NULL, status TINYINT NOT NULL DEFAULT 0,
       create_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
       KEY user_status (user_id, status)) ENGINE=InnoDB",
    "CREATE TABLE user_relation (
       relation_id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, user_id BIGINT UNSIGNED NOT NULL,
       target_user_id BIGINT UNSIGNED NOT NULL, relation TINYINT NOT NULL DEFAULT 0,
       create_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
       UNIQUE KEY user_target (user_id, target_user_id)) ENGINE=InnoDB",
];

/// Rows in one INSERT and members in one command: a few hundred round trips for 100,000 rows.
const BATCH: u64 = 1_000;

/// Creates the tables.
pub fn create(conn: &mut Conn) {
    for table in TABLES {
        conn.query_drop(table).expect("the table is created");
    }
}

/// Fills the tables with `articles` articles, most of them approved, and about two followings a user, by the users 1
/// to `users`; and the counters with the truth.
pub fn seed(conn: &mut Conn, redis: &mut Connection, users: u64, articles: u64, rng: &mut Rng) {
    insert(
        conn,
        "INSERT INTO news_article_basic (user_id, channel_id, title, status)",
        articles,
        |row, out| {
            let (user, channel) = (rng.u64(1..=users), rng.u8(1..=25));
            let status = match rng.u8(..10) {
                0 => rng.choice([0, 1, 3, 4]).expect("not empty"),
                _ => APPROVED,
            };
            write!(out, "({user},{channel},'article {row}',{status})")
        },
    );
    insert(
        conn,
        // A user may draw the same target twice.
        "INSERT IGNORE INTO user_relation (user_id, target_user_id, relation)",
        users * 2,
        |_, out| {
            let (user, target) = (rng.u64(1..=users), rng.u64(1..=users));
            write!(out, "({user},{target},{})", u8::from(rng.u8(..10) > 0))
        },
    );
    fill(redis, ARTICLES_KEY, &truth(conn));
    fill(redis, FOLLOWINGS_KEY, &truth_of(conn, FOLLOWINGS_QUERY));
}

/// Inserts `rows` rows in statements of many rows each, in one transaction.
fn insert(
    conn: &mut Conn,
    into: &str,
    rows: u64,
    mut row: impl FnMut(u64, &mut String) -> std::fmt::Result,
) {
    conn.query_drop("BEGIN").expect("a transaction begins");
    for first in (0..rows).step_by(BATCH as usize) {
        let mut statement = format!("{into} VALUES ");
        for number in first..rows.min(first + BATCH) {
            if number > first {
                statement.push(',');
            }
            row(number, &mut statement).expect("text can be appended");
        }
        conn.query_drop(statement).expect("the rows are inserted");
    }
    conn.query_drop("COMMIT").expect("the rows are committed");
}

/// Makes the counters of `key`, a sorted set, exactly these.
pub fn fill(redis: &mut Connection, key: &str, truth: &BTreeMap<u64, i64>) {
    redis::cmd("UNLINK").arg(key).exec(redis).expect("UNLINK");
    let pairs: Vec<(i64, u64)> = truth.iter().map(|(id, value)| (*value, *id)).collect();
    for batch in pairs.chunks(BATCH as usize) {
        let mut add = redis::cmd("ZADD");
        add.arg(key).arg(batch);
        add.exec(redis).expect("ZADD");
    }
}

/// What [`break_counters`] did.
#[derive(Clone, Debug, Default)]
pub struct Broken {
    /// Counters that got a wrong value.
    pub errors: Vec<u64>,
    /// Counters that were removed.
    pub missing: Vec<u64>,
    /// Counters that were made up, of ids that MySQL does not have.
    pub ghosts: Vec<u64>,
}

/// Breaks counters of articles: so many get a wrong value, so many go missing, and so many ghosts appear.
pub fn break_counters(
    redis: &mut Connection,
    errors: usize,
    missing: usize,
    ghosts: usize,
    rng: &mut Rng,
) -> Broken {
    // Sorted before they are shuffled: the same seed shall break the same counters.
    let ids: BTreeSet<u64> =
        counters(redis, ARTICLES_KEY).keys().filter_map(|id| id.parse().ok()).collect();
    let mut ids: Vec<u64> = ids.into_iter().collect();
    rng.shuffle(&mut ids);
    assert!(errors + missing <= ids.len(), "there are only {} counters to break", ids.len());
    let broken = Broken {
        errors: ids[..errors].to_vec(),
        missing: ids[errors..errors + missing].to_vec(),
        ghosts: (FIRST_GHOST..).take(ghosts).collect(),
    };
    let mut pipe = redis::pipe();
    for id in &broken.errors {
        // Lost increments leave a counter too low more often than anything leaves one too high.
        let off = rng.choice([-3, -2, -1, -1, -1, 1, 2]).expect("not empty");
        pipe.cmd("ZINCRBY").arg(ARTICLES_KEY).arg(off).arg(id);
    }
    for id in &broken.missing {
        pipe.cmd("ZREM").arg(ARTICLES_KEY).arg(id);
    }
    for id in &broken.ghosts {
        let value = rng.u8(1..10);
        pipe.cmd("ZADD").arg(ARTICLES_KEY).arg(value).arg(id);
    }
    pipe.exec(redis).expect("the counters are broken");
    broken
}

/// The approved articles of each user, as MySQL has them now.
pub fn truth(conn: &mut Conn) -> BTreeMap<u64, i64> {
    truth_of(conn, ARTICLES_QUERY)
}

/// What a job's query gives now.
pub fn truth_of(conn: &mut Conn, query: &str) -> BTreeMap<u64, i64> {
    let rows: Vec<(u64, i64)> = conn.query(query).expect("the truth is read");
    rows.into_iter().collect()
}

/// The members and scores of a sorted set.
pub fn counters(redis: &mut Connection, key: &str) -> BTreeMap<String, f64> {
    let pairs: Vec<(String, f64)> = redis::cmd("ZRANGE")
        .arg(key)
        .arg(0)
        .arg(-1)
        .arg("WITHSCORES")
        .query(redis)
        .expect("the counters are read");
    pairs.into_iter().collect()
}

/// A counter that is not true.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    pub id: String,
    /// Zero when MySQL does not have the id.
    pub mysql: i64,
    /// `None` when Redis does not have the id.
    pub redis: Option<f64>,
}

/// The ids whose counter is not the truth; to be absent is to be zero, on either side.
pub fn wrong(truth: &BTreeMap<u64, i64>, counters: &BTreeMap<String, f64>) -> Vec<Wrong> {
    let known = truth.iter().map(|(id, value)| (id.to_string(), *value));
    let ghosts = counters
        .keys()
        .filter(|id| !id.parse().is_ok_and(|id| truth.contains_key(&id)))
        .map(|id| (id.clone(), 0));
    known
        .chain(ghosts)
        .map(|(id, mysql)| Wrong { redis: counters.get(&id).copied(), id, mysql })
        .filter(|one| one.redis.unwrap_or(0.0) != one.mysql as f64)
        .collect()
}
