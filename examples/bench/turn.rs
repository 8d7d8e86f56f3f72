//! What one turn of the loop costs in the agenda: one slot comes due among n jobs, and its run ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use recountd::agenda::{Action, Agenda, Ended, Event, Memory, RunId};
use recountd::clock;
use recountd::config::Job;
use recountd::report::Outcome;
use recountd::schedule::{Interval, Trigger};

use crate::jobs;

/// The sizes take turns in rounds, so that whatever else the machine does is spread over all of them.
const ROUNDS: u32 = 5;
const TURNS: u32 = 10_000;

/// An agenda, and the time that has come in it.
struct Measured {
    agenda: Agenda,
    now: DateTime<Utc>,
    turns: Vec<Duration>,
}

/// The median cost of a turn with so many jobs, for each of `sizes`.
pub fn measure(folder: &Path, sizes: &[u32]) -> Vec<Duration> {
    let template = jobs::template(folder);
    let mut measured: Vec<Measured> =
        sizes.iter().map(|jobs| Measured::new(&template, *jobs)).collect();
    for _ in 0..ROUNDS {
        for one in &mut measured {
            for _ in 0..TURNS {
                let turn = one.turn();
                one.turns.push(turn);
            }
        }
    }
    measured.into_iter().map(|one| median(one.turns)).collect()
}

impl Measured {
    /// One job is due each second, and each job once in as many seconds as there are jobs. Which one is next has
    /// nothing to do with its name, or neighbours in time would be neighbours in memory.
    fn new(template: &Job, jobs: u32) -> Self {
        let (now, every) = (clock::wall(), Duration::from_secs(u64::from(jobs)));
        let mut numbers: Vec<u32> = (0..jobs).collect();
        Rng::with_seed(1).shuffle(&mut numbers);
        let job = |(order, number): (usize, u32)| {
            let first = now + TimeDelta::seconds(order as i64 + 1);
            let trigger = Trigger::Interval(Interval::new(every, Some(first)));
            Arc::new(Job { name: format!("job-{number}").into(), trigger, ..template.clone() })
        };
        let jobs: Vec<Arc<Job>> = numbers.into_iter().enumerate().map(job).collect();
        let mut agenda = Agenda::new(jobs, &Memory::default(), 10, now, 1);
        // The first event also brings what is to be remembered of all the jobs.
        drop(agenda.handle(now, Event::Due));
        Self { agenda, now, turns: Vec::new() }
    }

    /// The time of one turn.
    fn turn(&mut self) -> Duration {
        self.now = self.agenda.next_wake().expect("a slot always follows");
        let begin = clock::monotonic();
        let run = started(&self.agenda.handle(self.now, Event::Due));
        let ended =
            Ended::Done { outcome: Outcome::Clean, reason: None, retry: false, report: None };
        drop(self.agenda.handle(self.now, Event::Finished { run, ended }));
        begin.elapsed()
    }
}

/// The one run that has to be started.
fn started(actions: &[Action]) -> RunId {
    let run = actions.iter().find_map(|action| match action {
        Action::Start(order) => Some(order.run),
        _ => None,
    });
    run.expect("the slot that is due starts")
}

fn median(mut turns: Vec<Duration>) -> Duration {
    turns.sort_unstable();
    turns.get(turns.len() / 2).copied().unwrap_or_default()
}
