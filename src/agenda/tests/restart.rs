//! What is remembered over a restart.

use super::*;

/// The same jobs after a restart, with what the state has kept.
fn restarted(world: &World, now: DateTime<Utc>) -> World {
    let jobs: Vec<Arc<Job>> = world.agenda.jobs.values().map(|e| Arc::clone(&e.job)).collect();
    let mut after = World::new(Vec::new());
    after.memory = world.memory.clone();
    after.agenda = Agenda::new(jobs, &world.memory, 10, now, 7);
    after.now = now;
    after.feed(Event::Due);
    after
}

#[test]
fn s6_what_came_due_while_the_daemon_was_down_is_dealt_with_by_the_same_rule() {
    let mut world =
        World::new(vec![job("a", |j| j.limits.misfire_grace = Duration::from_secs(30))]);
    world.pass("1m");
    let soon = restarted(&world, world.now + TimeDelta::seconds(5 * 60 + 20));
    assert_eq!(soon.started.len(), 1, "the latest slot is within its grace");
    let late = restarted(&world, world.now + TimeDelta::seconds(5 * 60 + 40));
    assert_eq!(late.ends(), ["seen 40s late, more than misfire_grace 5x"]);
    let year = restarted(&world, world.now + TimeDelta::seconds(365 * 86_400 + 40));
    assert_eq!(year.records[0].stands_for, Record::MOST);
}

#[test]
fn no_slot_runs_again_after_a_restart() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.pass("1m");
    let again = restarted(&world, world.now);
    assert!(again.started.is_empty() && again.records.is_empty());
    let set_back = restarted(&world, world.now - TimeDelta::seconds(30));
    assert_eq!(set_back.agenda.next_wake(), Some(midnight() + TimeDelta::minutes(2)));
}

#[test]
fn a_date_runs_once_and_is_recorded_as_missed_when_it_came_too_late() {
    let date = midnight() + TimeDelta::seconds(10);
    let once = || job("a", move |j| j.trigger = Trigger::Date(date));
    let mut world = World::new(vec![once()]);
    world.pass("1m");
    assert_eq!(world.started.len(), 1);
    world.finish(clean());
    let again = restarted(&world, world.now + TimeDelta::days(1));
    assert!(again.started.is_empty() && again.records.is_empty());

    let down = restarted(&World::new(vec![once()]), date + TimeDelta::seconds(59));
    assert_eq!(down.started.len(), 1, "within its grace");
    let missed = restarted(&World::new(vec![once()]), date + TimeDelta::hours(1));
    assert_eq!(missed.ends(), ["seen 1h late, more than misfire_grace 1x"]);
    assert!(restarted(&missed, missed.now).records.is_empty(), "recorded once");
}

#[test]
fn a_new_trigger_begins_anew_after_a_restart() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.pass("1m");
    let hourly = job("a", |j| {
        j.trigger = Trigger::Interval(Interval::new(Duration::from_secs(3600), None));
    });
    let now = midnight() + TimeDelta::days(1) + TimeDelta::minutes(1);
    let mut agenda = Agenda::new(vec![hourly], &world.memory, 10, now, 7);
    let actions = agenda.handle(now, Event::Due);
    assert!(actions.iter().all(|a| matches!(a, Action::Remember { .. })), "{actions:?}");
}

#[test]
fn a_removed_job_is_forgotten() {
    let mut world = World::new(vec![job("a", |_| {}), job("b", |_| {})]);
    world.feed(Event::Due);
    assert_eq!(world.memory.jobs.len(), 2);
    world.feed(Event::Reloaded(vec![job("a", |_| {})]));
    assert_eq!(world.memory.jobs.len(), 1);
    let without =
        Agenda::new(vec![], &world.memory, 10, world.now, 7).handle(world.now, Event::Due);
    assert_eq!(without, [Action::Forget(Arc::from("a"))]);
}

#[test]
fn a_run_that_waits_is_told_of_before_it_starts() {
    let jitter = job("a", |j| j.limits.jitter = Duration::from_secs(30));
    let mut agenda = Agenda::new(vec![jitter], &Memory::default(), 10, midnight(), 7);
    let actions = agenda.handle(midnight() + TimeDelta::minutes(1), Event::Due);
    let waits =
        actions.iter().filter(|a| matches!(a, Action::Waits(order) if order.run == RunId(1)));
    assert_eq!(waits.count(), 1, "{actions:?}");
    let later = agenda.handle(midnight() + TimeDelta::seconds(91), Event::Due);
    assert!(!later.iter().any(|a| matches!(a, Action::Waits(_))), "once: {later:?}");
}
