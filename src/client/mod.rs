//! A client of the daemon's HTTP API, over a Unix socket or a URL: what most commands stand on.

mod error;
mod events;
mod place;
mod unix;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::config::{Config, ConfigBuilder};
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{HeaderValue, Method, Request, Response};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body, Timeout};

pub use error::{ClientError, Fault, Problem, Strange};
pub use events::{Event, Events};
pub use place::{Place, Token};

use unix::{NoAddress, UnixConnector};

/// What needs no escape in a part of a path: the characters that RFC 3986 never gives a meaning.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How long the daemon is waited for, and how much it may say.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until it is connected.
    pub connect: Duration,
    /// From the first byte of the request to the last of the answer; not for events.
    pub answer: Duration,
    /// Between two events. The daemon breaks a silence every 15 s.
    pub silence: Duration,
    /// The most bytes of an answer, and of one event.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            bytes: 16 << 20,
        }
    }
}

/// Speaks with one daemon. Every request has a connection of its own.
#[derive(Debug)]
pub struct Client {
    place: Place,
    token: Option<Token>,
    limits: Limits,
    calls: Agent,
    streams: Agent,
}

impl Client {
    /// Connects with the first request. The token goes only over HTTP; a socket wants none.
    #[must_use]
    pub fn new(place: Place, token: Option<Token>, limits: Limits) -> Self {
        let calls = config(limits).timeout_global(Some(limits.answer)).build();
        let streams = config(limits)
            .timeout_recv_response(Some(limits.answer))
            .timeout_per_read(Some(limits.silence))
            .build();
        let agent = |config: Config| match place.socket() {
            Some(path) => Agent::with_parts(config, UnixConnector(path.to_owned()), NoAddress),
            None => Agent::new_with_config(config),
        };
        let (calls, streams) = (agent(calls), agent(streams));
        let token = token.filter(|_| place.socket().is_none());
        Self { place, token, limits, calls, streams }
    }

    /// Where the daemon is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is at a path, such as `/v1/jobs`.
    ///
    /// # Errors
    /// See [`ClientError`]; the same for the other methods.
    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        // Asking twice changes nothing.
        match self.once(&Method::GET, path, None, None) {
            Err(ClientError::Lost { .. }) => self.once(&Method::GET, path, None, None),
            answer => answer,
        }
    }

    /// Asks for something to be done, with a body or with none. Where the connection is lost it is
    /// asked for once more with the same Idempotency-Key, so that it is still done only once.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let key = new_key();
        self.twice(&Method::POST, path, body, Some(&key))
    }

    /// Changes what is at a path. The same change twice is one change.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn patch(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.twice(&Method::PATCH, path, Some(body), None)
    }

    /// Removes what is at a path. It is asked for once: a second time it would not be there.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.once(&Method::DELETE, path, None, None).map(drop)
    }

    /// The events at a path, such as `/v1/events?job=user-articles`, as they come.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn events(&self, path: &str) -> Result<Events, ClientError> {
        let request = self.request(&Method::GET, path, None, None)?;
        let response = self.streams.run(request).map_err(|e| self.failed(e))?;
        if response.status() == 200 && kind_of(&response) == "text/event-stream" {
            let reader = response.into_body().into_reader();
            return Ok(Events::new(reader, self.place.clone(), self.limits));
        }
        // Whatever else it says is no stream of events.
        let status = response.status().as_u16();
        let kind = kind_of(&response);
        self.read(response)?;
        Err(self.strange(Strange::Type { status, kind }))
    }

    fn twice(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Value, ClientError> {
        match self.once(method, path, body, key) {
            Err(lost @ ClientError::Lost { .. }) => match self.once(method, path, body, key) {
                // The first attempt may have been taken: "unreachable" would hide that.
                Err(ClientError::Unreachable { .. } | ClientError::Denied { .. }) => Err(lost),
                answer => answer,
            },
            answer => answer,
        }
    }

    fn once(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Value, ClientError> {
        let request = self.request(method, path, body, key)?;
        let response = self.calls.run(request).map_err(|error| self.failed(error))?;
        self.read(response)
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Request<Vec<u8>>, ClientError> {
        let url = self.place.url_of(path);
        let mut request = Request::builder().method(method).uri(&url);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(Ok(mut value)) = self.token.as_ref().map(|t| HeaderValue::from_str(&t.header()))
        {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        request.body(body).map_err(|_| ClientError::url(&url, "it is too long, or no URL"))
    }

    /// The value of an answer, or the problem that it is.
    fn read(&self, response: Response<Body>) -> Result<Value, ClientError> {
        let (status, kind) = (response.status().as_u16(), kind_of(&response));
        if status == 401 {
            return Err(ClientError::Token {
                place: self.place.clone(),
                given: self.token.is_some(),
            });
        }
        let body = response.into_body().into_with_config().limit(self.limits.bytes);
        let body = body.read_to_vec().map_err(|error| self.failed(error))?;
        let broken = |error: serde_json::Error| match error.classify() {
            // Without a length an answer that was cut off looks like one that has ended.
            serde_json::error::Category::Eof => ClientError::Lost { place: self.place.clone() },
            _ => self.strange(Strange::Json { status }),
        };
        match kind.as_str() {
            "application/problem+json" => {
                let problem: Problem = serde_json::from_slice(&body).map_err(broken)?;
                Err(Box::new(Problem { status, ..problem }).into())
            }
            "application/json" if (200..300).contains(&status) => {
                serde_json::from_slice(&body).map_err(broken)
            }
            _ if status == 204 => Ok(Value::Null),
            _ => Err(self.strange(Strange::Type { status, kind })),
        }
    }

    fn strange(&self, what: Strange) -> ClientError {
        ClientError::NotRecountd { place: self.place.clone(), what }
    }

    fn failed(&self, error: ureq::Error) -> ClientError {
        failed(&self.place, self.limits, error)
    }
}

/// A part of a path, such as a job's name, as a URL writes it.
#[must_use]
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// What both kinds of requests have in common. What the environment says of proxies is for the
/// internet; the daemon is near. A redirect is not followed: the token is for this place alone.
fn config(limits: Limits) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .accept("application/json, text/event-stream, application/problem+json")
        .user_agent(concat!("recountd/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(limits.connect))
        .timeout_connect(Some(limits.connect))
}

/// The type of the content without its parameters, in lower case.
fn kind_of(response: &Response<Body>) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if kind.is_empty() { "nothing".to_owned() } else { kind.to_ascii_lowercase() }
}

/// What names one request for good. The system seeds a `RandomState`, so that no two are the same.
fn new_key() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

/// What ureq's error means to people.
fn failed(place: &Place, limits: Limits, error: ureq::Error) -> ClientError {
    let strange = |what| ClientError::NotRecountd { place: place.clone(), what };
    let unreachable = |reason: String| ClientError::Unreachable { place: place.clone(), reason };
    let slow = |limit| ClientError::Slow { place: place.clone(), limit };
    match error {
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            let limit = crate::config::duration::format(limits.connect);
            unreachable(format!("no connection within {limit}"))
        }
        ureq::Error::Timeout(Timeout::PerRead) => slow(limits.silence),
        ureq::Error::Timeout(_) => slow(limits.answer),
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => ClientError::Lost { place: place.clone() },
            // This is how rustls comes out of a read or a write.
            io::ErrorKind::InvalidData => strange(Strange::Tls(error.to_string())),
            io::ErrorKind::PermissionDenied if place.socket().is_some() => {
                ClientError::Denied { place: place.clone() }
            }
            _ => unreachable(error.to_string()),
        },
        ureq::Error::HostNotFound => unreachable("there is no such host".to_owned()),
        ureq::Error::ConnectionFailed => unreachable("no connection".to_owned()),
        ureq::Error::BodyExceedsLimit(limit) => {
            ClientError::TooLarge { place: place.clone(), limit }
        }
        ureq::Error::Rustls(error) => strange(Strange::Tls(error.to_string())),
        ureq::Error::Tls(reason) => strange(Strange::Tls(reason.to_owned())),
        _ => strange(Strange::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_not_for_us_is_told_from_a_daemon_that_is_not_there() {
        let place = Place::Socket("/run/a.sock".into());
        let told = |kind: io::ErrorKind| {
            failed(&place, Limits::default(), ureq::Error::Io(kind.into())).to_string()
        };
        let denied = told(io::ErrorKind::PermissionDenied);
        assert!(denied.starts_with("/run/a.sock: permission denied; ask as root"), "{denied}");
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused] {
            assert!(told(kind).starts_with("no daemon answers at /run/a.sock"), "{}", told(kind));
        }
    }
}
