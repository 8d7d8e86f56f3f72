//! What bounds the runs of a job (S7 to S9, S11).

use super::*;

#[test]
fn s7_a_slot_is_skipped_while_max_instances_runs_are_active() {
    let mut world = World::new(vec![job("a", |j| j.limits.max_instances = 2)]);
    world.pass("3m30s");
    assert_eq!(world.started.len(), 2);
    assert_eq!(world.ends(), ["run 1 has been active for 2m 1x"]);
    world.finish(clean());
    world.pass("30s");
    assert_eq!(world.started.len(), 3);
}

#[test]
fn s8_the_pool_gets_no_more_than_it_has_places_for_and_the_oldest_first() {
    let jobs = ["a", "b", "c"].map(|name| job(name, |_| {}));
    let mut world = World::with_places(2, jobs.to_vec());
    world.pass("1m");
    assert_eq!(world.started.len(), 2);
    world.finish(clean());
    assert_eq!(&*world.started[2].job.name, "c");
}

#[test]
fn s8_a_run_that_waited_too_long_for_a_worker_is_recorded_as_missed() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.pass("1m");
    world.finish(Ended::Expired { waited: Duration::from_secs(61) });
    assert_eq!(world.ends(), ["missed (queued 61 s) 1x"]);
}

#[test]
fn s9_a_failed_run_is_tried_again_with_growing_waits_and_holds_no_place_meanwhile() {
    let mut world = World::with_places(
        1,
        vec![job("a", |j| {
            j.trigger = Trigger::Interval(Interval::new(Duration::from_secs(86_400), None));
            j.limits.retries = 3;
            j.limits.max_backoff = Duration::from_secs(3);
        })],
    );
    world.pass("1d");
    for attempt in 1..=3 {
        assert_eq!(world.started.last().unwrap().attempt, attempt);
        world.finish(failed(true));
        assert_eq!(world.agenda.places, 1);
        world.pass("3s");
    }
    for (wait, most) in world.retries.iter().zip([1.0, 2.0, 3.0]) {
        assert!((most / 2.0..=most).contains(&wait.as_secs_f64()), "{wait:?} of {most} s");
    }
    world.finish(failed(true));
    assert_eq!((world.started.len(), world.ends().len()), (4, 1));
    assert!(matches!(world.records[0].end, SlotEnd::Ran { attempts: 4, .. }));
}

#[test]
fn s9_refused_and_configuration_errors_are_not_tried_again() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.pass("1m");
    world.finish(failed(false));
    assert_eq!((world.retries.len(), world.records.len()), (0, 1));
}

#[test]
fn s11_jitter_delays_a_start_and_never_the_next_slot() {
    let mut world = World::new(vec![job("a", |j| j.limits.jitter = Duration::from_secs(30))]);
    let mut delays = Vec::new();
    for minute in 1..=50 {
        while world.started.len() < minute {
            world.now = world.agenda.next_wake().unwrap();
            world.feed(Event::Due);
        }
        let slot = world.started.last().unwrap().slot;
        assert_eq!(slot, midnight() + TimeDelta::minutes(minute as i64));
        delays.push((world.now - slot).num_milliseconds());
        world.finish(clean());
    }
    assert!(delays.iter().all(|d| (0..30_000).contains(d)));
    assert!(delays.iter().max().unwrap() - delays.iter().min().unwrap() > 10_000);
}

#[test]
fn an_answer_for_an_unknown_run_changes_nothing() {
    let mut world = World::with_places(1, vec![]);
    world.feed(Event::Finished { run: RunId(99), ended: clean() });
    assert_eq!((world.agenda.places, world.records.len()), (1, 0));
}
