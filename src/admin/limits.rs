//! How much, how many and how long: what a listener grants its clients.

use std::time::Duration;

/// The bounds of each listener; where it says so, of all of them together. The defaults are those of the product; tests have less patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, which is also the number of threads; 1 or more.
    pub connections: usize,
    /// Of these, at most so many event streams.
    pub streams: usize,
    /// Bytes of a request line.
    pub start_line: usize,
    /// Bytes of all header fields of a request together.
    pub header_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Bytes of replies that are being sent, of all listeners together. As many may wait for that; a reply
    /// that is larger than all of this is sent alone.
    pub replies: usize,
    /// A reply of fewer bytes is always sent, and not counted.
    pub small_reply: usize,
    /// Bytes per second at which a reply is taken at least: its time is `patience.reply` and its length at
    /// this pace, 63 s for 13 MiB. 1 or more.
    pub pace: usize,
    /// How long what is waited for.
    pub patience: Patience,
}

impl Limits {
    /// How long a client may take for so many bytes.
    #[must_use]
    pub fn time_for(&self, bytes: usize) -> Duration {
        let pace = u32::try_from(self.pace.max(1)).unwrap_or(u32::MAX);
        self.patience.reply + Duration::from_secs(bytes as u64) / pace
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            streams: 32,
            start_line: 8 * 1024,
            header_bytes: 16 * 1024,
            headers: 64,
            body: 64 * 1024,
            replies: 64 * 1024 * 1024,
            small_reply: 256 * 1024,
            pace: 256 * 1024,
            patience: Patience::default(),
        }
    }
}

/// How long a client may take. All of these are absolute: a byte now and then buys no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the acceptance of a connection to the first byte of its first request.
    pub first: Duration,
    /// From a reply to the first byte of the next request.
    pub idle: Duration,
    /// From the first byte of a request to its last.
    pub request: Duration,
    /// For taking a whole reply, or one chunk of a stream, beside what its length takes at `Limits::pace`.
    pub reply: Duration,
    /// Until there is room for a reply among those that are being sent; after that it is a 503.
    pub room: Duration,
    /// For taking a reply while others wait outside; after that its client makes room for them.
    pub stuck: Duration,
    /// For what a client still sends when its connection is being closed.
    pub linger: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            request: Duration::from_secs(5),
            reply: Duration::from_secs(10),
            room: Duration::from_secs(1),
            stuck: Duration::from_secs(1),
            linger: Duration::from_secs(1),
        }
    }
}
