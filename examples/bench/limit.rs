//! What bounds a run: each store alone, asked for all that a run needs of it, as fast as it can.
//!
//! Redis's part needs no MySQL, because ids and values of the counters follow from their number.

use std::ops::Range;

use ::mysql::prelude::Queryable;
use ::mysql::{Conn, Opts, OptsBuilder};
use clap::{Args, Subcommand};

use crate::support::redis_server;
use crate::wire::{Request, Wire};

/// The counters.
pub const KEY: &str = "count:user:arts";
/// The table of truth.
pub const TABLE: &str = "user_stats";
/// The truth.
pub const QUERY: &str = "SELECT user_id, articles FROM user_stats";
/// The same as [`id`] and [`value`], of a column `seq`.
pub const COLUMNS: &str = "seq * 3 + 7, 1 + (seq * 7919) % 1000";

/// Members in a command that reads, and in one that writes with a script, as recountd has them at most.
const READ: u64 = 250;
const WRITTEN: u64 = 50;

/// The least that sets a counter if it is nil: of recountd's own script only what this case needs.
const FILL: &str = "local done = 0
for i = 1, #ARGV, 2 do
  if not redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    done = done + redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
  end
end
return done";

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    store: Store,
}

#[derive(Subcommand)]
enum Store {
    /// Streams the query's rows and counts them.
    Mysql { url: String },
    /// Reads every counter and compares it.
    Compare { port: u16, counters: u64 },
    /// Writes every counter by a script, if it is nil.
    Fill { port: u16, counters: u64 },
    /// Writes every counter by ZADD NX, which cannot say which of them were not nil.
    Add { port: u16, counters: u64 },
}

/// Prints how many rows were streamed, counters are wrong, or counters were written.
pub fn reach(options: &Options) {
    let figure = match &options.store {
        Store::Mysql { url } => stream(url),
        Store::Compare { port, counters } => wrong(*port, *counters),
        Store::Fill { port, counters } => fill(*port, *counters),
        Store::Add { port, counters } => add(*port, *counters),
    };
    println!("{figure}");
}

/// The id of the counter of this number, from 1 on.
pub fn id(number: u64) -> u64 {
    number * 3 + 7
}

/// Its truth.
pub fn value(number: u64) -> u64 {
    1 + (number * 7919) % 1000
}

fn stream(url: &str) -> u64 {
    let opts = OptsBuilder::from_opts(Opts::from_url(url).expect("a URL")).prefer_socket(false);
    let mut conn = Conn::new(opts).expect("MySQL answers");
    let statement = conn.prep(QUERY).expect("the query is right");
    let rows = conn.exec_iter(&statement, ()).expect("the query runs");
    rows.fold(0, |count, row| row.map(|_| count + 1).expect("the stream does not break"))
}

/// How many counters differ from the truth.
pub fn wrong(port: u16, counters: u64) -> u64 {
    let mut wrong = 0;
    let read = |request: &mut Request, numbers: &Range<u64>| {
        request.begin(2 + numbers.end - numbers.start);
        request.text("ZMSCORE");
        request.text(KEY);
        numbers.clone().for_each(|number| request.number(id(number)));
    };
    Wire::connect(port).pipeline(batches(counters, READ), read, |numbers, scores| {
        let pairs = numbers.clone().zip(scores);
        wrong += pairs.filter(|(number, score)| *score != Some(value(*number))).count() as u64;
    });
    wrong
}

fn fill(port: u16, counters: u64) -> u64 {
    let script = redis::Script::new(FILL);
    let loaded = script
        .prepare_invoke()
        .load(&mut redis_server::connect(&format!("redis://127.0.0.1:{port}/0")));
    loaded.expect("the script is right");
    let mut done = 0;
    let write = |request: &mut Request, numbers: &Range<u64>| {
        request.begin(4 + 2 * (numbers.end - numbers.start));
        request.text("EVALSHA");
        request.text(script.get_hash());
        request.number(1);
        request.text(KEY);
        for number in numbers.clone() {
            request.number(id(number));
            request.number(value(number));
        }
    };
    Wire::connect(port).pipeline(batches(counters, WRITTEN), write, |_, reply| {
        done += reply.into_iter().flatten().sum::<u64>();
    });
    done
}

/// Writes every counter that is nil; how many were.
pub fn add(port: u16, counters: u64) -> u64 {
    let mut done = 0;
    let write = |request: &mut Request, numbers: &Range<u64>| {
        request.begin(3 + 2 * (numbers.end - numbers.start));
        request.text("ZADD");
        request.text(KEY);
        request.text("NX");
        for number in numbers.clone() {
            request.number(value(number));
            request.number(id(number));
        }
    };
    Wire::connect(port).pipeline(batches(counters, WRITTEN), write, |_, reply| {
        done += reply.into_iter().flatten().sum::<u64>();
    });
    done
}

/// The numbers of all counters, so many at a time.
fn batches(counters: u64, size: u64) -> impl Iterator<Item = Range<u64>> + Clone {
    let starts = (0..counters.div_ceil(size)).map(move |batch| 1 + batch * size);
    starts.map(move |first| first..(first + size).min(counters + 1))
}
