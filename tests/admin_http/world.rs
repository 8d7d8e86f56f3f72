//! A control plane on a Unix socket and on TCP whose handler does what the tests ask for, and a client
//! that sends exactly the bytes it is given.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use recountd::admin::Admin;
use recountd::admin::door::{Door, Token};
use recountd::admin::http::{Peer, Reply, Request};
use recountd::admin::limits::Limits;
use recountd::admin::listen::{Address, Listener};
use tempfile::TempDir;

pub const TOKEN: &str = "a-token-for-the-tests";
pub const READ_TOKEN: &str = "a-token-that-only-reads";
/// More than the buffers of a connection take, of either kind.
pub const LARGE: usize = 16 << 20;
/// Longer than anything takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

pub struct World {
    pub admin: Admin,
    pub tcp: SocketAddr,
    pub unix: PathBuf,
    pub gate: Arc<Gate>,
    pub streams: Arc<AtomicUsize>,
    _folder: TempDir,
}

/// Holds what waits at it until it is opened.
#[derive(Default)]
pub struct Gate {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    pub fn open(&self) {
        self.state.lock().unwrap().0 = true;
        self.changed.notify_all();
    }

    /// Waits until so many have come to the gate.
    pub fn waits_for(&self, comers: usize) {
        let state = self.state.lock().unwrap();
        let (_now, late) =
            self.changed.wait_timeout_while(state, SOON, |(_, came)| *came < comers).unwrap();
        assert!(!late.timed_out(), "{comers} came to the gate");
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        drop(self.changed.wait_timeout_while(state, SOON * 3, |(open, _)| !*open).unwrap());
    }
}

/// Counts the streams that are there.
struct Ticks(Arc<AtomicUsize>);

impl Iterator for Ticks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        std::thread::sleep(Duration::from_millis(20));
        Some(b":\n\n".to_vec())
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn handle(request: &Request, gate: &Gate, streams: &Arc<AtomicUsize>) -> Reply {
    let body = || String::from_utf8_lossy(&request.body).into_owned();
    match request.path.as_str() {
        "/" | "/healthz" => Reply::text(200, "open"),
        "/echo" => {
            let query = request.query.as_deref().unwrap_or("-");
            Reply::text(200, format!("{:?} {query} {}", request.method, body()))
        }
        "/peer" => Reply::text(200, if request.peer == Peer::Unix { "unix" } else { "tcp" }),
        "/secret" => Reply::text(200, request.header("authorization").unwrap_or("none")),
        "/large" => Reply::whole(200, "application/octet-stream", vec![b'x'; LARGE]),
        "/chunk" => Reply::events(Box::new(std::iter::repeat_n(vec![b'x'; LARGE], 1))),
        "/empty" => Reply::empty(204),
        "/panic" => panic!("as the test asked"),
        "/split" => Reply::text(200, "x").with("X-Split", "a\r\nb: c"),
        "/status" => Reply::empty(101),
        "/gate" => {
            gate.pass();
            Reply::text(200, "through")
        }
        "/three" => {
            let chunks = ["one", "", "two", "three"].map(|c| c.as_bytes().to_vec());
            Reply::events(Box::new(chunks.into_iter()))
        }
        "/broken" => {
            let parts = [true, false].into_iter();
            Reply::events(Box::new(parts.map(|well| {
                assert!(well, "as the test asked");
                b"begun".to_vec()
            })))
        }
        "/ticks" => {
            streams.fetch_add(1, Ordering::SeqCst);
            Reply::events(Box::new(Ticks(Arc::clone(streams))))
        }
        _ => Reply::text(404, "no such path"),
    }
}

pub fn world(limits: Limits) -> World {
    let folder = tempfile::tempdir().unwrap();
    let unix = folder.path().join("admin.sock");
    let tcp = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = tcp.tcp_address().unwrap();
    let listeners = vec![tcp, Listener::bind(&Address::Unix(unix.clone())).unwrap()];
    let hosts = ["counts.example".to_owned()];
    let door = Door::new(Some(Token::new(TOKEN).unwrap()), &[address], &hosts)
        .with_read_token(Some(Token::new(READ_TOKEN).unwrap()));
    let (gate, streams) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let (their_gate, their_streams) = (Arc::clone(&gate), Arc::clone(&streams));
    let handler = Arc::new(move |request: &Request| handle(request, &their_gate, &their_streams));
    let admin = Admin::start(listeners, door, handler, limits).unwrap();
    World { admin, tcp: address, unix, gate, streams, _folder: folder }
}

impl World {
    pub fn over_unix(&self) -> Client {
        let stream = UnixStream::connect(&self.unix).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        Client { stream: Stream::Unix(stream), heard: Vec::new() }
    }

    pub fn over_tcp(&self) -> Client {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: Stream::Tcp(stream), heard: Vec::new() }
    }

    /// One client of each kind.
    pub fn both(&self) -> [Client; 2] {
        [self.over_unix(), self.over_tcp()]
    }

    /// A request that anybody lets in, with more header fields or none.
    pub fn request(&self, line: &str, fields: &str) -> String {
        let host = self.tcp;
        format!("{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n{fields}\r\n")
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

pub struct Client {
    stream: Stream,
    heard: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let named =
            |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().skip(1).find(named).map(|line| line.split_once(':').unwrap().1.trim())
    }

    /// The kind of the problem document that this is.
    #[track_caller]
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(document["status"], self.status);
        assert!(document["title"].is_string() && document["detail"].is_string());
        let kind = document["type"].as_str().unwrap();
        kind.strip_prefix("urn:recountd:problem:").unwrap().to_owned()
    }
}

impl Client {
    /// Sends what the other side takes; it may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        match &mut self.stream {
            Stream::Unix(s) => s.write_all(bytes.as_ref()),
            Stream::Tcp(s) => s.write_all(bytes.as_ref()),
        }
        .is_ok()
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes), "it takes what is sent");
    }

    /// Says that nothing more comes.
    pub fn finish(&self) {
        match &self.stream {
            Stream::Unix(s) => s.shutdown(Shutdown::Write).ok(),
            Stream::Tcp(s) => s.shutdown(Shutdown::Write).ok(),
        };
    }

    /// Reads once; false at the end.
    fn hear(&mut self) -> bool {
        let mut bytes = [0; 65536];
        let read = match &mut self.stream {
            Stream::Unix(s) => s.read(&mut bytes),
            Stream::Tcp(s) => s.read(&mut bytes),
        };
        match read {
            Ok(count) => {
                self.heard.extend_from_slice(&bytes[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("neither an answer nor an end within {SOON:?}")
            }
            Err(_) => false,
        }
    }

    /// Reads a little, now and then, for so long; what it has heard until then stays there.
    pub fn trickle(&mut self, for_so_long: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < for_so_long {
            let mut bytes = [0; 4096];
            let read = match &mut self.stream {
                Stream::Unix(s) => s.read(&mut bytes),
                Stream::Tcp(s) => s.read(&mut bytes),
            };
            self.heard.extend_from_slice(&bytes[..read.unwrap_or(0)]);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that comes until the end.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.hear() {}
        std::mem::take(&mut self.heard)
    }

    /// Whether so many more bytes come.
    pub fn rest_of(&mut self, count: usize) -> bool {
        self.take(count).len() == count
    }

    /// Whether the other side closes, without another word.
    pub fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    fn take_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.heard.windows(end.len()).position(|window| window == end) {
                let rest = self.heard.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.heard, rest));
            }
            if !self.hear() {
                return None;
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.heard.len() < count {
            assert!(self.hear(), "the body is all there");
        }
        let rest = self.heard.split_off(count);
        std::mem::replace(&mut self.heard, rest)
    }

    /// The head of the next answer; none if the connection was closed instead.
    pub fn head(&mut self) -> Option<Answer> {
        let head = String::from_utf8(self.take_until(b"\r\n\r\n")?).unwrap();
        assert!(head.starts_with("HTTP/1.1 "), "{head}");
        Some(Answer { status: head[9..12].parse().unwrap(), head, body: String::new() })
    }

    /// The next chunk of a body; none at its end.
    pub fn chunk(&mut self) -> Option<String> {
        let size = String::from_utf8(self.take_until(b"\r\n").unwrap()).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let chunk = String::from_utf8(self.take(size)).unwrap();
        assert_eq!(self.take(2), b"\r\n");
        (size > 0).then_some(chunk)
    }

    /// The next answer; none if the connection was closed instead.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let mut answer = self.head()?;
        if answer.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk() {
                answer.body.push_str(&chunk);
            }
        } else {
            let length = answer.header("content-length").map_or(0, |l| l.parse().unwrap());
            answer.body = String::from_utf8(self.take(length)).unwrap();
        }
        Some(answer)
    }

    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }
}

/// Waits for what comes in its own time.
#[track_caller]
pub fn becomes(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
