//! Answering what is asked over the hotline. The loop decides and answers at once; whatever has to
//! reach the disk first, whoever asks has written there.

use std::sync::Arc;

use chrono::TimeDelta;

use super::Daemon;
use crate::agenda::{Command, CommandError, Event, RunId};
use crate::ask::{Answer, Ask, Asked, Refusal};
use crate::board::News;
use crate::config::{Fault, Job, duration};
use crate::schedule::Trigger;
use crate::state::Added;

impl Daemon {
    /// Answers; never waits.
    pub(super) fn answer(&mut self, asked: Asked) {
        if asked.take() {
            let answer = self.decide(asked.ask.clone());
            asked.answer(answer);
        }
    }

    fn decide(&mut self, ask: Ask) -> Result<Answer, Refusal> {
        match ask {
            Ask::Alive => Ok(self.done(None)),
            Ask::Trigger { job, dry_run } => {
                let answer = self.command(Command::Trigger { job: Arc::clone(&job), dry_run })?;
                let how = if dry_run { "a dry run" } else { "a run" };
                log::info!("{job}: {how} was asked for");
                Ok(answer)
            }
            Ask::Pause(job) => {
                let was_paused = self.agenda.is_paused(&job);
                let answer = self.command(Command::Pause(Arc::clone(&job)))?;
                if !was_paused {
                    log::info!("{job}: paused");
                }
                Ok(answer)
            }
            Ask::Resume(job) => {
                let was_paused = self.agenda.is_paused(&job);
                let answer = self.command(Command::Resume(Arc::clone(&job)))?;
                if was_paused {
                    log::info!("{job}: resumed");
                }
                Ok(answer)
            }
            Ask::Put { added, new, only_look } => self.put(added, new, only_look),
            Ask::Remove { job, only_look } => self.remove(&job, only_look),
        }
    }

    fn done(&self, run: Option<RunId>) -> Answer {
        Answer { run, told: self.board.told(), handed: self.state.handed() }
    }

    fn command(&mut self, command: Command) -> Result<Answer, Refusal> {
        self.feed(Event::Commanded(command));
        // The agenda answers every command within its own turn.
        let run = self.verdict.take().unwrap_or(Err(CommandError::Stopping))?;
        Ok(self.done(run))
    }

    fn put(&mut self, added: Added, new: bool, only_look: bool) -> Result<Answer, Refusal> {
        let name: Arc<str> = Arc::from(&*added.name);
        if self.config.jobs.contains_key(&name) {
            return Err(if new { Refusal::Exists(name) } else { Refusal::FromFile(name) });
        }
        match (new, self.added.contains_key(&name)) {
            (true, true) => return Err(Refusal::Exists(name)),
            (false, false) => return Err(CommandError::NoSuchJob(name).into()),
            (true, false) | (false, true) => {}
        }
        let job = self.config.added(&name, &added.definition).map_err(Refusal::Invalid)?;
        self.refuse_past(&job)?;
        if only_look {
            if self.stopping.is_some() {
                return Err(CommandError::Stopping.into());
            }
            return Ok(self.done(None));
        }
        // Before the command: a slot that was due may retire the job in the same turn.
        let before = self.added.insert(Arc::clone(&name), added);
        let answer = self.command(Command::Put(Arc::new(job)));
        if answer.is_ok() {
            log::info!("{name}: {} at run time", if new { "added" } else { "rescheduled" });
        } else if let Some(before) = before {
            self.added.insert(name, before);
        } else {
            self.added.remove(&name);
        }
        answer
    }

    /// A date that is past for longer than its grace would only be recorded as missed.
    fn refuse_past(&self, job: &Job) -> Result<(), Refusal> {
        let Trigger::Date(date) = job.trigger else { return Ok(()) };
        let late = self.clocks.0 - date;
        let grace = TimeDelta::from_std(job.limits.misfire_grace).unwrap_or(TimeDelta::MAX);
        if late <= grace {
            return Ok(());
        }
        let late =
            duration::format(std::time::Duration::from_secs(late.num_seconds().unsigned_abs()));
        Err(Refusal::Invalid(vec![Fault {
            pointer: "/date".to_owned(),
            detail: format!("`date` was {late} ago, more than misfire_grace"),
            help: Some("give a date to come, or trigger the job".to_owned()),
        }]))
    }

    fn remove(&mut self, job: &Arc<str>, only_look: bool) -> Result<Answer, Refusal> {
        let is_in_file = self.config.jobs.contains_key(job);
        if !self.added.contains_key(job) {
            let job = Arc::clone(job);
            let none = CommandError::NoSuchJob(Arc::clone(&job)).into();
            return Err(if is_in_file { Refusal::FromFile(job) } else { none });
        }
        if only_look {
            return Ok(self.done(None));
        }
        self.added.remove(job);
        if is_in_file {
            // It gave way to the one in jobs.toml, which goes on; it only does not come back any more.
            log::info!("{job}: removed at run time; the one in jobs.toml stays");
        } else {
            match self.command(Command::Remove(Arc::clone(job))) {
                // One that is not valid is not on the agenda.
                Err(Refusal::Agenda(CommandError::NoSuchJob(_))) => {
                    self.board.tell(News::Gone(Arc::clone(job)));
                }
                Err(refusal) => return Err(refusal),
                Ok(_) => {}
            }
            log::info!("{job}: removed at run time");
        }
        Ok(self.done(None))
    }
}
