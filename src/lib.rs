//! recountd recounts Redis counters from MySQL on a schedule, while the app keeps writing.
//!
//! The modules in reading order: first the core, which is told everything and does nothing, then
//! the shell, which does what the core decides.

// ── core: no IO, no clock, no threads, no log ──
pub mod config;
pub mod schedule;
pub mod agenda;
pub mod reconcile;
pub mod report;

// ── shell ──
pub mod cli;
pub mod client;
pub mod load;
pub mod daemon;
pub mod ask;
pub mod board;
pub mod metrics;
pub mod ping;
pub mod admin;
pub mod api;
pub mod pool;
pub mod jobs;
pub mod stores;
pub mod state;
pub mod journal;
pub mod signals;
pub mod notify;
pub mod clock;
