//! Waits for the end of a run: by the daemon's events, and by asking where they break off.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::api;
use crate::client::{Client, ClientError, segment};
use crate::clock;

/// Between two questions while there are no events.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long the daemon may be away, or not know of the run, until it is given up: a restart is over by then.
const PATIENCE: Duration = Duration::from_secs(30);

/// The run once it has ended.
///
/// # Errors
/// The daemon stayed away, or does not know the run.
pub(super) fn until_ended(client: &Client, job: &str, run: &str) -> Result<Value, ClientError> {
    let mut last_seen = clock::monotonic();
    loop {
        let seen = match watch(client, job, run) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) => look(client, run),
            // What keeps us from the events keeps us from the run as well, or says that they are not served.
            Err(_) => look(client, run),
        };
        match seen {
            Ok(found) if api::has_ended(&found) => return Ok(found),
            Ok(_) => last_seen = clock::monotonic(),
            Err(error @ (ClientError::Token { .. } | ClientError::NotRecountd { .. })) => {
                return Err(error);
            }
            Err(error) if last_seen.elapsed() > PATIENCE => return Err(error),
            Err(_) => {}
        }
        thread::sleep(ASK_AGAIN);
    }
}

/// Watches the events until the run ends; `None` if they end before it.
fn watch(client: &Client, job: &str, run: &str) -> Result<Option<Value>, ClientError> {
    let mut is_looked_at = false;
    for event in client.events(&format!("/v1/events?job={}", segment(job)))? {
        let event = event?;
        // It may have ended before the first event; from then on none is missed.
        if !is_looked_at {
            is_looked_at = true;
            if let Ok(found) = look(client, run)
                && api::has_ended(&found)
            {
                return Ok(Some(found));
            }
        }
        let is_it = event.data.get("id").is_some_and(|id| api::number(id) == run);
        if event.name == "run" && is_it && api::has_ended(&event.data) {
            return Ok(Some(event.data));
        }
    }
    Ok(None)
}

fn look(client: &Client, run: &str) -> Result<Value, ClientError> {
    client.get(&format!("/v1/runs/{}", segment(run)))
}
