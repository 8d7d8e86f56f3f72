//! Whether the daemon is well, for those who look after it.

use std::time::Duration;

use serde_json::json;

use super::{Api, Call};
use crate::admin::http::Reply;
use crate::admin::problem::Problem;
use crate::ask::Ask;

/// A loop that turns answers in far less than that.
const PROMPT: Duration = Duration::from_secs(1);

/// The loop answers.
pub fn healthz(api: &Api, _: &Call<'_>) -> Result<Reply, Problem> {
    match api.hotline.ask_within(Ask::Alive, PROMPT) {
        Ok(_) => Ok(ok()),
        Err(_) => {
            let detail = "the loop did not answer within a second; no slot is dealt with";
            Err(Problem::new(503, "silent", "The daemon does not answer", detail))
        }
    }
}

/// It goes on, and remembers what it does.
pub fn readyz(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    healthz(api, call)?;
    let unready = |why: &str| Err(Problem::new(503, "not-ready", "The daemon is not ready", why));
    if api.board.status(call.now).stopping {
        return unready("the daemon is stopping");
    }
    if !api.board.about().is_written() {
        return unready("the state cannot be written; runs go on and are not remembered");
    }
    if api.board.about().on_disk.is_unread() {
        return unready(
            "the state could be opened only after the start, and has jobs or pauses that were not \
             read; restart the daemon",
        );
    }
    Ok(ok())
}

pub fn metrics(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(Reply::whole(200, OPEN_METRICS, api.board.metrics(call.now)))
}

fn ok() -> Reply {
    Reply::json(200, &json!({"status": "ok"}))
}
