//! The values that a handler takes and gives. They know nothing of sockets, threads or the library
//! that parses requests.

use std::fmt;

use serde::Serialize;

use super::problem::Problem;

/// Answers a request. It runs in the thread of the connection, so it may wait, but nothing that the
/// daemon's loop does may wait for it.
pub type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// The method of a request; names are told apart by case, as RFC 9110 wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: answered like GET; the body is left out below.
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// Any other.
    Other,
}

impl Method {
    /// Whether it only reads: GET and HEAD.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A Unix socket: the file's mode has said who may.
    Unix,
    /// TCP: the door decides who may.
    Tcp,
}

/// A whole request. Its `Debug` text shows neither header fields nor the body: there are secrets in them.
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as it was sent, percent-encoding included.
    pub path: String,
    /// What stands behind the first `?`, as it was sent.
    pub query: Option<String>,
    /// The authority that the request is for: `Host`, or that of an absolute target.
    pub host: Option<String>,
    /// The body, any transfer coding taken off.
    pub body: Vec<u8>,
    /// Where it came in.
    pub peer: Peer,
    headers: Vec<(String, String)>,
}

impl Request {
    /// A request without header fields and body. `target` is a path, with a query or without.
    #[must_use]
    pub fn new(method: Method, target: &str, peer: Peer) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let (host, body, headers) = (None, Vec::new(), Vec::new());
        Self { method, path: path.to_owned(), query, host, body, peer, headers }
    }

    /// The same for an authority.
    #[must_use]
    pub fn at(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// The same with one more header field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn carrying(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The value of the first header field of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).next()
    }

    /// The values of all header fields of that name, in any case, in the order they came in.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// Drops the header fields of that name: what no handler sees, none can log.
    pub(super) fn forget(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("body_bytes", &self.body.len())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// The chunks of a reply that goes on: each `next` waits for at most 15 s; an empty chunk says that
/// there is nothing yet, `None` that the stream has ended.
pub type Chunks = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// The body of a reply.
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// As it comes; it takes one of the listener's places for streams for as long as it goes on.
    Stream(Chunks),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What a request is answered with. Length, transfer coding, date and connection are added below;
/// `Cache-Control: no-store` and `X-Content-Type-Options: nosniff` as well, if there is none.
#[derive(Debug)]
pub struct Reply {
    /// The status, 200 to 599.
    pub status: u16,
    /// Header fields; none of those that frame a message.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

impl Reply {
    /// A reply without a body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(Vec::new()) }
    }

    /// A reply with a body of that media type.
    #[must_use]
    pub fn whole(status: u16, media_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type", media_type.to_owned())];
        Self { status, headers, body: Body::Whole(body.into()) }
    }

    /// A reply of plain text.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::whole(status, "text/plain; charset=utf-8", text.into())
    }

    /// A reply of JSON. A value that cannot be written as JSON (a map whose keys are no text) is a
    /// defect, and answered as one.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(status: u16, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::whole(status, "application/json", body),
            Err(error) => {
                log::error!("a reply could not be written as JSON: {error}");
                Problem::internal().into()
            }
        }
    }

    /// A stream of server-sent events.
    #[must_use]
    pub fn events(chunks: Chunks) -> Self {
        let headers = vec![("Content-Type", "text/event-stream".to_owned())];
        Self { status: 200, headers, body: Body::Stream(chunks) }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The value of the first header field of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }
}
