#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! The watch (R3) and the sampling (R5) against an app that is simulated on a virtual clock.
//!
//! `RECOUNTD_SEEDS=1000000 cargo test --release --test protocol -- --nocapture` tries more seeds
//! and shows the figures.

mod protocol_sim;

use protocol_sim::SECOND;
use protocol_sim::sampling::sample;
use protocol_sim::tally::{each_seed, seeds};
use protocol_sim::traffic::{Model, Traffic};
use protocol_sim::watching::{Plan, watch};
use protocol_sim::world::World;
use recountd::reconcile::{Amount, Proof};

/// How long an app has to live for a watch, and for the sampling.
const SHORT: u64 = 12 * SECOND;
const LONG: u64 = 45 * SECOND;

/// Half of the seeds are any app, half are one that comes close to breaking a rule.
fn traffic(seed: u64, random: &mut fastrand::Rng) -> Traffic {
    if seed.is_multiple_of(2) { Traffic::any(random) } else { Traffic::spiteful(random) }
}

/// The seeds that make a watch write though no increment was lost.
fn false_watches(plan: Plan, count: u64) -> Vec<(u64, Traffic)> {
    each_seed(count, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let traffic = traffic(seed, &mut random);
        let mut world = World::new(&traffic, 0, 0.0, SHORT, &mut random);
        watch(&mut world, &mut random, plan).map(|_| (seed, traffic))
    })
}

#[test]
fn without_a_loss_a_watch_writes_nothing() {
    let count = seeds(20_000);
    let wrong = false_watches(Plan::WHOLE, count);
    println!("R3 without a loss: {} of {count} watches wrote", wrong.len());
    assert!(wrong.is_empty(), "{:?}", &wrong[..wrong.len().min(5)]);
}

#[test]
fn without_a_loss_sampling_writes_nothing() {
    // Without optimization a sampling takes ten times as long.
    let count = seeds(20_000);
    let wrong = each_seed(count, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let traffic = traffic(seed, &mut random);
        let mut world = World::new(&traffic, 0, 0.0, LONG, &mut random);
        sample(&mut world, &mut random).correction.map(|correction| (seed, traffic, correction))
    });
    println!("R5 without a loss: {} of {count} samplings wrote", wrong.len());
    assert!(wrong.is_empty(), "{:?}", &wrong[..wrong.len().min(5)]);
}

#[test]
fn weaker_watches_do_write_without_a_loss() {
    let count = seeds(5_000);
    let two = false_watches(Plan::TWO_READINGS, count).len();
    println!("two equal readings: {two} of {count} watches wrote");
    assert!(two > 0);
    // One snapshot misses what a toggle does between two readings.
    let toggles = |plan: Plan| {
        each_seed(count, |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let model = Model::Pairs { apart: 40_000 };
            let traffic = Traffic { model, ..Traffic::plain(0.6, 50_000) };
            let mut world = World::new(&traffic, 0, 0.0, SHORT, &mut random);
            watch(&mut world, &mut random, plan)
        })
        .len()
    };
    let rhythm = Plan { random: false, ..Plan::ONE_SNAPSHOT };
    let dense = Plan { denser: 4, ..Plan::ONE_SNAPSHOT };
    let double = Plan { snapshots: 2, ..Plan::WHOLE };
    let plans = [rhythm, Plan::ONE_SNAPSHOT, dense, double, Plan::WHOLE];
    let [rhythm, one, dense, double, whole] = plans.map(toggles);
    println!("toggles, of {count}: even readings {rhythm}, random {one}, 4 times as many {dense},");
    println!("    two snapshots {double}, three {whole}");
    assert!(one > 0);
    assert_eq!(whole, 0);
}

#[test]
fn a_plain_majority_does_write_without_a_loss() {
    let count = seeds(500);
    let wrong = each_seed(count, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let traffic = traffic(seed, &mut random);
        let mut world = World::new(&traffic, 0, 0.0, LONG, &mut random);
        let plain = sample(&mut world, &mut random).plain;
        let first = plain.get(..8)?;
        let same = |value: i64| first.iter().filter(|v| **v == value).count();
        first.iter().any(|value| *value != 0 && same(*value) >= 6).then_some(())
    });
    println!("6 of 8 samples that agree: {} of {count} wrote", wrong.len());
    assert!(!wrong.is_empty());
}

#[test]
fn what_a_watch_writes_is_exact_and_it_does_write() {
    let drift_of = |random: &mut fastrand::Rng| [-200, -3, -1, 1, 2, 5][random.usize(0..6)];
    let count = seeds(5_000);
    // Whatever the app does, nothing is written but the truth.
    let wrong = each_seed(count, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let (traffic, drift) = (traffic(seed, &mut random), drift_of(&mut random));
        let mut world = World::new(&traffic, drift, 0.0, SHORT, &mut random);
        let change = watch(&mut world, &mut random, Plan::WHOLE)?;
        (change.drift() != Amount::Int(drift)).then_some((seed, traffic, change))
    });
    assert!(wrong.is_empty(), "{wrong:?}");
    println!("writes/s   repaired by one watch, of 1000");
    for (rate, least) in [(0.01, 900), (0.1, 600), (0.3, 300), (1.0, 10), (10.0, 0)] {
        let repaired = each_seed(1_000, |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let (traffic, drift) = (Traffic::plain(rate, 50_000), drift_of(&mut random));
            let mut world = World::new(&traffic, drift, 0.0, SHORT, &mut random);
            watch(&mut world, &mut random, Plan::WHOLE)
        });
        println!("{rate:8}   {}", repaired.len());
        assert!(repaired.len() >= least);
    }
}

#[test]
fn no_sampling_leaves_a_counter_farther_from_its_truth() {
    let count = seeds(1_500);
    let written = each_seed(count, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let traffic = traffic(seed, &mut random);
        let drift = [-200, -20, -3, -1, 1, 2, 5, 20, 200, 1_000][random.usize(0..10)];
        let mut world = World::new(&traffic, drift, 0.0, LONG, &mut random);
        let correction = sample(&mut world, &mut random).correction?;
        let left = Amount::Int(drift).minus(correction.by);
        let farther = left.to_f64().abs() >= (drift as f64).abs();
        let inexact = correction.proof == Proof::Agreed && !left.is_zero();
        Some((seed, traffic, drift, correction, farther, inexact))
    });
    let farther: Vec<_> = written.iter().filter(|w| w.4).collect();
    let inexact: Vec<_> = written.iter().filter(|w| w.5).collect();
    println!(
        "R5 with a drift: {} of {count} written, {} agreed on a wrong value, {} farther",
        written.len(),
        inexact.len(),
        farther.len()
    );
    assert!(farther.is_empty(), "{:?}", farther[0]);
    assert!(inexact.is_empty(), "{:?}", inexact[0]);
}

#[test]
fn increments_that_are_lost_meanwhile_do_not_mislead_the_sampling() {
    let count = seeds(500);
    let farther = each_seed(count, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let rate = [1.0, 5.0, 10.0, 50.0][random.usize(0..4)];
        let mut world = World::new(&Traffic::plain(rate, 10_000), 3, 0.02, LONG, &mut random);
        let by = sample(&mut world, &mut random).correction?.by.to_f64();
        let drift = world.drift_in_the_end() as f64;
        ((drift - by).abs() >= drift.abs()).then_some((seed, drift, by))
    });
    assert!(farther.is_empty(), "{farther:?}");
}

#[test]
fn sampling_repairs_what_never_stands_still() {
    const TRIED: u64 = 100;
    println!("writes/s  in flight  drift   exact  nearer  of {TRIED}");
    for (rate, slowest, size, exact, nearer) in [
        (1.0, 10_000, 5, 95, 95),
        (3.0, 10_000, 5, 95, 95),
        (5.0, 10_000, 5, 90, 90),
        (10.0, 10_000, 5, 75, 75),
        (5.0, 50_000, 5, 85, 85),
        (10.0, 50_000, 5, 40, 40),
        (20.0, 10_000, 5, 0, 0),
        (10.0, 10_000, 200, 75, 95),
        (50.0, 50_000, 200, 0, 95),
        (100.0, 50_000, 200, 0, 95),
        (300.0, 50_000, 200, 0, 0),
        (300.0, 50_000, 500, 0, 95),
    ] {
        let left = each_seed(TRIED, |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let drift = if size == 5 { random.i64(1..=5) } else { size };
            let drift = if random.bool() { drift } else { -drift };
            let mut world =
                World::new(&Traffic::plain(rate, slowest), drift, 0.0, LONG, &mut random);
            let sampled = sample(&mut world, &mut random);
            let correction = sampled.correction.filter(|_| !sampled.hopeless)?;
            Some((drift, Amount::Int(drift).minus(correction.by)))
        });
        let exactly = left.iter().filter(|(_, left)| left.is_zero()).count();
        let improved = |(drift, left): &&(i64, Amount)| left.to_f64().abs() < drift.abs() as f64;
        let improved = left.iter().filter(improved).count();
        let milliseconds = slowest / 1_000;
        println!("{rate:8}  1..{milliseconds:2} ms  ±{size:4}  {exactly:6}  {improved:6}");
        assert_eq!(improved, left.len(), "none was made worse");
        assert!(exactly >= exact && improved >= nearer, "the rule repairs less than it did");
    }
}
