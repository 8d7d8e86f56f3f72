//! What scripts/bench runs. Each benchmark is a subcommand that measures, prints its tables, and writes them into its
//! section of docs/benchmarks.md.
//!
//! A scheduler is measured in a process of its own, so that its CPU and memory are told from those of whoever
//! measures; that process is this program again, as `bench scheduler`.

// A benchmark that cannot set up its world has nothing to measure.
#![allow(clippy::expect_used)]

mod figures;
mod jobs;
mod machine;
mod page;
mod schedule;
mod scheduler;
mod table;
mod turn;

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
    /// One scheduler under load, measured from inside; it prints its figures as JSON.
    #[command(hide = true)]
    Scheduler(scheduler::Options),
}

fn main() {
    match Arguments::parse().benchmark {
        Benchmark::Schedule(options) => schedule::measure(&options),
        Benchmark::Scheduler(options) => scheduler::measure(&options),
    }
}
