#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! What holds for the agenda whatever happens: random jobs, weeks of a clock that the test sets, a loop that sleeps
//! late, runs that fail and take long, clocks that step, reloads, restarts and ends, and people who pause, trigger, add and remove. Every action is held against a
//! ledger that steps through the slots one by one (see `common_agenda/ledger.rs`).

mod common_agenda;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use common_agenda::ledger::Ledger;
use common_agenda::story::{ADDED, Ask, BEGIN, Deed, Edit, NAMES, Story, stories};
use common_agenda::{World, at, clean, failed, job};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use recountd::agenda::{Action, Agenda, Command, Ended, Event, Memory, RunId, SlotEnd};
use recountd::config::{Job, Origin};
use recountd::schedule::Trigger;

/// After so many events within one wait the rest of it is slept through, which bounds the time that a story takes.
const PATIENCE: usize = 150;

/// The daemon's part without a thread: it has the clocks and the pool, and performs what the agenda decides.
struct Shell {
    agenda: Agenda,
    ledger: Ledger,
    jobs: BTreeMap<Arc<str>, Arc<Job>>,
    /// The jobs that were added at run time; they give way to those of the file.
    added: BTreeMap<Arc<str>, Arc<Job>>,
    /// Those of [`ADDED`] that are not valid beside jobs.toml.
    invalid: BTreeSet<&'static str>,
    /// The monotonic clock, and by how much the wall clock differs from it.
    monotonic: DateTime<Utc>,
    offset: TimeDelta,
    /// What the pool works on, and when each will have ended.
    pool: Vec<(DateTime<Utc>, RunId, Ended)>,
    attempts: Vec<(TimeDelta, Ended)>,
    memory: Memory,
    places: usize,
    turns: usize,
}

impl Shell {
    fn new(story: &Story) -> Self {
        let now = at(BEGIN);
        let memory = Memory::default();
        let mut shell = Self {
            agenda: Agenda::new(Vec::new(), &memory, story.places, now, 7),
            ledger: Ledger::new(story.places),
            jobs: BTreeMap::new(),
            added: BTreeMap::new(),
            invalid: BTreeSet::new(),
            monotonic: now,
            offset: TimeDelta::zero(),
            pool: Vec::new(),
            attempts: story.attempts.clone(),
            memory,
            places: story.places,
            turns: 0,
        };
        shell.edit(&story.jobs);
        shell.start();
        shell
    }

    fn now(&self) -> DateTime<Utc> {
        self.monotonic + self.offset
    }

    fn edit(&mut self, edits: &[Edit]) {
        let template = job("template", "interval = '1m'");
        for edit in edits {
            let i = match edit {
                Edit::Turn(i) => {
                    if !self.invalid.remove(ADDED[*i]) {
                        self.invalid.insert(ADDED[*i]);
                    }
                    continue;
                }
                Edit::Remove(i) | Edit::Limits(i, _) | Edit::Define(i, ..) => i,
            };
            let name: Arc<str> = Arc::from(NAMES[*i]);
            let Some(mut job) = self.jobs.remove(&name).or_else(|| match edit {
                Edit::Define(..) => Some(Arc::clone(&template)),
                _ => None,
            }) else {
                continue;
            };
            let changed = Arc::make_mut(&mut job);
            changed.name = Arc::clone(&name);
            match edit {
                Edit::Remove(_) | Edit::Turn(_) => continue,
                Edit::Limits(_, limits) => changed.limits = limits.clone(),
                Edit::Define(_, trigger, limits) => {
                    changed.trigger = trigger.clone();
                    changed.limits = limits.clone();
                }
            }
            self.jobs.insert(name, job);
        }
    }

    /// As after a reload of the file: equal jobs, but never the same ones.
    fn read_jobs(&self) -> Vec<Arc<Job>> {
        let is_valid = |name: &str| !self.jobs.contains_key(name) && !self.invalid.contains(name);
        let added = self.added.iter().filter(|(name, _)| is_valid(name));
        let all = self.jobs.values().chain(added.map(|(_, job)| job));
        all.map(|job| Arc::new(Job::clone(job))).collect()
    }

    fn start(&mut self) {
        let (jobs, now) = (self.read_jobs(), self.now());
        self.memory.last_run = self.ledger.last_run();
        self.memory.added = self.added.keys().cloned().collect();
        self.agenda = Agenda::new(jobs.clone(), &self.memory, self.places, now, 7);
        self.ledger.restart(&jobs, &self.memory.added, now);
        self.due();
    }

    fn due(&mut self) {
        self.feed(Event::Due);
        self.ledger.check(&self.agenda, self.now());
    }

    fn feed(&mut self, event: Event) {
        self.turns += 1;
        let now = self.now();
        match &event {
            Event::Finished { run, ended } => self.ledger.answer(*run, ended),
            Event::ClockStepped(by) => self.ledger.step(*by, now),
            Event::Due | Event::Reloaded(_) | Event::Stopping | Event::Commanded(_) => {
                self.ledger.look(now);
            }
        }
        match &event {
            Event::Reloaded(jobs) => self.ledger.reload(jobs, now),
            Event::Stopping => self.ledger.stopping = true,
            Event::Commanded(command) => self.ledger.ask(command, now),
            Event::Due | Event::Finished { .. } | Event::ClockStepped(_) => {}
        }
        for action in self.agenda.handle(now, event) {
            self.ledger.follows(&action);
            match action {
                Action::Start(order) => {
                    self.ledger.start(&order, now);
                    let turn =
                        (order.run.0 as usize + order.attempt as usize) % self.attempts.len();
                    let (takes, ended) = self.attempts[turn].clone();
                    self.pool.push((self.monotonic + takes, order.run, ended));
                }
                Action::Record(record) => self.ledger.record(&record),
                Action::WillRetry { run, wait, .. } => {
                    self.ledger.will_retry(run, TimeDelta::from_std(wait).unwrap(), now);
                }
                Action::Remember { job, memory, .. } => {
                    self.memory.jobs.insert(Arc::clone(&job.name), memory);
                }
                Action::Forget(job) => {
                    assert!(self.memory.jobs.remove(&job).is_some(), "{job} was forgotten before");
                    self.ledger.forgotten(&job);
                }
                Action::Retire(job) => {
                    self.ledger.retired(&job);
                    assert!(self.memory.jobs.remove(&job).is_some(), "{job} was forgotten before");
                    assert!(self.added.remove(&job).is_some(), "{job} was not added");
                }
                Action::Answer(answer) => self.ledger.answered(&answer, now),
                Action::Waits(order) => self.ledger.waits(&order, now),
                Action::Reloaded(_) => {}
            }
        }
        self.ledger.end_turn(now, &self.memory);
    }

    /// Hands on what somebody asks for, as the daemon does: no job of the file is added or removed.
    fn ask(&mut self, ask: &Ask) {
        // Those that are not valid are shown all the same.
        let there: BTreeSet<Arc<str>> =
            self.jobs.keys().chain(self.added.keys()).cloned().collect();
        let there: Vec<Arc<str>> = there.into_iter().collect();
        let added = self.added.keys().filter(|name| !self.jobs.contains_key(*name));
        let added: Vec<Arc<str>> = added.cloned().collect();
        let nth = |names: &[Arc<str>], i: usize| {
            names.get(i % (names.len() + 1)).map_or_else(|| Arc::from("nobody"), Arc::clone)
        };
        let command = match ask {
            Ask::Pause(i) => Command::Pause(nth(&there, *i)),
            Ask::Resume(i) => Command::Resume(nth(&there, *i)),
            Ask::Trigger(i, dry_run) => {
                Command::Trigger { job: nth(&there, *i), dry_run: *dry_run }
            }
            Ask::Put(i, _) | Ask::Once(i, ..) if self.jobs.contains_key(ADDED[*i]) => return,
            Ask::Once(i, after, limits) => {
                let trigger = Trigger::Date((self.now() + *after).trunc_subsecs(3));
                return self.ask(&Ask::Put(*i, Some((trigger, limits.clone()))));
            }
            Ask::Put(i, definition) => {
                let known = self.added.get(ADDED[*i]).cloned();
                let known = known.unwrap_or_else(|| job(ADDED[*i], "interval = '1m'"));
                // It may be equal to what it was, but is never the same.
                let mut put = Job { origin: Origin::RunTime, ..Job::clone(&known) };
                if let Some((trigger, limits)) = definition {
                    (put.trigger, put.limits) = (trigger.clone(), limits.clone());
                }
                let put = Arc::new(put);
                if !self.ledger.stopping {
                    self.invalid.remove(ADDED[*i]);
                    self.added.insert(Arc::clone(&put.name), Arc::clone(&put));
                }
                Command::Put(put)
            }
            Ask::Remove(i) => {
                let name = nth(&added, *i);
                self.added.remove(&name);
                Command::Remove(name)
            }
        };
        self.feed(Event::Commanded(command));
    }

    /// Feeds what the pool has answered by now, and what is due.
    fn turn(&mut self) {
        let (answered, working) = self.pool.drain(..).partition(|(at, ..)| *at <= self.monotonic);
        self.pool = working;
        let answered: Vec<(DateTime<Utc>, RunId, Ended)> = answered;
        for (_, run, ended) in answered {
            self.feed(Event::Finished { run, ended });
        }
        self.due();
    }

    fn wait(&mut self, length: TimeDelta) {
        let end = self.monotonic + length;
        for _ in 0..PATIENCE {
            let timer = self.agenda.next_wake().map(|at| at - self.offset);
            let answer = self.pool.iter().map(|(at, ..)| *at).min();
            let Some(next) = timer.into_iter().chain(answer).min().filter(|at| *at <= end) else {
                break;
            };
            self.monotonic = self.monotonic.max(next);
            self.turn();
        }
        self.monotonic = end;
        self.turn();
    }

    fn stop(&mut self, asks: &[Ask]) {
        self.feed(Event::Stopping);
        asks.iter().for_each(|ask| self.ask(ask));
        while let Some(next) = self.pool.iter().map(|(at, ..)| *at).min() {
            self.monotonic = self.monotonic.max(next);
            self.turn();
        }
        self.due();
        assert!(self.agenda.is_idle());
        self.ledger.check_all_recorded();
    }

    fn perform(&mut self, deed: &Deed) {
        match deed {
            Deed::Wait(length) => self.wait(*length),
            Deed::Sleep(length) => {
                self.monotonic += *length;
                self.turn();
            }
            Deed::Step(by) => {
                self.offset += *by;
                self.feed(Event::ClockStepped(*by));
                self.turn();
            }
            Deed::Creep(by) => {
                self.offset += *by;
                self.turn();
            }
            Deed::Brink(by) => {
                let ends =
                    self.agenda.next_slots().map(|(j, at)| at + j.limits.misfire_grace + *by);
                if let Some(end) = ends.min() {
                    self.monotonic = self.monotonic.max(end - self.offset);
                    self.turn();
                }
            }
            Deed::Reload(late, edits) => {
                self.monotonic += *late;
                self.edit(edits);
                self.feed(Event::Reloaded(self.read_jobs()));
                self.turn();
            }
            Deed::Ask(late, ask) => {
                self.monotonic += *late;
                self.ask(ask);
                self.turn();
            }
            Deed::Restart { killed, on_time, asks, down, step, edits } => {
                let next = self.agenda.next_slots().map(|(_, at)| at - self.offset).min();
                if let Some(next) = next.filter(|_| *on_time) {
                    self.monotonic = self.monotonic.max(next);
                }
                if !killed {
                    self.stop(asks);
                }
                self.pool.clear();
                self.edit(edits);
                self.monotonic += *down;
                self.offset += *step;
                self.start();
            }
        }
    }
}

/// The seed of the randomness: `RECOUNTD_SEED` when it is set, a fresh one otherwise.
fn seed() -> u64 {
    let seed = match std::env::var("RECOUNTD_SEED") {
        Ok(text) => text.parse().expect("RECOUNTD_SEED is a whole number"),
        Err(_) => fastrand::u64(..),
    };
    println!("to repeat this: RECOUNTD_SEED={seed}");
    seed
}

#[test]
fn every_slot_that_comes_due_is_dealt_with_once_whatever_happens() {
    let config = ProptestConfig {
        cases: 130,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut totals = (0, 0, 0, BTreeMap::new(), BTreeMap::new());
    let told = RefCell::new(&mut totals);
    let tell = |story: Story| {
        let mut shell = Shell::new(&story);
        for deed in &story.deeds {
            shell.perform(deed);
        }
        shell.stop(&[]);
        let mut told = told.borrow_mut();
        told.0 += shell.turns;
        told.1 += shell.ledger.slots;
        told.2 += shell.ledger.started;
        for (word, count) in shell.ledger.records {
            *told.3.entry(word).or_insert(0) += count;
        }
        let seen = shell.ledger.lines.seen.into_iter().filter(|(_, count)| *count > 0);
        for (word, count) in shell.ledger.happened.into_iter().chain(seen) {
            *told.4.entry(word).or_insert(0) += count;
        }
        Ok(())
    };
    match TestRunner::new_with_rng(config, rng).run(&stories(), tell) {
        Ok(()) => {}
        Err(TestError::Fail(why, story)) => panic!("{why}\nthe smallest such story: {story:?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    // A test that never comes to what it is about would always pass.
    println!("turns, slots, starts, records, what happened: {totals:?}");
    let never = |words: &[&str], counts: &BTreeMap<&str, usize>| {
        let word = words.iter().find(|word| !counts.contains_key(**word));
        assert_eq!(word, None, "{totals:?}");
    };
    never(&["clean", "failed", "missed", "skipped", "paused", "reload", "removed"], &totals.3);
    never(&["shutdown"], &totals.3);
    never(&["done", "refused", "triggered", "active"], &totals.4);
    // Added jobs that are over, and some that stay because nobody saw to their last slot.
    never(&["missed", "expired", "ran", "ran by hand", "stays at a start"], &totals.4);
    never(&["set aside", "aside at a start", "back at a start"], &totals.4);
    never(&["back", "back and due", "back paused", "back with another trigger"], &totals.4);
    never(&["put while aside", "removed while aside", "refused while aside"], &totals.4);
    never(&["held back", "again: missed", "again: in grace"], &totals.4);
}

#[test]
fn a_retry_that_does_not_come_to_run_leaves_what_the_attempt_before_it_found() {
    let never_ran =
        [Ended::Expired { waited: std::time::Duration::from_secs(61) }, Ended::NotStarted];
    for ended in never_ran {
        let mut world = World::new(&[job("a", "interval = '1h'")], BEGIN, 1);
        world.pass("1h");
        world.finish(failed(true));
        world.pass("1s");
        assert_eq!(world.started.len(), 2);
        world.finish(ended);
        let end = &world.records[0].end;
        assert!(matches!(end, SlotEnd::Ran { attempts: 1, .. }), "it ran and failed: {end:?}");
    }
}

#[test]
fn a_date_that_has_had_its_turn_is_not_told_of_again_when_the_clock_is_corrected() {
    let once = [job("a", "date = 2026-10-23T00:00:10Z")];
    let mut world = World::new(&once, BEGIN, 1);
    world.pass("1d");
    world.finish(clean());
    world.step(TimeDelta::hours(-4));
    assert_eq!((world.started.len(), world.ends()), (1, vec!["clean 1x".to_owned()]));
}

#[test]
fn after_a_small_step_back_no_instant_comes_twice_under_another_trigger_either() {
    let before = [job("a", "interval = '1m'")];
    let after = [job("a", "interval = '2m'")];
    let ran = || {
        let mut world = World::new(&before, BEGIN, 1);
        world.pass("10m");
        world.step(TimeDelta::minutes(-5));
        world
    };
    let next_of = |world: &World| world.agenda.next_slots().next().map(|(_, next)| next);

    let mut reloaded = ran();
    reloaded.feed(Event::Reloaded(after.to_vec()));
    assert_eq!(next_of(&reloaded), Some(at("2026-10-23T00:12:00Z")));
    let restarted = ran().restarted(&after, "1s");
    assert_eq!(next_of(&restarted), Some(at("2026-10-23T00:12:00Z")));
}
