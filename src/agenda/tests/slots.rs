//! Which slots run (S4, S6).

use super::*;

#[test]
fn a_job_starts_at_its_slot_and_not_before() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.pass("59s999ms");
    assert!(world.started.is_empty());
    world.pass("1ms");
    assert_eq!(world.started.len(), 1);
    assert_eq!(world.started[0].slot, midnight() + TimeDelta::seconds(60));
}

#[test]
fn every_slot_runs_once() {
    let mut world = World::new(vec![job("a", |_| {})]);
    for _ in 0..1440 {
        world.pass("1m");
        world.finish(clean());
        world.feed(Event::Due);
    }
    assert_eq!((world.started.len(), world.records.len()), (1440, 1440));
    assert!(world.started.windows(2).all(|w| w[0].slot < w[1].slot));
}

#[test]
fn s6_a_slot_within_its_grace_runs_late() {
    let mut world =
        World::new(vec![job("a", |j| j.limits.misfire_grace = Duration::from_secs(10))]);
    world.sleep("1m10s");
    assert_eq!(world.started.len(), 1);
}

#[test]
fn s6_a_slot_beyond_its_grace_is_recorded_as_missed_with_how_late_it_was() {
    let mut world =
        World::new(vec![job("a", |j| j.limits.misfire_grace = Duration::from_secs(10))]);
    world.sleep("1m10s1ms");
    assert!(world.started.is_empty());
    assert_eq!(world.ends(), ["seen 10s1ms late, more than misfire_grace 1x"]);
    world.pass("50s");
    assert_eq!(world.started.len(), 1, "the schedule goes on");
}

#[test]
fn s6_with_coalesce_all_due_slots_become_the_latest() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.sleep("5m30s");
    assert_eq!(world.started.len(), 1);
    assert_eq!(world.started[0].slot, midnight() + TimeDelta::minutes(5));
    world.finish(clean());
    assert_eq!(world.ends(), ["clean 5x"]);
}

#[test]
fn s6_without_coalesce_each_runs_the_oldest_first_and_the_rest_is_recorded() {
    let several = |grace| {
        job("a", move |j| {
            j.limits.coalesce = false;
            j.limits.max_instances = 1000;
            j.limits.misfire_grace = duration::parse(grace).unwrap();
        })
    };
    let mut world = World::new(vec![several("1h")]);
    world.sleep("5m30s");
    let minutes: Vec<i64> =
        world.started.iter().map(|o| (o.slot - midnight()).num_minutes()).collect();
    assert_eq!(minutes, [1, 2, 3, 4, 5]);

    let mut world = World::new(vec![several("2m")]);
    world.sleep("5m30s");
    assert_eq!(world.started.len(), 2);
    assert_eq!(world.ends(), ["seen 2m30s late, more than misfire_grace 3x"]);

    let mut world = World::with_places(1000, vec![several("1d")]);
    world.sleep("10h");
    assert_eq!(world.started.len(), 100);
    assert_eq!(world.ends(), ["more than 100 late slots 500x"]);
}

#[test]
fn s4_a_year_of_misses_costs_no_more_than_one() {
    let mut world = World::new(vec![job("a", |j| {
        j.trigger = Trigger::Interval(Interval::new(Duration::from_millis(10), None));
    })]);
    world.sleep("365d");
    assert_eq!(world.started.len(), 1);
    world.finish(clean());
    assert_eq!(world.records[0].stands_for, Record::MOST);
}
