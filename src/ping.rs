//! Tells web addresses how runs ended, so that somebody outside notices when nothing runs any more.
//! The daemon hands a ping over and never waits for it.
//!
//! # How long a slow server can hold others up
//!
//! Runs: never. Pings to another host: a host has one ping under way at a time, and there are two
//! threads, so one host that hangs delays none but its own. Where several hang, each of them holds
//! a thread for [`IN_ALL`] at most, and then the other hosts have their turn before it: a ping waits
//! for others' at most `IN_ALL` for every two hosts that hang.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::{Agent, Error};

use crate::clock;
use crate::config::PingUrl;

/// How many pings may wait; what does not fit is dropped.
pub const MOST: usize = 1_024;
/// How long a try may take in all, redirects included.
pub const IN_ALL: Duration = Duration::from_secs(10);
/// How long the pings that still wait may take at the daemon's end.
pub const AT_THE_END: Duration = Duration::from_secs(2);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to wait before each further try.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
const REDIRECTS: u32 = 3;
const THREADS: usize = 2;

/// Sends pings. It ends with [`Pinger::close`]; dropped without it, what waits is not sent.
#[derive(Debug)]
pub struct Pinger {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// In the order in which they were told, but that one which failed goes back to the front.
    waiting: VecDeque<Ping>,
    /// Host and job of what is being sent.
    busy: Vec<(Arc<str>, Arc<str>)>,
    /// The turn in which each host was last served; hosts that were not come first.
    served: HashMap<Arc<str>, u64>,
    turn: u64,
    /// Whether it was full and has not been empty since.
    complained: bool,
    /// When the end is over, once it has come.
    end: Option<Instant>,
}

#[derive(Debug)]
struct Ping {
    job: Arc<str>,
    url: PingUrl,
    host: Arc<str>,
    /// Tries that have failed.
    failed: usize,
    not_before: Option<Instant>,
}

/// What became of a try.
enum Tried {
    Done,
    /// A later try may succeed.
    Again(String),
    /// It would fail again.
    InVain(String),
}

impl Pinger {
    /// Starts the threads that send.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start() -> io::Result<Self> {
        let pinger = Self { shared: Arc::default() };
        let agent: Agent = Agent::config_builder()
            .user_agent(concat!("recountd/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .max_redirects(REDIRECTS)
            .http_status_as_error(false)
            // Pings are rare, and a connection that the other side has closed would cost a try.
            .max_idle_connections(0)
            .build()
            .into();
        for number in 1..=THREADS {
            let (shared, agent) = (Arc::clone(&pinger.shared), agent.clone());
            thread::Builder::new()
                .name(format!("ping-{number}"))
                .spawn(move || shared.send_until_the_end(&agent))?;
        }
        Ok(pinger)
    }

    /// Hands a ping of this job over, and returns at once. One that waits already is not sent twice:
    /// it says nothing that the other would not say.
    pub fn tell(&self, job: &Arc<str>, url: &PingUrl) {
        let mut queue = self.shared.queue();
        let of_job = |ping: &&Ping| ping.job == *job;
        let is_told = queue.waiting.iter().rfind(of_job).is_some_and(|last| last.url == *url);
        if queue.end.is_some() || is_told {
            return;
        }
        if queue.waiting.len() >= MOST {
            if !std::mem::replace(&mut queue.complained, true) {
                log::warn!("{job}: {MOST} pings wait already; this one and others are dropped");
            }
            return;
        }
        let (job, url, host) = (Arc::clone(job), url.clone(), Arc::from(url.host()));
        queue.waiting.push_back(Ping { job, url, host, failed: 0, not_before: None });
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Sends what waits, each once more and without a wait, for [`AT_THE_END`] at most.
    pub fn close(self) {
        let end = clock::monotonic() + AT_THE_END;
        let mut queue = self.shared.queue();
        queue.end = Some(end);
        self.shared.changed.notify_all();
        loop {
            let left = queue.waiting.len() + queue.busy.len();
            let time = end.saturating_duration_since(clock::monotonic());
            if left == 0 {
                return;
            }
            if time.is_zero() {
                log::warn!("{left} pings were not sent in time");
                return;
            }
            queue = self.shared.wait(queue, Some(time));
        }
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.shared.queue().end = Some(clock::monotonic());
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'q>(
        &self,
        queue: MutexGuard<'q, Queue>,
        time: Option<Duration>,
    ) -> MutexGuard<'q, Queue> {
        match time {
            Some(time) => {
                let woken = self.changed.wait_timeout(queue, time);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn send_until_the_end(&self, agent: &Agent) {
        let mut queue = self.queue();
        loop {
            let now = clock::monotonic();
            if queue.end.is_some_and(|end| now >= end || queue.waiting.is_empty()) {
                return;
            }
            let Some(ping) = queue.take(now) else {
                let wake = queue.wake(now);
                queue = self.wait(queue, wake);
                continue;
            };
            let left = queue.end.map_or(IN_ALL, |end| end.saturating_duration_since(now));
            drop(queue);
            // A thread that is gone would never let its host go.
            let tried = AssertUnwindSafe(|| send(agent, &ping.url, left.min(IN_ALL)));
            let broken = |_| Tried::InVain("it cannot be sent; please report it".to_owned());
            let tried = panic::catch_unwind(tried).unwrap_or_else(broken);
            queue = self.queue();
            queue.settle(ping, tried);
            self.changed.notify_all();
        }
    }
}

impl Queue {
    /// Takes the next ping that may be sent: of the host that had its turn longest ago, and never
    /// before an older one of the same job, so that the last word is the latest.
    fn take(&mut self, now: Instant) -> Option<Ping> {
        let mut jobs: HashSet<&str> = self.busy.iter().map(|(_, job)| &**job).collect();
        let is_busy = |host: &str| self.busy.iter().any(|(busy, _)| **busy == *host);
        let is_due = |ping: &Ping| self.end.is_some() || ping.not_before.is_none_or(|at| at <= now);
        let mut best: Option<(u64, usize)> = None;
        for (place, ping) in self.waiting.iter().enumerate() {
            let is_first = jobs.insert(&ping.job);
            if is_first && is_due(ping) && !is_busy(&ping.host) {
                let turn = self.served.get(&ping.host).copied().unwrap_or(0);
                best = Some(best.map_or((turn, place), |best| best.min((turn, place))));
            }
        }
        let (_, place) = best?;
        let ping = self.waiting.remove(place)?;
        self.complained &= !self.waiting.is_empty();
        self.turn += 1;
        // Hosts that left jobs.toml long ago must not gather here.
        if self.served.len() >= MOST {
            self.served.clear();
        }
        self.served.insert(Arc::clone(&ping.host), self.turn);
        self.busy.push((Arc::clone(&ping.host), Arc::clone(&ping.job)));
        Some(ping)
    }

    /// How long to wait for the next try, if nobody tells anything meanwhile.
    fn wake(&self, now: Instant) -> Option<Duration> {
        let at = self.waiting.iter().filter_map(|ping| ping.not_before).filter(|at| *at > now);
        at.min().into_iter().chain(self.end).min().map(|at| at.saturating_duration_since(now))
    }

    /// Lets the host go, and puts the ping back if it is to be tried again.
    fn settle(&mut self, mut ping: Ping, tried: Tried) {
        self.busy.retain(|(host, _)| *host != ping.host);
        let why = match tried {
            Tried::Done => return,
            Tried::Again(_) if self.end.is_none() && ping.failed < WAITS.len() => {
                let wait = WAITS.get(ping.failed).copied().unwrap_or_default();
                ping.failed += 1;
                ping.not_before = Some(clock::monotonic() + wait);
                self.waiting.push_front(ping);
                return;
            }
            Tried::Again(why) | Tried::InVain(why) => why,
        };
        log::warn!("{}: the ping to {} failed: {why}", ping.job, ping.host);
    }
}

/// One try. What the server sends behind its headers is not read.
fn send(agent: &Agent, url: &PingUrl, time: Duration) -> Tried {
    let request = agent.get(url.reveal()).config();
    // What was told in secret is not sent on in the open.
    let request = request.timeout_global(Some(time)).https_only(url.is_https()).build();
    match request.call() {
        Ok(answer) if answer.status().is_success() => Tried::Done,
        Ok(answer) if answer.status().is_server_error() => {
            Tried::Again(format!("it answered {}", answer.status().as_u16()))
        }
        Ok(answer) => Tried::InVain(format!("it answered {}", answer.status().as_u16())),
        Err(error) => why_not(&error),
    }
}

/// Why a try failed, in words of our own: those of the library may repeat the URL.
fn why_not(error: &Error) -> Tried {
    match error {
        Error::Timeout(_) => Tried::Again("no answer in time".to_owned()),
        Error::HostNotFound => Tried::Again("the host is not found".to_owned()),
        Error::ConnectionFailed => Tried::Again("no connection".to_owned()),
        Error::Io(error) if error.raw_os_error().is_some() => Tried::Again(error.to_string()),
        Error::Io(error) => Tried::Again(error.kind().to_string()),
        Error::Protocol(_) => Tried::Again("the answer is no HTTP".to_owned()),
        Error::TooManyRedirects => Tried::InVain(format!("more than {REDIRECTS} redirects")),
        Error::RedirectFailed => Tried::InVain("it redirects to nowhere".to_owned()),
        Error::RequireHttpsOnly(_) => Tried::InVain("it redirects from https to http".to_owned()),
        Error::Tls(why) => Tried::InVain(format!("TLS: {why}")),
        Error::Rustls(error) => Tried::InVain(format!("TLS: {error}")),
        _ => Tried::InVain("it cannot be sent".to_owned()),
    }
}
