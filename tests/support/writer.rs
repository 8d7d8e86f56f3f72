//! A writer that behaves like the web app: it commits a row to MySQL, and a moment later increments a counter in
//! Redis; and some of the increments never happen.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use mysql::Conn;
use mysql::prelude::Queryable;
use redis::Connection;

use super::{mariadb, redis_server, toutiao};

/// How long the writer sleeps at most before it looks whether it shall stop.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a [`Writer`] does.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The users that write.
    pub users: RangeInclusive<u64>,
    /// Users that write more than the others, and the share of the writes that is theirs.
    pub hot: Vec<u64>,
    pub hot_share: f64,
    /// Writes a second over all threads; `None` is full speed.
    pub rate: Option<f64>,
    /// The share of the increments that are lost.
    pub loss: f64,
    /// The share of the writes that delete or unapprove an article instead of publishing one.
    pub take_back: f64,
    /// The longest that the writer waits between commit and increment.
    pub in_flight: Duration,
    /// Threads, each of which has one write in flight at a time, as the workers of a web app.
    pub threads: u64,
    /// The seed of all that is random here. What the threads write is repeatable; how they interleave is not.
    pub seed: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            users: 1..=1_000,
            hot: Vec::new(),
            hot_share: 0.5,
            rate: None,
            loss: 0.0,
            take_back: 0.1,
            in_flight: Duration::from_millis(4),
            threads: 4,
            seed: 1,
        }
    }
}

/// What was written to one id, or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows that were committed.
    pub writes: u64,
    /// Those whose increment was lost, on purpose or because Redis did not take it.
    pub lost: u64,
    /// The sum of the lost increments: by so much the truth is above the counter, as far as nobody repaired it.
    pub drift: i64,
    /// Statements that were sent and of whose end nothing is known, because the connection to MySQL broke. They were
    /// not followed by an increment.
    pub doubtful: u64,
}

/// What a writer did.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub total: Tally,
    pub by_id: BTreeMap<u64, Tally>,
    /// Writes that MySQL or Redis answered with an error.
    pub errors: u64,
    /// The longest time between a commit and the end of its increment. A job is only right if its `settle` is at
    /// least this; on an overloaded machine a test had better know.
    pub longest_in_flight: Duration,
}

impl Figures {
    fn count(&mut self, id: u64, lost: Option<i64>) {
        for tally in [&mut self.total, self.by_id.entry(id).or_default()] {
            tally.writes += 1;
            tally.lost += u64::from(lost.is_some());
            tally.drift += lost.unwrap_or(0);
        }
    }

    fn doubt(&mut self, id: u64) {
        for tally in [&mut self.total, self.by_id.entry(id).or_default()] {
            tally.doubtful += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        let sum = |into: &mut Tally, from: &Tally| {
            into.writes += from.writes;
            into.lost += from.lost;
            into.drift += from.drift;
            into.doubtful += from.doubtful;
        };
        sum(&mut self.total, &other.total);
        for (id, tally) in &other.by_id {
            sum(self.by_id.entry(*id).or_default(), tally);
        }
        self.errors += other.errors;
        self.longest_in_flight = self.longest_in_flight.max(other.longest_in_flight);
    }
}

/// A writer at work. When it goes away without [`Writer::stop`], it is told to stop and not waited for.
pub struct Writer {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Figures>>,
}

impl Writer {
    /// Starts to write to the tables and the counters of [`toutiao`].
    pub fn start(mysql_url: &str, redis_url: &str, options: &WriterOptions) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writes = Arc::new(AtomicU64::new(0));
        let worker = |number| {
            let worker = Worker {
                mysql_url: mysql_url.to_owned(),
                redis_url: redis_url.to_owned(),
                mysql: None,
                redis: None,
                rng: Rng::with_seed(options.seed.wrapping_add(number)),
                options: options.clone(),
                figures: Figures::default(),
                stop: Arc::clone(&stop),
                writes: Arc::clone(&writes),
            };
            thread::spawn(move || worker.work())
        };
        let threads = (0..options.threads).map(worker).collect();
        Self { stop, writes, threads }
    }

    /// The number of rows committed so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Stops, with nothing left in flight, and says what was done.
    pub fn stop(mut self) -> Figures {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Figures::default();
        for thread in self.threads.drain(..) {
            sum.add(&thread.join().expect("the writer does not panic"));
        }
        sum
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One thread of a writer. Its connections are made anew after an error, so that it survives the faults of a test.
struct Worker {
    mysql_url: String,
    redis_url: String,
    mysql: Option<Conn>,
    redis: Option<Connection>,
    rng: Rng,
    options: WriterOptions,
    figures: Figures,
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
}

impl Worker {
    fn work(mut self) -> Figures {
        let pause = self.options.rate.map(|rate| self.options.threads as f64 / rate);
        let mut next = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(pause) = pause {
                // Between none and two pauses: in the mean it is the rate, and the threads do not march in step.
                next += Duration::from_secs_f64(2.0 * pause * self.rng.f64());
                if !self.sleep_until(next) {
                    break;
                }
            }
            self.write_one();
        }
        self.figures
    }

    /// Whether it slept to the end, and was not told to stop.
    fn sleep_until(&self, until: Instant) -> bool {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.stop.load(Ordering::Relaxed) || left.is_zero() {
                return left.is_zero();
            }
            thread::sleep(left.min(LOOK_AGAIN));
        }
    }

    /// One request to the web app: the row is committed first, and the counter follows.
    fn write_one(&mut self) {
        let id = self.draw_id();
        let step = match self.commit(id) {
            Ok(0) => return,
            Ok(step) => step,
            Err(error) => return self.mysql_failed(id, &error),
        };
        let committed = Instant::now();
        self.writes.fetch_add(1, Ordering::Relaxed);
        if self.rng.f64() < self.options.loss {
            return self.figures.count(id, Some(step));
        }
        thread::sleep(self.options.in_flight.mul_f64(self.rng.f64()));
        let landed = self.increment(id, step);
        if landed.is_err() {
            self.figures.errors += 1;
            self.redis = None;
        }
        self.figures.count(id, landed.is_err().then_some(step));
        self.figures.longest_in_flight = self.figures.longest_in_flight.max(committed.elapsed());
    }

    fn draw_id(&mut self) -> u64 {
        if !self.options.hot.is_empty() && self.rng.f64() < self.options.hot_share {
            return self.options.hot[self.rng.usize(..self.options.hot.len())];
        }
        self.rng.u64(self.options.users.clone())
    }

    /// Changes the truth of `id` and says by how much: 1, -1, or 0 when there was no article to take back.
    fn commit(&mut self, id: u64) -> mysql::Result<i64> {
        if self.mysql.is_none() {
            self.mysql = Some(mariadb::try_connect(&self.mysql_url)?);
        }
        let conn = self.mysql.as_mut().expect("it was just connected");
        if self.rng.f64() >= self.options.take_back {
            let channel = self.rng.u8(1..=25);
            let statement = "INSERT INTO news_article_basic (user_id, channel_id, title, status) \
                             VALUES (?, ?, 'news', ?)";
            conn.exec_drop(statement, (id, channel, toutiao::APPROVED))?;
            return Ok(1);
        }
        let statement = match self.rng.bool() {
            true => "DELETE FROM news_article_basic WHERE user_id = ? AND status = ? LIMIT 1",
            false => {
                "UPDATE news_article_basic SET status = 3 WHERE user_id = ? AND status = ? LIMIT 1"
            }
        };
        conn.exec_drop(statement, (id, toutiao::APPROVED))?;
        Ok(-i64::from(conn.affected_rows() == 1))
    }

    fn increment(&mut self, id: u64, step: i64) -> redis::RedisResult<()> {
        if self.redis.is_none() {
            self.redis = Some(redis_server::try_connect(&self.redis_url)?);
        }
        let connection = self.redis.as_mut().expect("it was just connected");
        redis::cmd("ZINCRBY").arg(toutiao::ARTICLES_KEY).arg(step).arg(id).exec(connection)
    }

    /// A deadlock between two writers of one hot id changed nothing and leaves a good connection; after any other
    /// error the connection is not trusted again, and a server that is down is not asked in a tight loop.
    fn mysql_failed(&mut self, id: u64, error: &mysql::Error) {
        self.figures.errors += 1;
        if !matches!(error, mysql::Error::MySqlError(_)) {
            if self.mysql.take().is_some() {
                self.figures.doubt(id);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}
