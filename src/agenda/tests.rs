use chrono::TimeZone;
use url::Url;

use super::*;
use crate::config::{
    Ghosts, Guard, Limits, Percent, Reconcile, Server, ServerUrl, Target, duration,
};
use crate::report::Outcome;
use crate::schedule::{Interval, Trigger};

/// An agenda with a clock that the test sets, and all that it has asked for.
struct World {
    agenda: Agenda,
    now: DateTime<Utc>,
    started: Vec<Order>,
    records: Vec<Record>,
    retries: Vec<Duration>,
    diff: Diff,
    memory: Memory,
}

fn midnight() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 21, 0, 0, 0).unwrap()
}

/// A job every minute, changed by `change`.
fn job(name: &str, change: impl FnOnce(&mut Job)) -> Arc<Job> {
    let server = |url| {
        let url = ServerUrl::new(Url::parse(url).unwrap());
        Arc::new(Server { name: "main".to_owned(), url })
    };
    let work = Reconcile {
        mysql: server("mysql://127.0.0.1/app"),
        redis: server("redis://127.0.0.1/0"),
        query: "SELECT 1, 1".to_owned(),
        target: Target::Zset { key: "counters".to_owned() },
        settle: Duration::from_secs(1),
        ghosts: Ghosts::Remove,
        guard: Guard { max_changed: Percent::HALF, allow_empty: false },
        redis_share: Percent::HALF,
    };
    let mut job = Job {
        name: Arc::from(name),
        description: String::new(),
        trigger: Trigger::Interval(Interval::new(Duration::from_secs(60), None)),
        zone: chrono_tz::Tz::UTC,
        limits: Limits::default(),
        work,
    };
    change(&mut job);
    Arc::new(job)
}

fn failed(retry: bool) -> Ended {
    Ended::Done { outcome: Outcome::Failed, reason: Some("why".into()), retry, report: None }
}

fn clean() -> Ended {
    Ended::Done { outcome: Outcome::Clean, reason: None, retry: false, report: None }
}

impl World {
    fn with_places(places: usize, jobs: Vec<Arc<Job>>) -> Self {
        let now = midnight();
        Self {
            agenda: Agenda::new(jobs, &Memory::default(), places, now, 7),
            now,
            started: Vec::new(),
            records: Vec::new(),
            retries: Vec::new(),
            diff: Diff::default(),
            memory: Memory::default(),
        }
    }

    fn new(jobs: Vec<Arc<Job>>) -> Self {
        Self::with_places(10, jobs)
    }

    fn feed(&mut self, event: Event) {
        for action in self.agenda.handle(self.now, event) {
            match action {
                Action::Start(order) => self.started.push(order),
                Action::Record(record) => self.records.push(record),
                Action::WillRetry { wait, .. } => self.retries.push(wait),
                Action::Reloaded(diff) => self.diff = diff,
                Action::Remember { job, memory } => {
                    self.memory.jobs.insert(job, memory);
                }
                Action::Forget(job) => {
                    self.memory.jobs.remove(&job);
                }
            }
        }
    }

    /// Lets time pass without the loop waking.
    fn sleep(&mut self, time: &str) {
        self.now += duration::parse(time).unwrap();
        self.feed(Event::Due);
    }

    /// Lets time pass as the loop does, waking at each timer.
    fn pass(&mut self, time: &str) {
        let end = self.now + duration::parse(time).unwrap();
        while let Some(at) = self.agenda.next_wake()
            && at <= end
        {
            self.now = at;
            self.feed(Event::Due);
        }
        self.now = end;
    }

    fn finish(&mut self, ended: Ended) {
        let run = self.started.last().unwrap().run;
        self.feed(Event::Finished { run, ended });
    }

    fn ends(&self) -> Vec<String> {
        self.records.iter().map(|r| format!("{} {}x", r.end, r.stands_for)).collect()
    }
}

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
    assert_eq!(world.ends(), ["its job was removed from jobs.toml 1x"]);
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

#[test]
fn an_answer_for_an_unknown_run_changes_nothing() {
    let mut world = World::with_places(1, vec![]);
    world.feed(Event::Finished { run: RunId(99), ended: clean() });
    assert_eq!((world.agenda.places, world.records.len()), (1, 0));
}

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
