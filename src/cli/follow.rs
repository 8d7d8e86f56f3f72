//! `recountd runs --follow`: runs as they end, from the daemon's events, over its restarts.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::CliError;
use super::api;
use super::runs::{self, Args};
use crate::client::{Client, ClientError, segment};

/// How many runs are asked for after each connection: no more than these end while there is none.
const RECENT: u32 = 500;

/// Before the daemon is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let client = args.api.client()?;
    let mut follower = Follower {
        client: &client,
        job: args.job.as_deref(),
        json: args.json,
        limit: args.count.clamp(RECENT, 1_000),
        shown: VecDeque::new(),
        has_begun: false,
    };
    let mut is_told = false;
    loop {
        match follower.watch(args.count) {
            Ok(()) => is_told = false,
            Err(CliError::Client(error)) if follower.has_begun && may_pass(&error) => {
                // Once for each time that it is away.
                if !is_told {
                    let why = match error {
                        // What it says of requests is not about events, which only end.
                        ClientError::Lost { place } => format!("{place} closed the connection"),
                        error => error.to_string(),
                    };
                    log::warn!("{why}; the daemon is looked for again");
                }
                is_told = true;
            }
            Err(error) => return Err(error),
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Whether it may be another answer a little later.
fn may_pass(error: &ClientError) -> bool {
    match error {
        // A socket that was made a moment ago may not have its mode yet.
        ClientError::Denied { .. } => true,
        ClientError::Unreachable { .. } | ClientError::Lost { .. } | ClientError::Slow { .. } => {
            true
        }
        ClientError::Problem(problem) => problem.status >= 500,
        _ => false,
    }
}

struct Follower<'a> {
    client: &'a Client,
    job: Option<&'a str>,
    json: bool,
    limit: u32,
    /// The numbers of the runs that were shown, the newest last; never more than can come again.
    shown: VecDeque<String>,
    has_begun: bool,
}

impl Follower<'_> {
    /// Shows runs as they end until the events do.
    fn watch(&mut self, count: u32) -> Result<(), CliError> {
        let query = self.job.map(|job| format!("?job={}", segment(job))).unwrap_or_default();
        let mut is_caught_up = false;
        for event in self.client.events(&format!("/v1/events{query}"))? {
            let event = event?;
            // From the first event on nothing is missed; what ended before it is asked for.
            if !is_caught_up {
                self.catch_up(count)?;
                is_caught_up = true;
            }
            if event.name == "run" && api::has_ended(&event.data) {
                self.show(vec![event.data], usize::MAX)?;
            }
        }
        Ok(())
    }

    /// Shows what ended while nobody looked; the first time, the last few.
    fn catch_up(&mut self, count: u32) -> Result<(), CliError> {
        let mut runs = runs::ask(self.client, self.job, self.limit)?;
        runs.retain(api::has_ended);
        runs.reverse();
        let at_most = if self.has_begun { usize::MAX } else { count as usize };
        self.has_begun = true;
        self.show(runs, at_most)
    }

    /// Shows those that were not shown yet, the last few of them.
    fn show(&mut self, mut runs: Vec<Value>, at_most: usize) -> Result<(), CliError> {
        let number = |run: &Value| run.get("id").map(api::number).unwrap_or_default();
        runs.retain(|run| !self.shown.contains(&number(run)));
        self.shown.extend(runs.iter().map(number));
        let surplus = self.shown.len().saturating_sub(2 * self.limit as usize);
        self.shown.drain(..surplus);
        let from = runs.len().saturating_sub(at_most);
        let mut out = io::stdout().lock();
        runs::print(self.client, runs.get(from..).unwrap_or_default(), self.json, &mut out)?;
        out.flush()?;
        Ok(())
    }
}
