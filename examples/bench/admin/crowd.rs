//! The crowd at the control plane, in a process of its own with few threads. Who is dropped comes again.

mod busy;
mod slow;

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::TOKEN;
use super::phase::Phase;
use slow::Manner;

/// Clients that are slow, or idle.
const CLIENTS: usize = 1_000;
const WATCHERS: usize = 30;
const TRIGGERERS: u32 = 4;
const CHANGERS: u32 = 10;

/// Threads that slow clients share. A connection that is not taken at once holds up one of them.
const THREADS: usize = 8;

#[derive(Args)]
pub struct Options {
    /// Who.
    #[arg(long)]
    phase: Phase,
    /// The daemon's port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// So many jobs can be triggered.
    #[arg(long)]
    jobs: u32,
}

/// What the crowd did so far.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Done {
    /// Connections that were made.
    pub connected: u64,
    /// Connections that could not be made.
    pub unconnected: u64,
    /// Requests that were answered with 2xx.
    pub answered: u64,
    /// Requests that were answered with anything else.
    pub refused: u64,
}

/// The same while it goes on.
#[derive(Default)]
pub struct Counts {
    connected: AtomicU64,
    unconnected: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    fn done(&self) -> Done {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Done {
            connected: of(&self.connected),
            unconnected: of(&self.unconnected),
            answered: of(&self.answered),
            refused: of(&self.refused),
        }
    }
}

fn count(one: &AtomicU64) {
    one.fetch_add(1, Ordering::Relaxed);
}

/// Where the crowd goes, and what each of them brings.
#[derive(Clone)]
pub struct Way {
    address: SocketAddr,
    token: String,
    counts: Arc<Counts>,
}

impl Way {
    /// A request, with its body if it is to have one.
    fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let Self { address, token, .. } = self;
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{kind}\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Goes to the daemon until the input ends; each line of it is answered with what was done so far, as JSON.
pub fn gather(options: &Options) {
    let way = Way {
        address: SocketAddr::from(([127, 0, 0, 1], options.port)),
        token: env::var(TOKEN).expect("the token is in the environment"),
        counts: Arc::default(),
    };
    match options.phase {
        Phase::Nobody => {}
        Phase::Elsewhere => start_slow(&Way { address: listen(), ..way.clone() }, Manner::Slow),
        Phase::Idle => start_slow(&way, Manner::Idle),
        Phase::Slow => start_slow(&way, Manner::Slow),
        Phase::Watchers => {
            let way = way.clone();
            thread::spawn(move || slow::go(&way, Manner::Watch, WATCHERS, 0));
        }
        Phase::Triggers => {
            for number in 0..TRIGGERERS {
                let (way, jobs) = (way.clone(), options.jobs);
                thread::spawn(move || busy::trigger(&way, number, jobs));
            }
        }
        Phase::Changes => {
            for number in 0..CHANGERS {
                let way = way.clone();
                thread::spawn(move || busy::change(&way, number));
            }
        }
    }
    for _ in io::stdin().lines().map_while(Result::ok) {
        let done = serde_json::to_string(&way.counts.done()).expect("counts are JSON");
        println!("{done}");
    }
}

fn start_slow(way: &Way, manner: Manner) {
    for number in 0..THREADS {
        let way = way.clone();
        thread::spawn(move || slow::go(&way, manner, CLIENTS / THREADS, number));
    }
}

/// A port where everybody is let in and nobody is answered.
fn listen() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    thread::spawn(move || {
        let mut inside = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            inside.push(stream);
        }
    });
    address
}
