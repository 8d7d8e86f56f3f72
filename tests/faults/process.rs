//! Faults of recountd's own process: killed and stopped at any moment.

use std::thread;
use std::time::{Duration, Instant};

use super::support::proxy::Way;
use super::support::world::JOB;
use super::trial::{SOON, Setting, Trial, under_traffic};

const KILLS: usize = 100;

const MANY_RUNS: Setting =
    Setting { job: "", redis: &[], own_mariadb: false, calm: false, haste: true };

/// How long a run takes that nobody kills.
fn a_whole_run(trial: &mut Trial) -> Duration {
    let begun = Instant::now();
    let run = trial.once();
    assert!([0, 3].contains(&run.code()), "{} {}", run.stdout, run.stderr);
    let took = begun.elapsed();
    trial.break_again();
    took
}

#[test]
fn recountd_killed_at_a_hundred_random_moments() {
    under_traffic(MANY_RUNS, |trial| {
        let whole = a_whole_run(trial);
        let (mut before, mut amid, mut after) = (0, 0, 0);
        for kill in 0..KILLS {
            // The writes are a small part of a run; every other kill shall hit them.
            if kill % 2 == 0 {
                kill_at_some_time(trial, whole);
            } else {
                kill_at_some_write(trial);
            }
            trial.assert_only_right_writes();
            match trial.repaired() {
                0 => before += 1,
                repaired if repaired < trial.damage() => amid += 1,
                _ => after += 1,
            }
            trial.break_again();
        }
        println!(
            "a whole run takes {whole:?}; killed before the first write {before} times, between \
             writes {amid}, after the last {after}"
        );
        assert!(before >= 5 && amid >= 5, "the kills miss what they are for: {before}, {amid}");
    });
}

fn kill_at_some_time(trial: &mut Trial, whole: Duration) {
    let mut run = trial.spawn_once();
    thread::sleep(whole.mul_f64(trial.world.rng.f64()));
    run.signal_if_it_lives("KILL");
    run.wait_exit(SOON);
}

/// Kills it while a write is on its way to Redis, or its answer on the way back; a write that was sent may arrive when
/// its sender is dead.
fn kill_at_some_write(trial: &mut Trial) {
    let way = if trial.world.rng.bool() { Way::Requests } else { Way::Replies };
    // The first call of a fresh server only learns that the script is not known.
    let nth = trial.world.rng.u64(2..=5);
    let mut run = trial.hold_at_write(nth, way);
    run.signal_if_it_lives("KILL");
    run.wait_exit(SOON);
    if trial.world.rng.bool() { trial.to_redis.cut() } else { trial.to_redis.release() }
}

#[test]
fn recountd_stopped_for_longer_than_settle_at_random_moments() {
    under_traffic(MANY_RUNS, |trial| {
        let whole = a_whole_run(trial);
        for _ in 0..8 {
            let mut run = trial.spawn_once();
            thread::sleep(whole.mul_f64(trial.world.rng.f64() * 0.9));
            run.signal_if_it_lives("STOP");
            thread::sleep(trial.settle * 2 + Duration::from_millis(300));
            run.signal_if_it_lives("CONT");
            let code = run.wait_exit(SOON).code();
            // Going on interrupts a read that has a time limit (signal(7)), which ends the run, and nothing worse.
            let report = run.stdout.lines().join("\n");
            let interrupted = code == Some(1) && report.contains("Interrupted system call");
            assert!(interrupted || [Some(0), Some(3)].contains(&code), "{report}");
            trial.assert_only_right_writes();
            trial.break_again();
        }
    });
}

#[test]
fn two_runs_at_once_repair_each_counter_once() {
    under_traffic(MANY_RUNS, |trial| {
        for _ in 0..3 {
            let mut runs = [trial.spawn_once(), trial.spawn_once()];
            for run in &mut runs {
                let code = run.wait_exit(SOON).code();
                assert!([Some(0), Some(3)].contains(&code), "{JOB}: {:?}", run.stdout.lines());
            }
            trial.assert_only_right_writes();
            trial.break_again();
        }
    });
}
