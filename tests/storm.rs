//! Storms: the app writes as fast as it can, loses increments, and recountd works in the midst of it. Every loss is
//! known, so every repair can be held against what was owed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;
use support::toutiao::{self, ARTICLES_KEY, ARTICLES_QUERY};
use support::world::{JOB, World, articles_job};
use support::{Daemon, Figures, Writer, WriterOptions, eventually};

const SOON: Duration = Duration::from_secs(30);
/// A run takes about 40 settles while hundreds of ids drift, and several times that on a busy machine.
const LONG: Duration = Duration::from_secs(240);
const USERS: u64 = 5_000;
const ARTICLES: u64 = 20_000;

/// One storm at a time: two of them on one machine would only measure each other.
static WEATHER: Mutex<()> = Mutex::new(());

/// A storm of about a thousand writes a second, a third of which take an article back.
fn storm(hot: &[u64], hot_share: f64, loss: f64, seed: u64) -> WriterOptions {
    WriterOptions {
        users: 1..=USERS,
        hot: hot.to_vec(),
        hot_share,
        rate: Some(1_000.0),
        loss,
        take_back: 0.3,
        in_flight: Duration::from_millis(120),
        threads: 64,
        seed,
    }
}

/// Runs a test with ever larger settles until the machine was fast enough for one: when the writer itself took longer
/// than settle between a commit and its increment, the promise of the protocol did not hold, and nothing was tested.
fn with_a_settle_that_holds(test: impl Fn(Duration) -> Result<(), Figures>) {
    let _alone = WEATHER.lock().unwrap_or_else(PoisonError::into_inner);
    for settle in [300, 700, 1_500].map(Duration::from_millis) {
        match test(settle) {
            Ok(()) => return,
            Err(figures) => {
                println!("{settle:?} was too short: {:?} in flight", figures.longest_in_flight);
            }
        }
    }
    panic!("this machine is too busy for any storm");
}

/// `Err` when the writer was in flight for nearly as long as settle.
fn held(settle: Duration, figures: Figures) -> Result<Figures, Figures> {
    if figures.longest_in_flight < settle * 4 / 5 { Ok(figures) } else { Err(figures) }
}

/// A repair as the log tells it.
#[derive(Debug)]
struct Repair {
    id: u64,
    by: i64,
}

fn repairs(log: &[String]) -> Vec<Repair> {
    let number = |text: &str| if text == "absent" { 0 } else { text.parse().unwrap() };
    let parse = |line: &String| {
        let (_, text) = line.split_once("repaired id ")?;
        let (id, change) = text.split_once(": ")?;
        let (from, to) = change.split_once(" -> ")?;
        Some(Repair { id: id.parse().unwrap(), by: number(to) - number(from) })
    };
    log.iter().filter_map(parse).collect()
}

/// Takes repairs off what is owed to each id. Each must bring its counter nearer to the truth, and none past it.
#[track_caller]
fn settle_accounts(owed: &mut BTreeMap<u64, i64>, repairs: &[Repair]) {
    for repair in repairs {
        let owed = owed.entry(repair.id).or_default();
        let left = *owed - repair.by;
        let nearer = left.abs() < owed.abs() && left.signum() * owed.signum() >= 0;
        assert!(nearer, "{repair:?} where {owed} was owed; all: {repairs:?}");
        *owed = left;
    }
}

/// What became of the daemon's runs, one word for each.
fn outcomes(log: &[String]) -> Vec<String> {
    let parse = |line: &String| {
        let (_, text) = line.split_once(&format!("{JOB}: "))?;
        text.contains(", slot ").then(|| {
            let end = text.find([';', ':', ',', ' ']).unwrap_or(text.len());
            text[..end].to_owned()
        })
    };
    log.iter().filter_map(parse).collect()
}

/// How many runs came to their end, whatever they left.
fn ended(outcomes: &[String]) -> usize {
    outcomes.iter().filter(|word| ["clean", "repaired", "partial"].contains(&word.as_str())).count()
}

fn world(settle: Duration) -> World {
    let mut world = World::new(USERS, ARTICLES, "");
    world.write_jobs(&articles_job(&format!(
        "interval = \"3s\"\nsettle = \"{}ms\"",
        settle.as_millis()
    )));
    world.recountd = world.recountd.env("RUST_LOG", "debug");
    world
}

fn start(world: &World, options: &WriterOptions) -> Writer {
    Writer::start(world.database.url(), &world.redis.url(), options)
}

/// Stops the daemon and gives all that it logged.
fn stop(mut daemon: Daemon) -> Vec<String> {
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0));
    daemon.stderr.lines()
}

#[track_caller]
fn the_next_run_is_clean(world: &World) {
    let run = world.recountd.output(&["once", JOB, "--json"]);
    assert_eq!(run.json()["outcome"], "clean", "{} {}", run.stdout, run.stderr);
    assert!(world.wrong().is_empty());
}

#[test]
fn after_a_storm_every_counter_is_exact_and_nothing_was_repaired_that_was_not_lost() {
    with_a_settle_that_holds(|settle| {
        let mut world = world(settle);
        let hot: Vec<u64> = (1..=20).collect();
        let (first, second) = (world.rng.u64(..), world.rng.u64(..));
        let daemon = world.recountd.spawn_run();

        let writer = start(&world, &storm(&hot, 0.1, 0.05, first));
        eventually(LONG, "a run ends while increments are being lost", || {
            ended(&outcomes(&daemon.stderr.lines())) >= 1
        });
        let one = held(settle, writer.stop())?;
        let mark = daemon.stderr.lines().len();

        let writer = start(&world, &storm(&hot, 0.1, 0.0, second));
        // The first of them may have begun in phase one; the others saw nothing but phase two.
        eventually(LONG, "three runs end in phase two", || {
            ended(&outcomes(&daemon.stderr.lines()[mark..])) >= 3
        });
        let two = held(settle, writer.stop())?;

        eventually(SOON, "every counter is exact", || world.wrong().is_empty());
        let log = stop(daemon);
        println!("{settle:?}: {:?}, then {:?}", one.total, two.total);
        assert!(one.total.writes > 2_000 && one.total.lost > 100, "a mild storm: {:?}", one.total);
        assert!(two.total.writes > 2_000 && two.total.lost == 0, "{:?}", two.total);

        let (during_one, during_two) = log.split_at(mark);
        let runs = [outcomes(during_one), outcomes(during_two)];
        println!("{runs:?}");
        assert!(!runs.concat().contains(&"failed".to_owned()), "{runs:?}");

        // Increments are still being lost while phase one repairs, so its repairs are held against their sum.
        let mut owed: BTreeMap<u64, i64> = BTreeMap::new();
        for (id, tally) in &one.by_id {
            owed.insert(*id, tally.drift);
        }
        let early = repairs(during_one);
        for repair in &early {
            let lost = one.by_id.get(&repair.id).map_or(0, |tally| tally.lost);
            assert!(lost > 0, "{repair:?} of what was never lost");
            *owed.entry(repair.id).or_default() -= repair.by;
        }
        let late = repairs(during_two);
        println!("{} repairs in phase one, {} in phase two", early.len(), late.len());
        settle_accounts(&mut owed, &late);
        owed.retain(|_, left| *left != 0);
        assert!(owed.is_empty(), "left without a repair, and yet exact: {owed:?}");
        the_next_run_is_clean(&world);
        Ok(())
    });
}

#[test]
fn three_ids_at_half_of_the_writes_never_end_further_from_the_truth_than_they_began() {
    with_a_settle_that_holds(|settle| {
        let mut world = world(settle);
        let hot = [(1, -7), (2, 4), (3, 0)];
        toutiao::break_counters(&mut world.connection(), 150, 20, 0, &mut world.rng);
        for (id, by) in hot {
            let mut redis = world.connection();
            redis::cmd("ZINCRBY").arg(ARTICLES_KEY).arg(by).arg(id).exec(&mut redis).unwrap();
        }
        let mut owed = drifts(&world);
        let before = owed.clone();

        let options = storm(&[1, 2, 3], 0.5, 0.0, world.rng.u64(..));
        let writer = start(&world, &options);
        let daemon = world.recountd.spawn_run();
        thread::sleep(Duration::from_secs(11).max(settle * 20));
        // The daemon goes first: without writes it would repair the hot ids, too.
        let log = stop(daemon);
        let figures = held(settle, writer.stop())?;
        println!("{settle:?}: {:?}, {:?}", figures.total, outcomes(&log));
        let hottest = hot.map(|(id, _)| figures.by_id[&id].writes);
        assert!(hottest.iter().all(|writes| *writes > 300), "{hottest:?}");
        assert!(figures.total.lost == 0, "{figures:?}");

        let after = drifts(&world);
        for (id, drift) in &after {
            let began = before.get(id).copied().unwrap_or(0);
            assert!(drift.abs() <= began.abs(), "{id} was off by {began}, and is by {drift}");
        }
        assert!(after.len() * 10 < before.len(), "most were repaired: {after:?}");
        settle_accounts(&mut owed, &repairs(&log));
        owed.retain(|_, left| *left != 0);
        assert_eq!(owed, after, "what was repaired is what the log tells");

        let run = world.recountd.output(&["once", JOB]);
        assert_eq!(run.code(), 0, "{} {}", run.stdout, run.stderr);
        the_next_run_is_clean(&world);
        Ok(())
    });
}

/// Truth − counter of every id that is wrong.
fn drifts(world: &World) -> BTreeMap<u64, i64> {
    let drift = |wrong: &toutiao::Wrong| wrong.mysql - wrong.redis.unwrap_or(0.0) as i64;
    world.wrong().iter().map(|wrong| (wrong.id.parse().unwrap(), drift(wrong))).collect()
}

/// The counter-test: what recountd replaces must fail here, or the storm proves nothing.
#[test]
fn the_old_way_leaves_wrong_counters_in_the_same_storm() {
    let _alone = WEATHER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut world = World::new(USERS, ARTICLES, "");
    let hot: Vec<u64> = (1..=20).collect();
    let mut errors = 0;
    for _ in 0..5 {
        let options = storm(&hot, 0.1, 0.0, world.rng.u64(..));
        let writer = start(&world, &options);
        eventually(SOON, "the storm blows", || writer.writes() > 300);
        reset(&world);
        let so_far = writer.writes();
        eventually(SOON, "it goes on", || writer.writes() > so_far + 300);
        let figures = writer.stop();
        let wrong = world.wrong();
        println!("{} wrong of {} writes, none of them lost", wrong.len(), figures.total.writes);
        assert!(figures.total.lost == 0, "{figures:?}");
        errors += wrong.len();
        // The next reset would hide what this one did.
        toutiao::fill(&mut world.connection(), ARTICLES_KEY, &toutiao::truth(&mut world.mysql()));
    }
    assert!(errors >= 40, "the storm has gone soft: {errors} errors after 5 resets");
}

/// Everything into memory, then DEL and ZADD in one transaction, as the web app's own timed job did it.
fn reset(world: &World) {
    let rows: Vec<(u64, i64)> = world.mysql().query(ARTICLES_QUERY).unwrap();
    let pairs: Vec<(i64, u64)> = rows.into_iter().map(|(id, count)| (count, id)).collect();
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("DEL").arg(ARTICLES_KEY).ignore();
    pipe.cmd("ZADD").arg(ARTICLES_KEY).arg(pairs).ignore();
    pipe.exec(&mut world.connection()).unwrap();
}
