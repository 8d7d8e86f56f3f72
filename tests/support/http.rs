//! A small HTTP client for the control plane: one request a connection, over a Unix socket or TCP, and a reader of
//! server-sent events. It is its own and not the product's, so that both cannot be wrong in the same way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a whole answer may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked of one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    place: Place,
    token: Option<String>,
}

#[derive(Clone, Debug)]
enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Client {
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { place: Place::Unix(path.into()), token: None }
    }

    pub fn tcp(address: SocketAddr, token: &str) -> Self {
        Self { place: Place::Tcp(address), token: Some(token.to_owned()) }
    }

    /// A client over TCP that shows no token.
    pub fn bare(address: SocketAddr) -> Self {
        Self { place: Place::Tcp(address), token: None }
    }

    /// The address of a client over TCP.
    pub fn address(&self) -> SocketAddr {
        match &self.place {
            Place::Tcp(address) => *address,
            Place::Unix(path) => panic!("{} is no address", path.display()),
        }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], None)
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, &[], None)
    }

    /// A POST without a body.
    #[track_caller]
    pub fn post(&self, path: &str) -> Response {
        self.send("POST", path, &[], None)
    }

    #[track_caller]
    pub fn post_json(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, &[], Some(&body.to_string()))
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: &Value) -> Response {
        self.send("PATCH", path, &[], Some(&body.to_string()))
    }

    /// A POST that may be sent again.
    #[track_caller]
    pub fn post_once(&self, path: &str, key: &str, body: Option<&Value>) -> Response {
        let body = body.map(Value::to_string);
        self.send("POST", path, &[("Idempotency-Key", key)], body.as_deref())
    }

    /// Any request. A body is said to be JSON unless `headers` say something else.
    #[track_caller]
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path} is not answered: {error}"))
    }

    /// As [`Self::send`], for a daemon that may not be there.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> io::Result<Response> {
        let mut stream = self.connect()?;
        stream.timeout(PATIENCE)?;
        stream.write_all(self.request(method, path, headers, body).as_bytes())?;
        let (end, mut bytes, mut part) = (Instant::now() + PATIENCE, Vec::new(), [0; 16 * 1024]);
        loop {
            if Instant::now() > end {
                return Err(ErrorKind::TimedOut.into());
            }
            match stream.read(&mut part)? {
                0 => return Response::parse(&bytes, method == "HEAD"),
                count => bytes.extend_from_slice(&part[..count]),
            }
        }
    }

    /// Listens to the events; the answer has to be a stream.
    #[track_caller]
    pub fn events(&self, path: &str) -> Events {
        self.try_events(path).unwrap_or_else(|head| panic!("{path}: {head}"))
    }

    /// The same where there may be no place for another stream; then the head of the answer.
    #[track_caller]
    pub fn try_events(&self, path: &str) -> Result<Events, String> {
        let mut stream = self.connect().expect("the daemon listens");
        let request = self.request("GET", path, &[("Accept", "text/event-stream")], None);
        stream.write_all(request.as_bytes()).expect("the daemon reads");
        let mut events = Events { stream, raw: Vec::new(), text: String::new() };
        let end = Instant::now() + PATIENCE;
        let head = loop {
            if let Some(at) = find(&events.raw, b"\r\n\r\n") {
                break events.raw.drain(..at + 4).collect::<Vec<u8>>();
            }
            assert!(events.read(end), "{path}: no head of an answer");
        };
        let head = String::from_utf8(head).expect("the head is text").to_ascii_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            return Err(head);
        }
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        Ok(events)
    }

    fn connect(&self) -> io::Result<Stream> {
        Ok(match &self.place {
            Place::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Place::Tcp(address) => Stream::Tcp(TcpStream::connect_timeout(address, PATIENCE)?),
        })
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> String {
        let host = match &self.place {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Tcp(address) => address.to_string(),
        };
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        if let Some(token) = &self.token {
            text.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                text.push_str("Content-Type: application/json\r\n");
            }
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        } else if ["POST", "PATCH", "PUT"].contains(&method) {
            text.push_str("Content-Length: 0\r\n");
        }
        text.push_str("\r\n");
        text.push_str(body.unwrap_or_default());
        text
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    fn parse(bytes: &[u8], is_head: bool) -> io::Result<Self> {
        let bad =
            |what: &str| io::Error::new(ErrorKind::InvalidData, format!("{what} in {bytes:?}"));
        let end = find(bytes, b"\r\n\r\n").ok_or_else(|| bad("no end of the head"))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| bad("no status"))?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let body = String::from_utf8(bytes[end + 4..].to_vec()).map_err(|_| bad("no UTF-8"))?;
        let response = Self { status, headers, body };
        // Nothing may be missing at its end.
        let length = response.header("content-length").and_then(|n| n.parse::<usize>().ok());
        match length {
            Some(length) if !is_head && length != response.body.len() => Err(bad("a wrong length")),
            _ => Ok(response),
        }
    }

    /// A header field, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body, which has to be JSON and to be called so.
    #[track_caller]
    pub fn json(&self) -> Value {
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/") && kind.contains("json"), "{self:#?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:#?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem document of an answer with this status and of this kind; gives it whole.
    #[track_caller]
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{self:#?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:#?}");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:recountd:problem:{kind}"), "{problem:#}");
        assert_eq!(problem["status"], status, "{problem:#}");
        for member in ["title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{problem:#}");
        }
        problem
    }
}

/// One event of a stream.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: Option<u64>,
    pub kind: String,
    pub data: Value,
}

/// A stream of events. Comments are passed over.
pub struct Events {
    stream: Stream,
    raw: Vec<u8>,
    text: String,
}

impl Events {
    /// The next event; `None` if the stream ends or the deadline passes first.
    pub fn next(&mut self, deadline: Duration) -> Option<Event> {
        let end = Instant::now() + deadline;
        loop {
            while let Some(at) = self.text.find("\n\n") {
                let block: String = self.text.drain(..at + 2).collect();
                if let Some(event) = Event::parse(&block) {
                    return Some(event);
                }
            }
            if !self.unchunk() && !self.read(end) {
                return None;
            }
        }
    }

    /// The next event that is wanted; those before it are passed over.
    #[track_caller]
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let (end, mut seen) = (Instant::now() + PATIENCE, Vec::new());
        while let Some(event) = self.next(end.saturating_duration_since(Instant::now())) {
            if wanted(&event) {
                return event;
            }
            seen.push(event);
        }
        panic!("no event for {what:?}, only {seen:#?}");
    }

    /// Takes one whole chunk off, if there is one.
    fn unchunk(&mut self) -> bool {
        let Some(line) = find(&self.raw, b"\r\n") else { return false };
        let size = String::from_utf8_lossy(&self.raw[..line]).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk begins with its size");
        let (begin, whole) = (line + 2, line + 2 + size + 2);
        if size == 0 || self.raw.len() < whole {
            return false;
        }
        let chunk = self.raw.drain(..whole).skip(begin).take(size).collect();
        self.text.push_str(&String::from_utf8(chunk).expect("events are text"));
        true
    }

    /// Reads on; false at the end of the stream or of the time.
    fn read(&mut self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.stream.timeout(left).expect("a time-out can be set");
        let mut part = [0; 16 * 1024];
        match self.stream.read(&mut part) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.raw.extend_from_slice(&part[..count]);
                true
            }
        }
    }
}

impl Event {
    fn parse(block: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim_start)
        };
        let kind = field("event")?.to_owned();
        let data = serde_json::from_str(field("data").expect("an event has data"));
        let id = field("id").map(|id| id.parse().expect("an id is a number"));
        Some(Self { id, kind, data: data.expect("data is JSON") })
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn timeout(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(time)).and(stream.set_write_timeout(Some(time)))
            }
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(time)).and(stream.set_write_timeout(Some(time)))
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
