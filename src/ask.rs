//! How others ask the loop for something: a message with a place for the answer. The loop answers at
//! once and never waits for whoever asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use thiserror::Error;

use crate::agenda::{CommandError, RunId};
use crate::config::Fault;
use crate::state::Added;

/// How long whoever asks waits for the loop. It takes milliseconds; a loop that does not answer for so
/// long is stuck or has ended. A question that was given up is not carried out later.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Whether the loop turns.
    Alive,
    /// Run a job now.
    Trigger {
        /// Which.
        job: Arc<str>,
        /// Without a write.
        dry_run: bool,
    },
    /// Pause a job.
    Pause(Arc<str>),
    /// Let a paused job go on.
    Resume(Arc<str>),
    /// Take in a job at run time.
    Put {
        /// Its name and its table.
        added: Added,
        /// Whether there must be none of its name; else there must be one that was added before.
        new: bool,
        /// Whether it is only to be looked at: what is refused must not reach the disk, and what is
        /// taken in must have reached it.
        only_look: bool,
    },
    /// Take out a job that was added at run time.
    Remove {
        /// Which.
        job: Arc<str>,
        /// Whether it is only to be looked at.
        only_look: bool,
    },
}

/// What the loop answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The run that was begun, if one was.
    pub run: Option<RunId>,
    /// How much the board has been told up to here: who reads it after that sees what was done.
    pub told: u64,
    /// How much the state has been handed over up to here: once it is on disk, what was done outlives
    /// kill -9.
    pub handed: u64,
}

/// Why something that was asked was not done. `Display` is for the one who asked.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Refusal {
    /// The agenda refused it.
    #[error(transparent)]
    Agenda(#[from] CommandError),
    /// Only jobs that were added at run time can be changed at run time.
    #[error("{0} is in jobs.toml; edit it there and reload (systemctl reload recountd)")]
    FromFile(Arc<str>),
    /// There is one of this name.
    #[error("there is a job {0} already; choose another name, or remove it first")]
    Exists(Arc<str>),
    /// The definition is wrong.
    #[error("the job is not valid")]
    Invalid(Vec<Fault>),
    /// The loop did not answer.
    #[error("the daemon does not answer; look at its log")]
    Silent,
}

/// A question on its way to the loop.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub ask: Ask,
    reply: Sender<Result<Answer, Refusal>>,
    state: Arc<AtomicU8>,
}

/// It waits for the loop.
const OPEN: u8 = 0;
/// The loop carries it out.
const TAKEN: u8 = 1;
/// Whoever asked has told somebody that it was not done.
const WITHDRAWN: u8 = 2;

impl Asked {
    /// Takes the question; false if it was withdrawn: then it must not be carried out, for whoever asked
    /// has said that it was not.
    #[must_use]
    pub fn take(&self) -> bool {
        change(&self.state, TAKEN)
    }

    /// Answers. Whoever asked may have gone.
    pub fn answer(self, answer: Result<Answer, Refusal>) {
        self.reply.try_send(answer).ok();
    }
}

/// Ends the wait in one way; false if it has ended in the other.
fn change(state: &AtomicU8, to: u8) -> bool {
    state.compare_exchange(OPEN, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// The way to the loop.
#[derive(Clone)]
pub struct Hotline(Arc<dyn Fn(Asked) + Send + Sync>);

impl Hotline {
    /// A way on which `send` carries the questions.
    pub fn new(send: impl Fn(Asked) + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Asks, and waits for the answer for 10 s at most.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub fn ask(&self, ask: Ask) -> Result<Answer, Refusal> {
        self.ask_within(ask, PATIENCE)
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// As [`Hotline::ask`].
    pub fn ask_within(&self, ask: Ask, patience: Duration) -> Result<Answer, Refusal> {
        let (reply, answer): (_, Receiver<_>) = bounded(1);
        let state = Arc::new(AtomicU8::new(OPEN));
        (self.0)(Asked { ask, reply, state: Arc::clone(&state) });
        match answer.recv_timeout(patience) {
            Ok(answer) => answer,
            // It is too late to say no to what the loop is about to do; that takes a moment.
            Err(RecvTimeoutError::Timeout) if !change(&state, WITHDRAWN) => {
                answer.recv_timeout(PATIENCE).unwrap_or(Err(Refusal::Silent))
            }
            Err(_) => Err(Refusal::Silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_question_that_was_given_up_is_not_carried_out() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stuck = Arc::clone(&asked);
        let hotline = Hotline::new(move |question| stuck.lock().unwrap().push(question));
        let ask = Ask::Pause(Arc::from("a"));
        assert_eq!(hotline.ask_within(ask, Duration::ZERO), Err(Refusal::Silent));
        let late = asked.lock().unwrap().pop().unwrap();
        assert!(!late.take());
    }

    #[test]
    fn a_question_that_is_being_carried_out_is_waited_for() {
        let hotline = Hotline::new(move |question| {
            assert!(question.take());
            std::thread::spawn(move || {
                std::thread::yield_now();
                question.answer(Err(CommandError::Stopping.into()));
            });
        });
        let answer = hotline.ask_within(Ask::Alive, Duration::ZERO);
        assert_eq!(answer, Err(CommandError::Stopping.into()));
    }
}
