//! What happens, live, as server-sent events.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use super::{Api, Call, trouble};
use crate::admin::http::{Method, Reply};
use crate::admin::problem::Problem;
use crate::board::{TooSlow, Watch};
use crate::state::time;

/// After so long without an event a comment tells that the line is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The chunks of one stream.
struct Stream {
    watch: Watch,
    hello: Option<String>,
}

impl Iterator for Stream {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(hello) = self.hello.take() {
            return Some(hello.into_bytes());
        }
        let events = match self.watch.next(HEARTBEAT) {
            Ok(events) => events,
            Err(TooSlow) => return None,
        };
        if events.is_empty() {
            return Some(b":\n\n".to_vec());
        }
        let mut text = String::new();
        for event in events {
            write!(text, "id: {}\nevent: {}\ndata: {}\n\n", event.id, event.kind, event.data).ok();
        }
        Some(text.into_bytes())
    }
}

pub fn stream(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    if call.request.method == Method::Head {
        return Err(trouble::method(&[]));
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
    Ok(Reply::events(Box::new(Stream { watch, hello })))
}
