//! The API against the real binary and real servers: what it gives, what it changes and keeps, what it refuses, and
//! that the daemon stays right while it is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adding;
mod beside_file;
mod crowd;
mod errors;
mod events;
mod health;
mod house;
mod jobs;
mod leftover;
mod old_routes;
mod openapi;
mod overdue;
mod pause;
mod retries;
mod runs;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
