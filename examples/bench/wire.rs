//! The shortest way to Redis: commands written by hand, several of them on their way at a time. What it takes is what
//! Redis takes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// Commands on their way at a time: enough that Redis never waits for the next one.
const IN_FLIGHT: usize = 4;

/// A connection.
pub struct Wire {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
    line: Vec<u8>,
}

/// A command that is being written.
#[derive(Default)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Wire {
    /// To the Redis on this port of this machine.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("Redis listens");
        stream.set_nodelay(true).expect("TCP takes the option");
        let second = stream.try_clone().expect("a socket can be shared");
        Self { stream, replies: BufReader::with_capacity(1 << 16, second), line: Vec::new() }
    }

    /// Sends what `encode` makes of each item, and gives each reply's elements to `take`, with their item.
    pub fn pipeline<T>(
        &mut self,
        items: impl Iterator<Item = T> + Clone,
        encode: impl Fn(&mut Request, &T),
        mut take: impl FnMut(&T, Vec<Element>),
    ) {
        let mut request = Request::default();
        let mut ahead = items.clone();
        let mut send = |stream: &mut TcpStream| {
            let Some(item) = ahead.next() else { return };
            request.bytes.clear();
            encode(&mut request, &item);
            stream.write_all(&request.bytes).expect("Redis takes commands");
        };
        for _ in 0..IN_FLIGHT {
            send(&mut self.stream);
        }
        for item in items {
            let reply = self.reply();
            send(&mut self.stream);
            take(&item, reply);
        }
    }

    /// A reply of one level: one element, or an array of them.
    fn reply(&mut self) -> Vec<Element> {
        self.read_line();
        match self.line.strip_prefix(b"*") {
            Some(count) => (0..number(count)).map(|_| self.element()).collect(),
            None => vec![self.element_of_line()],
        }
    }

    fn element(&mut self) -> Element {
        self.read_line();
        self.element_of_line()
    }

    /// Whole numbers and nothing else are expected, be they integers or bulk strings.
    fn element_of_line(&mut self) -> Element {
        if let Some(value) = self.line.strip_prefix(b":") {
            return Some(number(value));
        }
        if self.line == b"$-1" {
            return None;
        }
        let text = || String::from_utf8_lossy(&self.line).into_owned();
        assert!(self.line.starts_with(b"$"), "Redis answered {}", text());
        self.read_line();
        Some(number(&self.line))
    }

    fn read_line(&mut self) {
        self.line.clear();
        self.replies.read_until(b'\n', &mut self.line).expect("Redis answers");
        let end = self.line.len().saturating_sub(2);
        self.line.truncate(end);
    }
}

/// A whole number, or nil.
pub type Element = Option<u64>;

impl Request {
    /// Begins a command of so many words.
    pub fn begin(&mut self, words: u64) {
        self.line(b'*', words);
    }

    pub fn text(&mut self, word: &str) {
        self.line(b'$', word.len() as u64);
        self.bytes.extend_from_slice(word.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn number(&mut self, word: u64) {
        self.line(b'$', u64::from(word.checked_ilog10().unwrap_or(0)) + 1);
        write!(self.bytes, "{word}\r\n").expect("a buffer takes all");
    }

    fn line(&mut self, kind: u8, length: u64) {
        self.bytes.push(kind);
        write!(self.bytes, "{length}\r\n").expect("a buffer takes all");
    }
}

/// Of digits; anything else is no counter of this benchmark, and is told apart from all that are.
fn number(digits: &[u8]) -> u64 {
    let step = |sum: u64, digit: &u8| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    };
    digits.iter().try_fold(0, step).unwrap_or(u64::MAX)
}
