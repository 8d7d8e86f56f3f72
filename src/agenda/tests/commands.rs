//! What people and programs ask of the schedule while it runs.

use super::*;

fn name(name: &str) -> Arc<str> {
    Arc::from(name)
}

impl World {
    fn ask(&mut self, command: Command) -> Result<Option<RunId>, CommandError> {
        self.feed(Event::Commanded(command));
        self.answers.pop().expect("every command is answered in its own turn")
    }

    fn trigger(&mut self, job: &str) -> Result<Option<RunId>, CommandError> {
        self.ask(Command::Trigger { job: name(job), dry_run: false })
    }
}

/// A job that was added at run time and is due once, so long after midnight.
fn once_after(seconds: i64) -> Arc<Job> {
    job("order-42", |j| {
        j.origin = Origin::RunTime;
        j.trigger = Trigger::Date(midnight() + TimeDelta::seconds(seconds));
    })
}

#[test]
fn a_trigger_runs_the_job_at_once_and_names_the_run() {
    let mut world = World::new(vec![job("a", |_| {})]);
    let dry = Command::Trigger { job: name("a"), dry_run: true };
    let run = world.ask(dry).unwrap().unwrap();
    let order = world.started.last().unwrap();
    assert_eq!((order.run, order.slot, order.cause.is_dry()), (run, world.now, true));
    world.finish(clean());
    let record = world.records.last().unwrap();
    assert_eq!((record.run, record.cause), (run, Cause::Trigger { dry_run: true }));
}

#[test]
fn s7_a_trigger_is_refused_while_enough_runs_are_active_and_names_the_one_in_its_way() {
    let mut world = World::new(vec![job("a", |_| {})]);
    let run = world.trigger("a").unwrap().unwrap();
    world.now += TimeDelta::seconds(3);
    let (job, age) = (name("a"), Duration::from_secs(3));
    assert_eq!(world.trigger("a"), Err(CommandError::Active { job, by: run, age }));
    assert!(world.records.is_empty(), "it was told, so it needs no record");
}

#[test]
fn a_job_that_is_not_there_is_an_answer() {
    let mut world = World::new(vec![]);
    let no = |answer| assert_eq!(answer, Err(CommandError::NoSuchJob(name("x"))));
    no(world.trigger("x"));
    no(world.ask(Command::Pause(name("x"))));
    no(world.ask(Command::Resume(name("x"))));
    no(world.ask(Command::Remove(name("x"))));
}

#[test]
fn s13_the_slots_of_a_pause_are_one_record_that_grows() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.ask(Command::Pause(name("a"))).unwrap();
    world.pass("1h");
    assert!(world.started.is_empty());
    assert_eq!(world.records.len(), 60);
    let (first, last) = (&world.records[0], world.records.last().unwrap());
    assert_eq!((first.run, first.stands_for), (last.run, 1));
    assert_eq!((last.stands_for, last.slot), (60, midnight() + TimeDelta::hours(1)));
    let reason = last.reason().unwrap();
    assert_eq!(reason, "paused since 2026-11-21 00:00:00 +00:00 (for 60 slots)");
    world.ask(Command::Resume(name("a"))).unwrap();
    world.pass("1m");
    assert_eq!(world.started.len(), 1, "it goes on with the next slot, and catches nothing up");
}

#[test]
fn a_second_pause_has_a_record_of_its_own() {
    let mut world = World::new(vec![job("a", |_| {})]);
    for _ in 0..2 {
        world.ask(Command::Pause(name("a"))).unwrap();
        world.pass("2m");
        world.ask(Command::Resume(name("a"))).unwrap();
    }
    let told: Vec<(RunId, u32)> = world.records.iter().map(|r| (r.run, r.stands_for)).collect();
    assert_eq!(told, [(RunId(1), 1), (RunId(1), 2), (RunId(2), 1), (RunId(2), 2)]);
}

#[test]
fn pausing_twice_is_one_pause_and_a_run_at_work_goes_on_with_its_retries() {
    let mut world = World::new(vec![job("a", |j| j.limits.retries = 1)]);
    world.pass("1m");
    world.ask(Command::Pause(name("a"))).unwrap();
    let since = world.now;
    world.now += TimeDelta::seconds(1);
    world.ask(Command::Pause(name("a"))).unwrap();
    assert_eq!(world.memory.jobs["a"].paused, Some(since));
    world.finish(failed(true));
    world.pass("30s");
    assert_eq!(world.started.len(), 2, "the retry");
}

#[test]
fn a_paused_job_can_be_triggered() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.ask(Command::Pause(name("a"))).unwrap();
    assert!(world.trigger("a").is_ok());
    assert_eq!(world.started.len(), 1);
}

#[test]
fn s14_a_pause_survives_a_reload_a_new_trigger_and_a_restart() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.ask(Command::Pause(name("a"))).unwrap();
    let since = world.now;
    world.feed(Event::Reloaded(vec![job("a", |j| j.description = "new".into())]));
    let hourly = |j: &mut Job| {
        j.trigger = Trigger::Interval(Interval::new(Duration::from_secs(3600), None));
    };
    world.feed(Event::Reloaded(vec![job("a", hourly)]));
    world.agenda = Agenda::new(vec![job("a", hourly)], &world.memory, 10, world.now, 7);
    world.pass("1h");
    assert!(world.started.is_empty());
    assert_eq!(world.records.last().unwrap().end, SlotEnd::Paused { since });
}

#[test]
fn a_job_is_put_and_removed_while_the_others_go_on() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.ask(Command::Put(job("b", |j| j.origin = Origin::RunTime))).unwrap();
    world.pass("1m");
    assert_eq!(world.started.len(), 2);
    let jitter = |j: &mut Job| j.limits.jitter = Duration::from_secs(3600);
    world.ask(Command::Put(job("c", jitter))).unwrap();
    world.pass("1m");
    world.ask(Command::Remove(name("c"))).unwrap();
    assert_eq!(world.records.last().unwrap().end, SlotEnd::Removed, "its run had not started");
    assert!(!world.memory.jobs.contains_key("c"));
    world.pass("1h");
    assert!(world.started.iter().all(|order| &*order.job.name != "c"));
}

#[test]
fn an_added_date_is_retired_when_its_run_has_ended() {
    let mut world = World::new(vec![]);
    world.ask(Command::Put(once_after(1800))).unwrap();
    world.pass("30m");
    assert_eq!((world.started.len(), world.retired.len()), (1, 0), "it runs still");
    world.finish(failed(true));
    assert!(world.retired.is_empty(), "it is tried again");
    world.pass("1m");
    world.finish(clean());
    assert_eq!(world.retired, [name("order-42")]);
    assert!(world.memory.jobs.is_empty(), "nothing is remembered after it is forgotten");
    assert_eq!(world.agenda.next_wake(), None);
}

#[test]
fn an_added_date_that_is_missed_is_retired_too_and_the_record_says_why() {
    let mut world = World::new(vec![]);
    world.ask(Command::Put(once_after(60))).unwrap();
    world.sleep("1h");
    assert_eq!((world.records.len(), world.retired.len()), (1, 1));
    assert!(matches!(world.records[0].end, SlotEnd::Missed { .. }));
}

#[test]
fn an_added_date_that_was_paused_or_skipped_stays_for_somebody_to_look_at() {
    let mut world = World::new(vec![]);
    world.ask(Command::Put(once_after(60))).unwrap();
    world.ask(Command::Pause(name("order-42"))).unwrap();
    world.pass("1h");
    assert!(matches!(world.records[0].end, SlotEnd::Paused { .. }));
    assert!(world.retired.is_empty());
    world.ask(Command::Put(once_after(7200))).unwrap();
    world.ask(Command::Resume(name("order-42"))).unwrap();
    let dry = Command::Trigger { job: name("order-42"), dry_run: true };
    world.ask(dry).unwrap();
    world.pass("2h");
    assert!(matches!(world.records[1].end, SlotEnd::Skipped { .. }));
    assert!(world.retired.is_empty(), "its only slot did not run");
    world.finish(clean());
    assert_eq!(world.retired, [name("order-42")], "it was run since its slot, though by hand");
}

#[test]
fn an_added_date_that_the_end_of_the_daemon_cut_off_is_due_again_at_its_start() {
    let jittery = || {
        let mut job = Job::clone(&once_after(60));
        job.limits.jitter = Duration::from_secs(3600);
        Arc::new(job)
    };
    let mut world = World::new(vec![]);
    world.ask(Command::Put(jittery())).unwrap();
    world.pass("1m");
    world.feed(Event::Stopping);
    assert_eq!(world.records[0].end, SlotEnd::Shutdown);
    assert!(world.retired.is_empty());
    world.now += TimeDelta::seconds(30);
    world.agenda = Agenda::new(vec![once_after(60)], &world.memory, 10, world.now, 7);
    world.sleep("1s");
    assert_eq!(world.started.len(), 1, "it is within its grace");
}

#[test]
fn an_added_date_that_was_interrupted_by_a_kill_stays_for_somebody_to_look_at() {
    let mut world = World::new(vec![]);
    world.ask(Command::Put(once_after(60))).unwrap();
    world.pass("1m");
    world.agenda = Agenda::new(vec![once_after(60)], &world.memory, 10, world.now, 7);
    world.sleep("1s");
    assert!(world.retired.is_empty());
    assert_eq!(world.started.len(), 1, "and does not run twice");
    world.ask(Command::Remove(name("order-42"))).unwrap();
}

#[test]
fn s13_what_a_reload_makes_invalid_comes_back_with_its_pause_and_its_place() {
    let hourly = |j: &mut Job| {
        j.origin = Origin::RunTime;
        j.trigger = Trigger::Interval(Interval::new(Duration::from_secs(3600), None));
    };
    let mut world = World::new(vec![job("a", hourly), job("b", hourly)]);
    world.ask(Command::Pause(name("a"))).unwrap();
    world.feed(Event::Reloaded(vec![]));
    assert!(world.memory.jobs.contains_key("a"), "it is remembered all the same");
    world.pass("2h");
    world.feed(Event::Reloaded(vec![job("a", hourly), job("b", hourly)]));
    world.pass("1s");
    let b = world.started.last().unwrap();
    assert_eq!((&*b.job.name, world.started.len()), ("b", 1), "what came due meanwhile, coalesced");
    assert!(world.agenda.is_paused("a"));
    // The same over a restart.
    let mut memory = world.memory.clone();
    memory.added = [name("a"), name("b")].into();
    world.agenda = Agenda::new(vec![], &memory, 10, world.now, 7);
    world.pass("1h");
    world.feed(Event::Reloaded(vec![job("a", hourly)]));
    assert!(world.agenda.is_paused("a"));
    world.ask(Command::Remove(name("b"))).unwrap();
    assert!(!world.memory.jobs.contains_key("b"));
}

#[test]
fn a_date_in_jobs_toml_is_never_retired() {
    let date = |j: &mut Job| j.trigger = Trigger::Date(midnight() + TimeDelta::seconds(60));
    let mut world = World::new(vec![job("a", date)]);
    world.pass("1m");
    world.finish(clean());
    assert!(world.retired.is_empty());
    assert!(world.trigger("a").is_ok());
}

#[test]
fn a_rescheduled_date_runs_at_its_new_time_only() {
    let mut world = World::new(vec![]);
    world.ask(Command::Put(once_after(60))).unwrap();
    world.ask(Command::Put(once_after(600))).unwrap();
    world.pass("5m");
    assert!(world.started.is_empty());
    world.pass("5m");
    assert_eq!(world.started.len(), 1);
}

#[test]
fn s9_a_job_that_is_put_as_it_is_keeps_the_retries_of_its_run() {
    let minutely = || job("a", |j| j.origin = Origin::RunTime);
    let mut world = World::new(vec![]);
    world.ask(Command::Put(minutely())).unwrap();
    world.pass("1m");
    world.ask(Command::Put(minutely())).unwrap();
    world.finish(failed(true));
    world.pass("1s");
    assert_eq!((world.started.len(), world.records.len()), (2, 0));
}

#[test]
fn s15_while_stopping_nothing_new_is_begun_but_a_pause_is_remembered() {
    let mut world = World::new(vec![job("a", |_| {})]);
    world.feed(Event::Stopping);
    assert_eq!(world.trigger("a"), Err(CommandError::Stopping));
    assert_eq!(world.ask(Command::Put(once_after(60))), Err(CommandError::Stopping));
    world.ask(Command::Pause(name("a"))).unwrap();
    assert_eq!(world.memory.jobs["a"].paused, Some(world.now));
}

#[test]
fn an_added_date_that_ran_by_hand_before_its_slot_is_due_again_all_the_same_when_the_end_cuts_it_off()
 {
    let jittery = |seconds: i64| {
        let mut job = Job::clone(&once_after(seconds));
        job.limits.jitter = Duration::from_secs(3600);
        job.limits.max_instances = 2;
        Arc::new(job)
    };
    for ends_before in [true, false] {
        let mut world = World::new(vec![]);
        world.ask(Command::Put(jittery(60))).unwrap();
        let dry = Command::Trigger { job: name("order-42"), dry_run: true };
        world.ask(dry).unwrap();
        if ends_before {
            world.finish(clean());
        }
        world.pass("1m");
        world.feed(Event::Stopping);
        if !ends_before {
            world.finish(clean());
        }
        assert_eq!((world.started.len(), world.records.len()), (1, 2), "only the dry run");
        assert!(world.retired.is_empty(), "a dry run is not the run of its slot");
        world.agenda = Agenda::new(vec![jittery(60)], &world.memory, 10, world.now, 7);
        world.pass("2h");
        assert_eq!(world.started.last().unwrap().slot, midnight() + TimeDelta::seconds(60));
    }
}

#[test]
fn what_ran_before_the_last_slot_of_an_added_date_does_not_stand_in_for_it() {
    let mut world = World::new(vec![]);
    world.ask(Command::Put(once_after(60))).unwrap();
    world.trigger("order-42").unwrap();
    world.finish(clean());
    world.pass("1m");
    assert_eq!(world.started.len(), 2);
    world.feed(Event::Stopping);
    world.finish(Ended::NotStarted);
    assert_eq!(world.records[1].end, SlotEnd::Shutdown);
    assert!(world.retired.is_empty(), "its only slot did not run");
}

#[test]
fn the_run_of_a_slot_from_before_a_reschedule_does_not_bring_back_a_slot_that_was_skipped() {
    let mut first = Job::clone(&once_after(60));
    first.limits.jitter = Duration::from_secs(3600);
    let mut world = World::new(vec![]);
    world.ask(Command::Put(Arc::new(first))).unwrap();
    world.pass("1m");
    world.ask(Command::Put(once_after(61))).unwrap();
    world.sleep("1s");
    assert!(matches!(world.records[0].end, SlotEnd::Skipped { .. }));
    world.feed(Event::Stopping);
    assert_eq!((world.records.len(), &world.records[1].end), (2, &SlotEnd::Shutdown));
    assert_eq!(world.memory.jobs["order-42"].done, midnight() + TimeDelta::seconds(61));
}
