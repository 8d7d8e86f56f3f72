//! What both stores' errors have in common: the server, the reason, the way out.

use std::fmt;

use crate::config::Server;

/// What can go wrong with one kind of store.
pub trait Kind: fmt::Display {
    /// The store's name, as people write it.
    const STORE: &'static str;

    /// The way out, in a few words.
    fn help(&self) -> &'static str;

    /// Whether a later attempt may succeed without anybody changing anything (S9).
    fn is_passing(&self) -> bool;
}

/// An error of one server. `Display` is one line: the server, the reason, the way out.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreError<K> {
    server: String,
    url: String,
    /// What went wrong.
    pub kind: K,
}

impl<K: Kind> StoreError<K> {
    /// An error of `server`; the library's own errors can be given as they are.
    #[must_use]
    pub fn new(server: &Server, kind: impl Into<K>) -> Self {
        Self { server: server.name.clone(), url: server.url.to_string(), kind: kind.into() }
    }

    /// Whether a later attempt may succeed without anybody changing anything (S9).
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.kind.is_passing()
    }
}

impl<K: Kind> fmt::Display for StoreError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, url, kind } = self;
        write!(f, "{} {server} ({url}): {kind}; {}", K::STORE, kind.help())
    }
}

impl<K: Kind + fmt::Debug> std::error::Error for StoreError<K> {}
