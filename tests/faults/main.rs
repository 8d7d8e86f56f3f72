//! What goes wrong with servers, networks and recountd itself, on real servers: killed, frozen, full, mute, late. After
//! each fault nothing is deleted that MySQL has, no increment is lost or applied twice, and the next run ends clean.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod mysql;
mod observer;
mod process;
mod redis;
#[path = "../support/mod.rs"]
mod support;
mod trial;
mod wire;
