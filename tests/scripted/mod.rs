//! A server that says what a test wants it to say, on a real socket.

// Every test binary compiles its own copy of this module and uses only a part of it.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;

use recountd::client::Place;
use serde_json::Value;
use tempfile::TempDir;

pub trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

/// What the server does with one connection once it has read the request.
pub type Answer = Box<dyn FnOnce(&mut dyn Line) + Send>;

/// Says these bytes and hangs up.
pub fn says(text: impl Into<Vec<u8>>) -> Answer {
    let text = text.into();
    Box::new(move |line| {
        // The client may have had enough before the end.
        let _ = line.write_all(&text);
    })
}

/// Says these bytes and then nothing until the client hangs up.
pub fn says_and_waits(text: &str) -> Answer {
    let text = text.to_owned();
    Box::new(move |line| {
        let _ = line.write_all(text.as_bytes());
        let _ = line.read(&mut [0]);
    })
}

pub fn answers(status: &str, kind: &str, body: &str) -> Answer {
    let length = body.len();
    says(format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

pub fn ok(body: &Value) -> Answer {
    answers("200 OK", "application/json", &body.to_string())
}

#[derive(Clone, Copy, PartialEq)]
pub enum On {
    Unix,
    Tcp,
}

/// A server that gives each connection its answer, in this order, and then is gone.
pub struct Server {
    pub place: Place,
    requests: Arc<Mutex<Vec<String>>>,
    thread: Option<thread::JoinHandle<()>>,
    _folder: TempDir,
}

impl Server {
    pub fn start(on: On, answers: Vec<Answer>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&requests);
        let (place, thread) = match on {
            On::Unix => {
                let path = folder.path().join("admin.sock");
                let listener = UnixListener::bind(&path).unwrap();
                let serve = move || serve(|| listener.accept().unwrap().0, answers, &asked);
                (Place::Socket(path), thread::spawn(serve))
            }
            On::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let url = format!("http://{}", listener.local_addr().unwrap());
                let serve = move || serve(|| listener.accept().unwrap().0, answers, &asked);
                (Place::parse(&url).unwrap(), thread::spawn(serve))
            }
        };
        Self { place, requests, thread: Some(thread), _folder: folder }
    }

    /// The requests that came, once all the answers are given.
    pub fn requests(mut self) -> Vec<String> {
        self.thread.take().unwrap().join().unwrap();
        self.requests.lock().unwrap().clone()
    }
}

fn serve<S: Line>(accept: impl Fn() -> S, answers: Vec<Answer>, asked: &Mutex<Vec<String>>) {
    for answer in answers {
        let mut stream = accept();
        asked.lock().unwrap().push(read_request(&mut stream));
        answer(&mut stream);
    }
}

/// The head in lower case, and the body as it is.
fn read_request(stream: &mut dyn Line) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the request is whole");
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let (first, rest) = head.split_once("\r\n").unwrap();
    let head = format!("{first}\r\n{}", rest.to_lowercase());
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

pub fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    request.lines().find_map(value)
}
