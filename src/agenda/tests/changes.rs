//! Clock steps, reloads and the end (S12, S14, S15).

use super::*;

#[test]
fn s12_after_a_step_back_no_slot_runs_a_second_time() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.pass("10m");
    let by = TimeDelta::minutes(-5);
    world.records.clear();
    world.started.clear();
    world.now += by;
    world.feed(Event::ClockStepped(by));
    world.pass("5m");
    assert!(world.started.is_empty() && world.records.is_empty());
    world.pass("1m");
    assert_eq!(world.ends().len() + world.started.len(), 1);
}

#[test]
fn s12_a_correction_of_more_than_three_hours_restarts_the_schedule() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.pass("1m");
    world.finish(clean());
    let by = TimeDelta::hours(-4);
    world.now += by;
    world.feed(Event::ClockStepped(by));
    world.pass("1m");
    assert_eq!(world.started.len(), 2);
}

#[test]
fn s12_a_wait_for_a_retry_keeps_its_length_over_a_step() {
    for by in [TimeDelta::hours(-2), TimeDelta::hours(2)] {
        let mut world = World::new(vec![job("a", |j| {
            j.trigger = Trigger::Interval(Interval::new(Duration::from_secs(86_400 * 30), None));
        })]);
        world.now = world.agenda.next_wake().unwrap();
        world.feed(Event::Due);
        world.finish(failed(true));
        world.now += by;
        world.feed(Event::ClockStepped(by));
        world.feed(Event::Due);
        assert_eq!(world.started.len(), 1, "not at once");
        world.pass("1s");
        assert_eq!(world.started.len(), 2, "after its backoff");
    }
}

#[test]
fn s14_a_reload_tells_what_changed_and_keeps_the_rest() {
    let mut world = World::new(vec![job("a", |_| {}), job("b", |_| {}), job("c", |_| {})]);
    world.pass("30s");
    world.feed(Event::Reloaded(vec![
        job("a", |_| {}),
        job("b", |j| j.limits.retries = 9),
        job("d", |_| {}),
    ]));
    let names = |names: &[Arc<str>]| names.join(",");
    let diff = &world.diff;
    assert_eq!(
        [&diff.unchanged, &diff.changed, &diff.added, &diff.removed].map(|n| names(n)),
        ["a", "b", "d", "c"].map(String::from)
    );
    world.pass("30s");
    let started: Vec<&str> = world.started.iter().map(|o| &*o.job.name).collect();
    assert_eq!(started, ["a", "b", "d"]);
}

#[test]
fn s14_a_running_run_finishes_and_a_waiting_one_of_a_removed_job_is_recorded() {
    let mut world = World::with_places(1, vec![job("a", |_| {}), job("b", |_| {})]);
    world.pass("1m");
    world.feed(Event::Reloaded(vec![]));
    assert_eq!(world.ends(), ["a reload took its job away before it started 1x"]);
    world.finish(clean());
    assert_eq!(world.ends().len(), 2);
    world.pass("5m");
    assert_eq!(world.started.len(), 1);
}

#[test]
fn s14_the_retry_of_an_unchanged_job_survives_a_reload() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.pass("1m");
    world.finish(failed(true));
    world.feed(Event::Reloaded(vec![job("a", |_| {})]));
    world.pass("1s");
    assert_eq!(world.started.len(), 2);
    world.finish(failed(true));
    assert_eq!(world.retries.len(), 2);
}

#[test]
fn s15_after_stopping_nothing_starts_and_what_waits_is_recorded() {
    let mut world = World::with_places(1, vec![job("a", |_| {}), job("b", |_| {})]);
    world.pass("1m");
    world.feed(Event::Stopping);
    assert_eq!(world.ends(), ["the daemon was stopping 1x"]);
    assert!(!world.agenda.is_idle());
    world.pass("10m");
    world.finish(failed(true));
    assert!(world.agenda.is_idle());
    assert_eq!((world.started.len(), world.retries.len(), world.records.len()), (1, 0, 2));
}
