//! The API: what a request over HTTP means. Each handler looks at the board, asks the loop, or reads
//! the state; none is ever waited for by the loop.

mod change;
mod events;
mod health;
mod jobs;
mod json;
mod old;
mod page;
mod retry;
mod route;
mod runs;
mod trouble;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::admin::http::{Method, Reply, Request};
use crate::admin::problem::Problem;
use crate::ask::{Answer, Ask, Hotline};
use crate::board::Board;
use crate::clock;
use crate::state::{Answers, Place};
use page::Page;
pub use route::{ROUTES, Route};

/// How long an answer waits for the disk. What was done is done, and whether it is remembered is seen at
/// /readyz.
const DISK: Duration = Duration::from_secs(1);

/// What the handlers need.
pub struct Api {
    board: Arc<Board>,
    hotline: Hotline,
    added: Place,
    answers: Answers,
    page: Page,
    /// Changes of the jobs that are kept on disk come one at a time.
    changing: Mutex<()>,
    /// The `Idempotency-Key`s of requests that are being worked on.
    keys: Mutex<BTreeSet<String>>,
    /// Whether the board has been told of the first jobs.
    begun: AtomicBool,
}

/// A request that a route is for.
struct Call<'a> {
    request: &'a Request,
    /// What stands in the places of the path, in their order.
    args: Vec<String>,
    now: DateTime<Utc>,
}

impl Api {
    /// The API of the daemon that keeps this board and answers this hotline.
    #[must_use]
    pub fn new(board: Arc<Board>, hotline: Hotline) -> Self {
        let state = &board.about().state;
        let (added, answers) = (Place::of(state), Answers::of(state));
        let (changing, keys) = (Mutex::default(), Mutex::default());
        let begun = AtomicBool::new(false);
        Self { board, hotline, added, answers, page: Page::new(), changing, keys, begun }
    }

    /// Answers a request.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Reply {
        let answered = route::find(request.method, &request.path).and_then(|(route, args)| {
            if request.path.starts_with("/v1/") || request.path.starts_with("/admin/") {
                self.await_begin();
            }
            let call = Call { request, args, now: clock::wall() };
            let handle = || (route.handle)(self, &call);
            if request.method == Method::Post { retry::once(self, &call, handle) } else { handle() }
        });
        answered.unwrap_or_else(Reply::from)
    }

    /// Waits until what the loop did can be seen, and is on disk where that takes anything: a pause or
    /// the number of a run that was given away must not be forgotten by a daemon that is killed.
    fn settle(&self, answer: &Answer) {
        self.board.catch_up(answer.told);
        let about = self.board.about();
        if about.is_written() && !about.on_disk.wait(answer.handed, DISK) {
            log::debug!("an answer does not wait for the disk any longer");
        }
    }

    /// The sockets are open before the loop turns. Who is quick waits for its first turn: before it,
    /// jobs that were there before a restart would seem to be gone.
    fn await_begin(&self) {
        if self.begun.load(Ordering::Acquire) {
            return;
        }
        if let Ok(answer) = self.hotline.ask(Ask::Alive) {
            self.board.catch_up(answer.told);
            self.begun.store(true, Ordering::Release);
        }
    }
}

impl Call<'_> {
    /// The only place of the path.
    fn arg(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    /// The body as JSON; `None` if it is empty.
    fn json(&self) -> Result<Option<Value>, Problem> {
        let body = &self.request.body;
        if body.is_empty() {
            return Ok(None);
        }
        let kind = self.request.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !["application/json", "application/merge-patch+json"].contains(&kind.as_str()) {
            return Err(trouble::not_json(&kind));
        }
        json::read(body).map(Some).map_err(|error| {
            let what = if error.is_data() { "cannot be understood" } else { "is not JSON" };
            trouble::bad_request(format!("the body {what}: {error}"))
        })
    }

    /// A parameter of the query, percent-decoded.
    fn query(&self, name: &str) -> Option<String> {
        let query = self.request.query.as_deref().unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}
