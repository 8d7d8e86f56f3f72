//! A daemon with a control plane, and a browser that shows its page.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use super::support::browser::{Browser, PATIENCE};
use super::support::guardian::free_port;
use super::support::world::{JOB, World, articles_job};
use super::support::{Daemon, eventually};

pub const TOKEN: &str = "a-token-of-32-characters-or-more";

/// What a daemon that is killed leaves in the console of a page that follows it.
pub const GONE: [&str; 2] = ["net::ERR_", "401"];

/// A world with a control plane, its daemon, and a browser.
pub struct Stage {
    pub daemon: Option<Daemon>,
    pub world: World,
    pub url: String,
    pub browser: Browser,
}

impl Stage {
    pub fn new(settings: &str) -> Self {
        // The browser first: a test that waits for its turn shall not keep servers busy.
        let browser = Browser::start();
        let mut world = World::new(50, 2_000, "");
        let address = format!("127.0.0.1:{}", free_port());
        let admin = format!("listen = [\"{address}\"]\ntoken = \"${{RECOUNTD_TOKEN}}\"\n");
        world.write_jobs(&format!("[admin]\n{admin}\n{}", articles_job(settings)));
        world.recountd = world.recountd.env("RECOUNTD_TOKEN", TOKEN);
        let mut stage = Self { daemon: None, world, url: format!("http://{address}/"), browser };
        stage.start_daemon();
        stage
    }

    /// A stage on which the page has its token and shows the jobs.
    pub fn open(settings: &str) -> Self {
        let stage = Self::new(settings);
        stage.browser.goto(&stage.url);
        stage.give(TOKEN);
        stage.browser.find(&row(""));
        stage
    }

    pub fn start_daemon(&mut self) {
        self.daemon = Some(self.world.recountd.spawn_run());
        let ready = format!("{}readyz", self.url);
        eventually(PATIENCE, "the daemon is ready", || ureq::get(&ready).call().is_ok());
    }

    #[track_caller]
    pub fn give(&self, token: &str) {
        self.browser.wait_for("!document.querySelector('[data-form=token]').hidden");
        self.browser.find("#token").type_in(token);
        self.browser.find("[data-action=token]").click();
    }

    #[track_caller]
    pub fn click(&self, action: &str) {
        self.browser.find(&row(&format!(" [data-action={action}]"))).click();
    }

    /// Waits until an element of the job's row is there.
    #[track_caller]
    pub fn shows(&self, rest: &str) {
        self.browser.find(&row(rest));
    }

    /// A counter that is wrong, so that a run has something to repair.
    pub fn break_a_counter(&self) {
        let held = self.world.counter("1").expect("the first user has articles");
        self.world.set_counter("1", held + 7.0);
    }

    #[track_caller]
    pub fn has_no_complaints(&self, expected: &[&str]) {
        let complaints = self.browser.complaints(expected);
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

impl Drop for Stage {
    /// A test that fails leaves a picture of what the reader saw.
    fn drop(&mut self) {
        if thread::panicking() {
            let name = thread::current().name().unwrap_or("page").replace("::", "-");
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
            // The browser may be what failed; a second panic must not hide the first.
            let shoot = || self.browser.screenshot(&file);
            if catch_unwind(AssertUnwindSafe(shoot)).is_ok() {
                println!("a picture of it: {}", file.display());
            }
        }
    }
}

/// The row of the job, and what is in it.
pub fn row(rest: &str) -> String {
    format!("#jobs [data-job='{JOB}']{rest}")
}
