//! Clients that ask for one thing after the other, as fast as they are answered.

use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{Way, count};
use crate::admin::line::Line;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Before coming again after a connection failed.
const BREATH: Duration = Duration::from_millis(100);

/// Looks at all jobs, triggers one of them, and again.
pub fn trigger(way: &Way, number: u32, jobs: u32) {
    let look = way.request("GET", "/v1/jobs", "");
    go(way, |round| {
        let job = (round * 7 + u64::from(number)) % u64::from(jobs) + 1;
        [look.clone(), way.request("POST", &format!("/v1/jobs/job-{job}/trigger"), "")]
    });
}

/// Adds a job, removes it, and again.
pub fn change(way: &Way, number: u32) {
    go(way, |round| {
        let name = format!("added-{number}-{round}");
        // It is not due before the benchmark ends, for its slots are not to be measured.
        let body = format!(
            r#"{{"name":"{name}","cron":"0 0 29 2 *","query":"SELECT 1, 1","target":{{"zset":"none"}}}}"#
        );
        [
            way.request("POST", "/v1/jobs", &body),
            way.request("DELETE", &format!("/v1/jobs/{name}"), ""),
        ]
    });
}

fn go(way: &Way, requests: impl Fn(u64) -> [Vec<u8>; 2]) {
    let mut line = None;
    for round in 0.. {
        for request in requests(round) {
            match ask(way, &mut line, &request) {
                Ok(200..300) => count(&way.counts.answered),
                Ok(_) => count(&way.counts.refused),
                Err(_) => {
                    line = None;
                    thread::sleep(BREATH);
                }
            }
        }
    }
}

fn ask(way: &Way, line: &mut Option<Line<TcpStream>>, request: &[u8]) -> io::Result<u16> {
    let line = match line {
        Some(line) => line,
        None => {
            let stream = TcpStream::connect_timeout(&way.address, PATIENCE)
                .inspect_err(|_| count(&way.counts.unconnected))?;
            count(&way.counts.connected);
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            line.insert(Line::new(stream))
        }
    };
    line.ask(request)
}
