//! `Idempotency-Key`: a POST that is sent again, because its answer was lost, is carried out once and
//! answered twice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Api, Call, trouble};
use crate::admin::http::{Body, Reply};
use crate::admin::problem::Problem;
use crate::state::Kept;

/// The longest key, in characters.
const LONGEST: usize = 255;

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Stored {
    status: u16,
    media_type: String,
    location: Option<String>,
    body: String,
}

/// A key that is being worked on; dropping it ends that.
struct InUse<'a> {
    api: &'a Api,
    key: &'a str,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        trouble::lock(&self.api.keys).remove(self.key);
    }
}

/// Handles a POST, unless one with the same key has been handled: then the answer is the same.
pub fn once(
    api: &Api,
    call: &Call<'_>,
    handle: impl FnOnce() -> Result<Reply, Problem>,
) -> Result<Reply, Problem> {
    let mut keys = call.request.header_all("idempotency-key");
    let Some(key) = keys.next() else { return handle() };
    let is_one = keys.next().is_none() && (1..=LONGEST).contains(&key.len());
    if !is_one || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let detail = format!(
            "send one Idempotency-Key of 1 to {LONGEST} visible ASCII characters, without spaces"
        );
        return Err(trouble::bad_request(detail));
    }
    if !trouble::lock(&api.keys).insert(key.to_owned()) {
        let detail = "a request with this Idempotency-Key is being worked on; ask again later";
        return Err(
            Problem::new(409, "key-in-use", "The key is in use", detail).header("Retry-After", "1")
        );
    }
    let _in_use = InUse { api, key };
    let request = fingerprint(call);
    if let Some(kept) = api.answers.find(key, call.now).map_err(|e| trouble::state(&e))? {
        return again(&kept, &request);
    }
    // A problem is an answer as well, and some are kept.
    let reply = handle().unwrap_or_else(Reply::from);
    if let Some(answer) = stored(&reply) {
        let kept = Kept { request, answer };
        if let Err(error) = api.answers.keep(key, &kept, call.now) {
            // It is done; to say that it failed would make the client do it again.
            log::error!("an answer could not be kept for a retry: {error}");
        }
    }
    Ok(reply)
}

fn again(kept: &Kept, request: &str) -> Result<Reply, Problem> {
    if kept.request != request {
        let detail = "this Idempotency-Key was used for another request; make a new one for each";
        return Err(Problem::new(422, "key-reused", "The key was used before", detail));
    }
    let stored: Stored = serde_json::from_str(&kept.answer).map_err(|_| Problem::internal())?;
    let mut reply = Reply::empty(stored.status);
    reply.headers.push(("Content-Type", stored.media_type));
    if let Some(location) = stored.location {
        reply.headers.push(("Location", location));
    }
    reply.body = Body::Whole(stored.body.into_bytes());
    Ok(reply.with("Idempotency-Replayed", "true"))
}

/// The answer as it is kept: what was done, and what is wrong with the request itself. `None` for one that
/// may be another tomorrow, though nothing was changed in the request: a job that is not there yet, a run in
/// the way, a disk that is full.
fn stored(reply: &Reply) -> Option<String> {
    if !matches!(reply.status, 200..=299 | 400 | 422) {
        return None;
    }
    let Body::Whole(body) = &reply.body else { return None };
    let header = |name| reply.header(name).map(str::to_owned);
    let stored = Stored {
        status: reply.status,
        media_type: header("content-type").unwrap_or_default(),
        location: header("location"),
        body: String::from_utf8(body.clone()).ok()?,
    };
    serde_json::to_string(&stored).ok()
}

/// What tells one request from another, and does so in later versions as well. Each part comes with its
/// length, so that what belongs to one cannot pass for the beginning of the next.
fn fingerprint(call: &Call<'_>) -> String {
    let request = call.request;
    let method = format!("{:?}", request.method);
    let query = request.query.as_deref().unwrap_or_default();
    let mut hasher = Sha256::new();
    for part in [method.as_bytes(), request.path.as_bytes(), query.as_bytes(), &request.body] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    STANDARD.encode(hasher.finalize())
}
