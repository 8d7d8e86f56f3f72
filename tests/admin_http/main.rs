//! The HTTP part of the control plane, over real sockets: what it answers, whom it lets in, how long it
//! waits, and what it leaves behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod access;
mod depth;
mod noise;
mod patience;
mod protocol;
mod room;
mod sockets;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod world;
