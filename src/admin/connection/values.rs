//! Translates between the library's values and ours.

use http_net::{HttpDate, HttpError, Method as Name, RequestHead, Response, reason_phrase};

use crate::admin::http::{Body, Method, Peer, Reply, Request};
use crate::admin::problem::Problem;
use crate::clock;

/// What the client wants before it sends a body.
#[derive(PartialEq, Eq)]
pub(super) enum Expectation {
    None,
    Continue,
    Unknown,
    /// CONNECT: it wants no answer of ours at all.
    Tunnel,
}

/// The head of a request, and what its client expects.
pub(super) fn head(head: &RequestHead<'_>, peer: Peer) -> (Request, Expectation) {
    let expects = match () {
        () if head.method() == Name::Connect => Expectation::Tunnel,
        () if head.has_unknown_expectation() => Expectation::Unknown,
        () if head.expects_continue() => Expectation::Continue,
        () => Expectation::None,
    };
    let mut request = Request::new(method(head.method()), head.path(), peer);
    request.query = head.query().map(str::to_owned);
    request.host = head.host().map(str::to_owned);
    for (name, value) in head.headers() {
        request = request.with(name, &String::from_utf8_lossy(value));
    }
    (request, expects)
}

const fn method(name: Name) -> Method {
    match name {
        Name::Get => Method::Get,
        Name::Head => Method::Head,
        Name::Post => Method::Post,
        Name::Put => Method::Put,
        Name::Patch => Method::Patch,
        Name::Delete => Method::Delete,
        Name::Options => Method::Options,
        _ => Method::Other,
    }
}

/// What a request is told that the library refuses; nothing if its client has left in the middle.
pub(super) fn refusal(error: HttpError) -> Option<Problem> {
    let status = error.status()?;
    let (kind, title) = match status {
        413 => ("too-large", "Body too large"),
        414 => ("target-too-long", "Target too long"),
        431 => ("headers-too-large", "Header fields too large"),
        501 => ("not-implemented", "Not implemented"),
        505 => ("version", "Unknown version of HTTP"),
        _ => ("bad-request", "Bad request"),
    };
    // The text of these errors never holds what the client sent.
    Some(Problem::new(status, kind, title, error.to_string()))
}

pub(super) fn response(status: u16, headers: &[(&'static str, String)]) -> Response {
    let unless_there = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")];
    let mut response = Response::new(status).header("Date", date());
    for (name, value) in headers {
        response = response.header(name, value);
    }
    for (name, value) in unless_there {
        if response.header_value(name).is_none() {
            response = response.header(name, value);
        }
    }
    response
}

pub(super) fn whole(problem: Problem) -> Response {
    let Reply { status, headers, body } = problem.into();
    match body {
        Body::Whole(bytes) => response(status, &headers).body(bytes),
        Body::Stream(_) => response(status, &headers),
    }
}

fn date() -> String {
    let seconds = u64::try_from(clock::wall().timestamp()).unwrap_or_default();
    HttpDate::from_unix_seconds(seconds).to_string()
}

/// A last reply where the library has no request to answer.
pub(super) fn by_hand(problem: Problem, with_body: bool) -> Vec<u8> {
    let Reply { status, headers, body } = problem.into();
    let Body::Whole(body) = body else { return Vec::new() };
    let mut out = format!("HTTP/1.1 {status} {}\r\nDate: {}\r\n", reason_phrase(status), date());
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = body.len();
    out.push_str(&format!("Content-Length: {length}\r\nConnection: close\r\n\r\n"));
    let mut out = out.into_bytes();
    if with_body {
        out.extend(body);
    }
    out
}
