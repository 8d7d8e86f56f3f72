//! What happens, live, as server-sent events.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Api, Call, trouble};
use crate::admin::http::{Method, Reply};
use crate::admin::problem::Problem;
use crate::board::Watch;
use crate::clock;
use crate::state::time;

/// Where it is. A stream has no end that its head could tell of, so HEAD is not answered here.
pub const PATH: &str = "/v1/events";

/// So often it is looked whether the client is still there: one that has left keeps a place from others.
const LOOK: Duration = Duration::from_secs(1);

/// After so long without an event a comment tells that the line is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The chunks of one stream.
struct Stream {
    watch: Watch,
    hello: Option<String>,
    /// When something was last sent.
    spoke: Instant,
}

impl Iterator for Stream {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let text = match self.hello.take() {
            Some(hello) => hello,
            None => self.text()?,
        };
        if !text.is_empty() {
            self.spoke = clock::monotonic();
        }
        Some(text.into_bytes())
    }
}

impl Stream {
    /// What there is to tell; nothing gives the connection the opportunity to look after its client.
    fn text(&mut self) -> Option<String> {
        let events = self.watch.next(LOOK).ok()?;
        if events.is_empty() {
            let silence = clock::monotonic().saturating_duration_since(self.spoke);
            let heartbeat = if silence < HEARTBEAT { "" } else { ":\n\n" };
            return Some(heartbeat.to_owned());
        }
        let mut text = String::new();
        for event in events {
            write!(text, "id: {}\nevent: {}\ndata: {}\n\n", event.id, event.kind, event.data).ok();
        }
        Some(text)
    }
}

pub fn stream(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    if call.request.method == Method::Head {
        return Err(trouble::method(&[Method::Get], false));
    }
    let job = call.query("job");
    if let Some(job) = &job
        && api.board.job(job, call.now).is_none()
    {
        return Err(trouble::no_such_job(api, job));
    }
    // It watches before it says hello: whoever looks at the jobs after the hello misses nothing.
    let watch = api.board.watch(job.as_deref());
    let now = time(call.now, api.board.about().zone);
    let hello = json!({"now": now, "version": env!("CARGO_PKG_VERSION")});
    let hello = format!("id: {}\nretry: 1000\nevent: hello\ndata: {hello}\n\n", watch.after);
    let hello = Some(hello);
    Ok(Reply::events(Box::new(Stream { watch, hello, spoke: clock::monotonic() })))
}
