//! A world with a daemon that runs, and a client that asks it.

use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;
use serde_json::{Value, json};

use super::support::http::{Client, Response};
use super::support::toutiao::{ARTICLES_KEY, ARTICLES_QUERY};
use super::support::world::{JOB, World, articles_job};
use super::support::{Daemon, eventually};

pub const SOON: Duration = Duration::from_secs(30);

/// A jobs.toml whose only job does not come by itself.
pub const QUIET: &str = "";

pub struct House {
    pub world: World,
    pub daemon: Daemon,
    pub client: Client,
}

impl House {
    /// The world's job has these settings; 5 of its counters are in each test's hands.
    pub fn new(settings: &str) -> Self {
        Self::with(&articles_job(settings))
    }

    /// A world whose jobs.toml has this after its servers.
    pub fn with(jobs: &str) -> Self {
        let world = World::new(20, 400, "");
        world.write_jobs(jobs);
        Self::of(world)
    }

    /// Starts the daemon of a world.
    pub fn of(world: World) -> Self {
        let client = Client::unix(world.recountd.folder().join("recountd.sock"));
        let daemon = world.recountd.spawn_run();
        let house = Self { world, daemon, client };
        house.wait();
        house
    }

    /// Waits until somebody answers at the socket. What is asked then is answered by a whole daemon.
    #[track_caller]
    fn wait(&self) {
        let began = Instant::now();
        while let Err(error) = self.client.try_send("GET", "/v1/openapi.json", &[], None) {
            let log = || self.daemon.stderr.lines();
            assert!(began.elapsed() < SOON, "no control plane: {error}\n{:#?}", log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// kill -9, and a new start.
    #[track_caller]
    pub fn crash(&mut self) {
        self.kill();
        self.start();
    }

    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    #[track_caller]
    pub fn start(&mut self) {
        self.daemon = self.world.recountd.spawn_run();
        self.wait();
    }

    /// Writes other jobs beside the servers and waits until they are taken over.
    #[track_caller]
    pub fn reload(&self, jobs: &str) {
        self.world.write_jobs(jobs);
        self.sighup();
        assert!(self.status()["reload_error"].is_null(), "{:#}", self.status());
    }

    /// The same with jobs that are not taken over.
    #[track_caller]
    pub fn reload_in_vain(&self, jobs: &str) {
        self.world.write_jobs(jobs);
        self.sighup();
        assert!(self.status()["reload_error"].is_string(), "{:#}", self.status());
    }

    #[track_caller]
    pub fn sighup(&self) {
        let before = self.status();
        self.daemon.signal("HUP");
        eventually(SOON, "the reload is over", || {
            let status = self.status();
            status["loaded_at"] != before["loaded_at"]
                || status["reload_error"] != before["reload_error"]
        });
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        self.client.get("/v1/status").expect(200)
    }

    #[track_caller]
    pub fn job(&self, name: &str) -> Value {
        self.client.get(&format!("/v1/jobs/{name}")).expect(200)
    }

    pub fn add(&self, job: &Value) -> Response {
        self.client.post_json("/v1/jobs", job)
    }

    /// Triggers the world's job; gives the number of the run.
    #[track_caller]
    pub fn trigger(&self, job: &str) -> u64 {
        let answer = self.client.post(&format!("/v1/jobs/{job}/trigger"));
        answer.expect(202)["run"].as_u64().expect("a number")
    }

    #[track_caller]
    pub fn run(&self, id: u64) -> Value {
        self.client.get(&format!("/v1/runs/{id}")).expect(200)
    }

    /// Waits until the run has ended; gives it.
    #[track_caller]
    pub fn ended(&self, id: u64) -> Value {
        wait_for("the run ends", || {
            let run = self.run(id);
            (!["waiting", "running"].contains(&run["outcome"].as_str().unwrap())).then_some(run)
        })
    }

    /// Runs the job now, and waits until the job shows it as its last run; gives the run. The log may know of its end
    /// a moment before.
    #[track_caller]
    pub fn run_now(&self, job: &str) -> Value {
        let run = self.trigger(job);
        wait_for("the job shows its run", || {
            (self.job(job)["last_run"]["id"] == run).then(|| self.ended(run))
        })
    }

    /// All runs of a job, the newest first.
    #[track_caller]
    pub fn runs(&self, job: &str) -> Vec<Value> {
        let runs = self.client.get(&format!("/v1/jobs/{job}/runs?limit=1000")).expect(200);
        runs["runs"].as_array().unwrap().clone()
    }

    /// Waits until a run of the job has this outcome; gives the newest.
    #[track_caller]
    pub fn run_with(&self, job: &str, outcome: &str) -> Value {
        wait_for(&format!("{job} has a run that is {outcome}"), || {
            let all = self.client.get(&format!("/v1/jobs/{job}/runs"));
            let all = if all.status == 200 { all.json() } else { return None };
            let runs = all["runs"].as_array().unwrap();
            runs.iter().find(|run| run["outcome"] == outcome).cloned()
        })
    }

    /// Holds the table of the articles: every run waits for it until the connection is dropped.
    pub fn hold(&self) -> Conn {
        let mut conn = self.world.mysql();
        conn.query_drop("LOCK TABLES news_article_basic WRITE").expect("the table is free");
        conn
    }

    /// Holds the table with a run of the world's job behind it; gives the run, too.
    #[track_caller]
    pub fn hold_a_run(&self) -> (Conn, u64) {
        let held = self.hold();
        (held, self.trigger(JOB))
    }
}

/// Lets the table go, and waits until it is free.
pub fn release(mut held: Conn) {
    held.query_drop("UNLOCK TABLES").expect("the connection lives");
}

/// Waits until there is something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < SOON, "still not there after {SOON:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What the API takes for a job that recounts the articles.
pub fn articles(name: &str, trigger: &Value) -> Value {
    let mut job = json!({
        "name": name, "settle": "100ms", "query": ARTICLES_QUERY, "target": {"zset": ARTICLES_KEY},
    });
    for (key, value) in trigger.as_object().expect("a trigger is an object") {
        job[key] = value.clone();
    }
    job
}

/// A job that does not come by itself.
pub fn idle(name: &str) -> Value {
    articles(name, &json!({"cron": "0 3 * * *"}))
}

/// The names of an object's members, sorted.
#[track_caller]
pub fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
