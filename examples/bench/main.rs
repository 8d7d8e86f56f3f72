//! What scripts/bench runs. Each benchmark is a subcommand that measures, prints its tables, and writes them into its
//! section of docs/benchmarks.md.
//!
//! What is measured runs in a process of its own, so that its CPU and memory are told from those of whoever measures.
//! Where that is no program of its own, it is this one again, as `bench scheduler`, `bench limit`,
//! `bench besieged` and `bench crowd`.

// A benchmark that cannot set up its world has nothing to measure.
#![allow(clippy::expect_used)]

mod admin;
mod figures;
mod jobs;
mod limit;
mod machine;
mod page;
mod process;
mod reconcile;
mod schedule;
mod scheduler;
mod starts;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod turn;
mod wire;

use clap::{Parser, Subcommand};

/// Measures recountd; scripts/bench prepares what it needs and runs it.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// How late jobs start that are due together, beside APScheduler, and what one turn of the loop costs.
    Schedule(schedule::Options),
    /// How long a run over so many counters takes and what it costs, beside the old way and its limits.
    Reconcile(reconcile::Options),
    /// How late jobs start while a crowd is at the control plane.
    Admin(admin::Options),
    /// The daemon that has a crowd at its control plane.
    #[command(hide = true)]
    Besieged(admin::besieged::Options),
    /// The crowd.
    #[command(hide = true)]
    Crowd(admin::crowd::Options),
    /// One scheduler under load, measured from inside; it prints its figures as JSON.
    #[command(hide = true)]
    Scheduler(scheduler::Options),
    /// What bounds a run: one store alone, as fast as it can.
    #[command(hide = true)]
    Limit(limit::Options),
}

fn main() {
    match Arguments::parse().benchmark {
        Benchmark::Schedule(options) => schedule::measure(&options),
        Benchmark::Reconcile(options) => reconcile::measure(&options),
        Benchmark::Admin(options) => admin::measure(&options),
        Benchmark::Besieged(options) => admin::besieged::run(&options),
        Benchmark::Crowd(options) => admin::crowd::gather(&options),
        Benchmark::Scheduler(options) => scheduler::measure(&options),
        Benchmark::Limit(options) => limit::reach(&options),
    }
}
