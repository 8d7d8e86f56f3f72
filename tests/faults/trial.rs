//! The stage of every fault, and what must be true after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mysql::prelude::Queryable;

use super::observer::Observer;
use super::support::proxy::{Fault, Way};
use super::support::toutiao::{self, ARTICLES_KEY, Broken};
use super::support::world::{JOB, World, articles_job};
use super::support::{
    Daemon, Figures, Mariadb, Output, Proxy, Redis, Writer, WriterOptions, eventually, servers_toml,
};

/// How long anything may take that will happen.
pub const SOON: Duration = Duration::from_secs(30);

/// How often a run may meet a busy moment of the machine.
pub const TRIES: usize = 8;

/// Ids that the app writes to, without losing an increment: nothing but exact is good enough for them.
const BUSY: std::ops::RangeInclusive<u64> = 1..=100;

/// All ids; those that are not busy stand still, and many of their counters are wrong.
const USERS: u64 = 600;
const ARTICLES: u64 = 6_000;

/// In a busy counter's truth, enough that taking articles back does not bring it to nothing.
const PLENTY: i64 = 5;

/// What a trial is made of.
#[derive(Clone, Copy, Default)]
pub struct Setting {
    /// More lines of the job.
    pub job: &'static str,
    /// More arguments of Redis.
    pub redis: &'static [&'static str],
    /// Whether MySQL will be killed, frozen or set up differently, and so must not be shared.
    pub own_mariadb: bool,
    /// Without traffic: the fault itself keeps the app's increments in flight for longer than any settle.
    pub calm: bool,
    /// With a shorter settle, for a test of many runs.
    pub haste: bool,
}

/// A world with wrong counters, with traffic, with somebody who watches, and with a proxy before each server.
pub struct Trial {
    pub world: World,
    pub mariadb: Option<Mariadb>,
    pub to_redis: Proxy,
    pub to_mysql: Proxy,
    pub broken: Broken,
    pub settle: Duration,
    /// How long the test's own increments were in flight.
    pub in_flight: Duration,
    /// The counters and the truth of the ids without traffic, before the fault.
    before: BTreeMap<String, f64>,
    truth: BTreeMap<u64, i64>,
    writer: Option<Writer>,
    observer: Observer,
}

/// Lets a fault happen to a trial and checks what it left behind. When the writer itself was in flight for longer than
/// settle, the machine was too busy and the promise did not hold: then all of it again, with a longer settle.
pub fn under_traffic(setting: Setting, fault: impl Fn(&mut Trial)) {
    let first = if setting.haste { 100 } else { 200 };
    for settle in [first, 3 * first, 1_500].map(Duration::from_millis) {
        let mut trial = Trial::start(setting, settle);
        fault(&mut trial);
        match trial.finish() {
            Ok(()) => return,
            Err(figures) => {
                println!("{settle:?} was too short: {:?} in flight", figures.longest_in_flight);
            }
        }
    }
    panic!("this machine is too busy for any trial");
}

impl Trial {
    fn start(setting: Setting, settle: Duration) -> Self {
        let mariadb = setting.own_mariadb.then(Mariadb::start);
        let server = mariadb.as_ref().unwrap_or_else(|| Mariadb::shared());
        let redis = Redis::start_with(setting.redis);
        let mut world = World::on(server, redis, USERS, ARTICLES, "");
        let to_redis = Proxy::before(world.redis.port());
        let to_mysql = Proxy::before(server.port());
        let broken = break_still_counters(&mut world);
        // The guard has tests of its own; what a fault loses for the app shall not make the next run refuse.
        let guard = "guard = { max_changed = \"100%\" }";
        let settings = format!("settle = \"{}ms\"\n{guard}\n{}", settle.as_millis(), setting.job);
        let job = articles_job(&settings);
        let (before, truth) = still(&world);
        let options = WriterOptions {
            users: BUSY,
            rate: Some(200.0),
            in_flight: Duration::from_millis(20),
            seed: world.rng.u64(..),
            ..WriterOptions::default()
        };
        let (mysql_url, redis_url) = (world.database.url(), world.redis.url());
        let writer = (!setting.calm).then(|| Writer::start(mysql_url, &redis_url, &options));
        let kept = toutiao::truth(&mut world.mysql());
        let kept = kept.into_iter().filter(|(_, n)| *n >= PLENTY).map(|(id, _)| id).collect();
        let observer = Observer::of(&world.redis.url(), kept);
        let trial = Self {
            world,
            mariadb,
            to_redis,
            to_mysql,
            broken,
            settle,
            in_flight: Duration::ZERO,
            before,
            truth,
            writer,
            observer,
        };
        trial.write_job(&job);
        trial
    }

    /// Replaces the job; its servers stay behind their proxies.
    pub fn write_job(&self, job: &str) {
        let name = self.world.database.name();
        let mysql = format!("mysql://root@127.0.0.1:{}/{name}", self.to_mysql.port());
        let redis = format!("redis://127.0.0.1:{}/0", self.to_redis.port());
        self.world.recountd.write_jobs(&format!("{}{job}", servers_toml(&mysql, &redis)));
    }

    /// From now on recountd asks the servers themselves.
    pub fn leave_the_proxies(&self) {
        let port = |text: &str, of: u16, to: u16| text.replace(&of.to_string(), &to.to_string());
        let mysql = self.mariadb.as_ref().unwrap_or_else(|| Mariadb::shared()).port();
        self.change_job(|text| {
            let text = port(text, self.to_mysql.port(), mysql);
            port(&text, self.to_redis.port(), self.world.redis.port())
        });
    }

    /// Changes jobs.toml: another query, another user.
    pub fn change_job(&self, change: impl Fn(&str) -> String) {
        let text = std::fs::read_to_string(self.world.recountd.jobs_path()).unwrap();
        self.world.recountd.write_jobs(&change(&text));
    }

    pub fn spawn_once(&self) -> Daemon {
        self.world.recountd.spawn(&["once", JOB, "--json"])
    }

    pub fn once(&self) -> Output {
        self.world.recountd.output(&["once", JOB, "--json"])
    }

    /// Starts a run that is held this way at its `nth` write. On a machine that is busy for a moment a watch has gaps, and
    /// a run ends early with all unproven; then another one is started.
    #[track_caller]
    pub fn hold_at_write(&mut self, nth: u64, way: Way) -> Daemon {
        for _ in 0..TRIES {
            self.to_redis.trap("EVALSHA", nth, Fault::Hold(way));
            let mut run = self.spawn_once();
            let (mut ended, proxy) = (false, &self.to_redis);
            eventually(SOON, "it is held or ends", || {
                ended = run.has_exited();
                ended || proxy.is_holding(way)
            });
            if !ended {
                return run;
            }
            println!("it ended before write {nth}: {:?}", run.stdout.lines());
            self.to_redis.pass();
            self.break_again();
        }
        panic!("this machine is too busy for a watch");
    }

    /// Runs until the outcome is not partial, which it is on a machine that is busy for a moment.
    pub fn run_to_the_end(&self) -> Output {
        // A time-out that was short for the sake of the fault is none for the run after it.
        self.change_job(|text| {
            text.lines().filter(|line| !line.starts_with("timeout")).collect::<Vec<_>>().join("\n")
        });
        let mut run = self.once();
        for _ in 1..TRIES {
            if run.code() == 3 {
                run = self.once();
            }
        }
        run
    }

    /// Waits for the end of a run that shall fail, and gives its report.
    #[track_caller]
    pub fn failed(&self, mut run: Daemon) -> String {
        let code = run.wait_exit(SOON).code();
        let report = run.stdout.finish(SOON).join("\n");
        assert_eq!(code, Some(1), "{report} {:?}", run.stderr.lines());
        report
    }

    /// How many counters without traffic hold something else than before.
    pub fn repaired(&self) -> usize {
        let (now, _) = still(&self.world);
        let ids: BTreeSet<&String> = now.keys().chain(self.before.keys()).collect();
        ids.into_iter().filter(|id| now.get(*id) != self.before.get(*id)).count()
    }

    /// All that was broken.
    pub fn damage(&self) -> usize {
        self.broken.errors.len() + self.broken.missing.len() + self.broken.ghosts.len()
    }

    /// Rows of the job's query, about.
    pub fn rows(&self) -> u64 {
        toutiao::truth(&mut self.world.mysql()).len() as u64
    }

    /// Makes the counters without traffic wrong in the same way again; but what was missing and is there now stays,
    /// for somebody watches that nothing vanishes.
    pub fn break_again(&mut self) {
        let (now, _) = still(&self.world);
        let mut pipe = redis::pipe();
        pipe.cmd("PING").ignore();
        for (id, score) in &self.before {
            if now.get(id) != Some(score) {
                pipe.cmd("ZADD").arg(ARTICLES_KEY).arg(*score).arg(id).ignore();
            }
        }
        pipe.exec(&mut self.world.connection()).unwrap();
        self.before = still(&self.world).0;
        self.broken.missing.retain(|id| !self.before.contains_key(&id.to_string()));
    }

    /// Deletes all the counters. The observer looks away meanwhile.
    pub fn lose_the_key(&mut self) {
        redis::cmd("DEL").arg(ARTICLES_KEY).exec(&mut self.world.connection()).unwrap();
        self.before.clear();
        self.observer = Observer::of(&self.world.redis.url(), self.observer.ids.clone());
    }

    /// Asserts that some counters are repaired and others are not.
    #[track_caller]
    pub fn assert_half_way(&self) {
        let (repaired, damage) = (self.repaired(), self.damage());
        assert!(0 < repaired && repaired < damage, "{repaired} of {damage} are repaired");
    }

    /// Asserts that nothing was written.
    #[track_caller]
    pub fn assert_nothing_written(&self) {
        assert_eq!(self.repaired(), 0);
    }

    /// Each counter without traffic is what it was, or true.
    #[track_caller]
    pub fn assert_only_right_writes(&self) {
        let (now, _) = still(&self.world);
        let ids: BTreeSet<&String> = now.keys().chain(self.before.keys()).collect();
        for id in ids {
            let number: u64 = id.parse().unwrap();
            let true_value = self.truth.get(&number).map(|n| *n as f64);
            let (was, is) = (self.before.get(id).copied(), now.get(id).copied());
            assert!(is == was || is == true_value, "{id}: {was:?} -> {is:?}, not {true_value:?}");
        }
    }

    /// Lets the app itself bring every counter down to what it wrongly was before; from now on, that is right.
    pub fn app_goes_back(&mut self) -> usize {
        let (mut mysql, mut redis) = (self.world.mysql(), self.world.connection());
        let (counters, truth) = still(&self.world);
        assert!(counters.iter().all(|(id, n)| truth[&id.parse().unwrap()] as f64 == *n));
        let mut count = 0;
        for (id, true_value) in &truth {
            let was = self.before.get(&id.to_string()).copied().unwrap_or(0.0) as i64;
            if 0 < was && was < *true_value {
                let rows = true_value - was;
                let delete =
                    "DELETE FROM news_article_basic WHERE user_id = ? AND status = 2 LIMIT ?";
                mysql.exec_drop(delete, (id, rows)).unwrap();
                let add =
                    redis::cmd("ZINCRBY").arg(ARTICLES_KEY).arg(-rows).arg(id).exec(&mut redis);
                add.unwrap();
                count += 1;
            }
        }
        (self.before, self.truth) = still(&self.world);
        count
    }

    /// The app publishes an article for every id whose counter was wrong...
    pub fn app_commits(&mut self) {
        let rows: Vec<String> =
            self.broken.errors.iter().map(|id| format!("({id},1,'news',2)")).collect();
        let insert = "INSERT INTO news_article_basic (user_id, channel_id, title, status) VALUES ";
        self.world.mysql().query_drop(format!("{insert}{}", rows.join(","))).unwrap();
        for id in &self.broken.errors {
            *self.truth.get_mut(id).unwrap() += 1;
        }
    }

    /// ... and increments their counters.
    pub fn app_increments(&mut self) {
        let mut pipe = redis::pipe();
        for id in &self.broken.errors {
            pipe.cmd("ZINCRBY").arg(ARTICLES_KEY).arg(1).arg(id).ignore();
            *self.before.get_mut(&id.to_string()).unwrap() += 1.0;
        }
        pipe.exec(&mut self.world.connection()).unwrap();
    }

    /// What must be true after every fault, once the servers are as they were. `Err` when settle did not hold.
    #[track_caller]
    fn finish(mut self) -> Result<(), Figures> {
        self.assert_only_right_writes();
        let figures = self.writer.take().map(|writer| {
            let wrote = writer.writes();
            eventually(SOON, "the app goes on", || writer.writes() > wrote + 5);
            writer.stop()
        });
        let mut figures = figures.unwrap_or_default();
        figures.longest_in_flight = figures.longest_in_flight.max(self.in_flight);
        if figures.longest_in_flight >= self.settle * 4 / 5 {
            return Err(figures);
        }
        for wrong in self.world.wrong() {
            let id: u64 = wrong.id.parse().unwrap();
            let tally = figures.by_id.get(&id).copied().unwrap_or_default();
            let off = (wrong.mysql as f64 - wrong.redis.unwrap_or(0.0)).abs();
            let known = (tally.lost + tally.doubtful) as f64;
            assert!(!BUSY.contains(&id) || off <= known, "{wrong:?} where {tally:?}");
        }
        self.to_redis.pass();
        self.to_mysql.pass();
        let next = self.run_to_the_end();
        assert_eq!(next.code(), 0, "{} {}", next.stdout, next.stderr);
        assert!(self.world.wrong().is_empty(), "{:?}", self.world.wrong());
        let last = self.world.recountd.output(&["once", JOB, "--json"]);
        assert_eq!(last.json()["outcome"], "clean", "{}", last.stdout);
        let mut seen = self.observer.stop();
        let truth = toutiao::truth(&mut self.world.mysql());
        seen.vanished.retain(|id| truth.contains_key(id));
        assert!(seen.looks > 10 && seen.vanished.is_empty(), "vanished: {:?}", seen.vanished);
        println!("{:?}, seen {} times", figures.total, seen.looks);
        Ok(())
    }
}

/// Many errors, some missing counters and some ghosts, none of them where the app writes.
fn break_still_counters(world: &mut World) -> Broken {
    let mut redis = world.connection();
    let mut broken = toutiao::break_counters(&mut redis, 280, 40, 10, &mut world.rng);
    let truth = toutiao::truth(&mut world.mysql());
    for ids in [&mut broken.errors, &mut broken.missing] {
        for id in ids.extract_if(.., |id| BUSY.contains(id)) {
            let add = redis::cmd("ZADD").arg(ARTICLES_KEY).arg(truth[&id]).arg(id).exec(&mut redis);
            add.unwrap();
        }
    }
    broken
}

/// The counters and the truth of the ids without traffic.
fn still(world: &World) -> (BTreeMap<String, f64>, BTreeMap<u64, i64>) {
    let mut counters = toutiao::counters(&mut world.connection(), ARTICLES_KEY);
    counters.retain(|id, _| !BUSY.contains(&id.parse().unwrap()));
    let mut truth = toutiao::truth(&mut world.mysql());
    truth.retain(|id, _| !BUSY.contains(id));
    (counters, truth)
}
