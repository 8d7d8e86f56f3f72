//! Connections cut at every k-th byte, in each way, to each server.

use std::collections::BTreeMap;

use super::support::proxy::{Fault, Way};
use super::support::toutiao::{self, ARTICLES_KEY};
use super::support::world::{JOB, World, articles_job};
use super::support::{Mariadb, Proxy, servers_toml};
use super::trial::{SOON, TRIES};

/// About so many cuts for each sweep over the bytes of a run.
const CUTS: u64 = 24;

/// A world so small that a run takes a fifth of a second.
struct Small {
    world: World,
    to_redis: Proxy,
    to_mysql: Proxy,
    before: BTreeMap<String, f64>,
    truth: BTreeMap<u64, i64>,
}

impl Small {
    fn new() -> Self {
        let mut world = World::new(60, 400, "");
        toutiao::break_counters(&mut world.connection(), 20, 4, 3, &mut world.rng);
        let to_redis = Proxy::before(world.redis.port());
        let to_mysql = Proxy::before(Mariadb::shared().port());
        let name = world.database.name();
        let mysql = format!("mysql://root@127.0.0.1:{}/{name}", to_mysql.port());
        let redis = format!("redis://127.0.0.1:{}/0", to_redis.port());
        let job = articles_job("settle = \"50ms\"\nguard = { max_changed = \"100%\" }");
        world.recountd.write_jobs(&format!("{}{job}", servers_toml(&mysql, &redis)));
        let before = toutiao::counters(&mut world.connection(), ARTICLES_KEY);
        let truth = toutiao::truth(&mut world.mysql());
        Self { world, to_redis, to_mysql, before, truth }
    }

    /// Makes the counters wrong in the same way again.
    fn restore(&self) {
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("DEL").arg(ARTICLES_KEY);
        for (id, score) in &self.before {
            pipe.cmd("ZADD").arg(ARTICLES_KEY).arg(*score).arg(id);
        }
        pipe.exec(&mut self.world.connection()).unwrap();
    }

    /// Runs once; says whether it succeeded. On a machine that is busy for a moment a watch has gaps, and the run is
    /// partial; then it runs again.
    fn run(&self) -> bool {
        for _ in 0..TRIES {
            let run = self.world.recountd.output(&["once", JOB, "--json"]);
            assert!([0, 1, 3].contains(&run.code()), "{} {}", run.stdout, run.stderr);
            if run.code() != 3 {
                return run.code() == 0;
            }
        }
        panic!("this machine is too busy for a watch");
    }

    /// Each counter is what it was, or true; nothing that MySQL has was deleted.
    #[track_caller]
    fn check(&self, place: &str) {
        let now = toutiao::counters(&mut self.world.connection(), ARTICLES_KEY);
        let was = |id: &String| self.before.get(id).copied();
        let true_value = |id: &String| self.truth.get(&id.parse().unwrap()).map(|n| *n as f64);
        for id in now.keys().chain(self.before.keys()) {
            let is = now.get(id).copied();
            assert!(is == was(id) || is == true_value(id), "{place}: {id} is {is:?}");
        }
    }

    /// Cuts at about [`CUTS`] places: over a whole run, or from the first request with `word` on. Each time the
    /// counters are checked, and the next run must end well.
    fn sweep(&self, proxy: &Proxy, way: Way, word: Option<&'static str>) {
        // The first run of all also teaches Redis the script.
        assert!(self.run());
        let length = self.length(proxy, way, word);
        let step = (length / CUTS).max(1) | 1;
        let mut broken = 0;
        for bytes in (0..length).step_by(usize::try_from(step).unwrap()) {
            self.restore();
            match word {
                Some(word) => proxy.trap(word, 1, Fault::Cut(way, bytes)),
                None => proxy.cut_after(way, bytes),
            }
            let good = self.run();
            proxy.pass();
            let place = format!("{way:?} cut {bytes} bytes after {word:?}");
            self.check(&place);
            broken += u64::from(!good);
            assert!(self.run() && self.world.wrong().is_empty(), "{place}: the next run");
        }
        println!("{way:?}, {length} bytes from {word:?} on: cut every {step}, {broken} failed");
        assert!(broken > CUTS / 2, "the cuts did not reach the runs: {broken}");
    }

    /// How many bytes go this way, in all or from the request on, in a run that nobody disturbs.
    fn length(&self, proxy: &Proxy, way: Way, word: Option<&'static str>) -> u64 {
        self.restore();
        let mut from = proxy.passed(way);
        let mut run = match word {
            None => self.world.recountd.spawn(&["once", JOB]),
            Some(word) => {
                // Held in this very place, a run tells how much had passed before.
                proxy.trap(word, 1, Fault::Hold(Way::Requests));
                let run = self.world.recountd.spawn(&["once", JOB]);
                proxy.wait_until_held(Way::Requests, SOON);
                from = proxy.passed(way);
                proxy.release();
                run
            }
        };
        run.wait_exit(SOON);
        proxy.passed(way) - from
    }
}

#[test]
fn redis_cut_at_every_kth_byte_of_the_requests() {
    let small = Small::new();
    small.sweep(&small.to_redis, Way::Requests, None);
}

#[test]
fn redis_cut_at_every_kth_byte_of_the_replies() {
    let small = Small::new();
    small.sweep(&small.to_redis, Way::Replies, None);
}

#[test]
fn redis_cut_at_every_kth_byte_of_the_writes() {
    let small = Small::new();
    small.sweep(&small.to_redis, Way::Requests, Some("EVALSHA"));
    small.sweep(&small.to_redis, Way::Replies, Some("EVALSHA"));
}

#[test]
fn mysql_cut_at_every_kth_byte_of_the_requests() {
    let small = Small::new();
    small.sweep(&small.to_mysql, Way::Requests, None);
}

#[test]
fn mysql_cut_at_every_kth_byte_of_the_replies() {
    let small = Small::new();
    small.sweep(&small.to_mysql, Way::Replies, None);
    // From the narrowed query on.
    small.sweep(&small.to_mysql, Way::Replies, Some("recountd_q"));
}
