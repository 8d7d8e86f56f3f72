//! Feeding the agenda, and doing what it decides.

use std::sync::Arc;

use super::Daemon;
use crate::agenda::{Action, Ended, Event, Order};
use crate::board::News;
use crate::config::duration;
use crate::jobs::Cancel;
use crate::journal;

impl Daemon {
    pub(super) fn feed(&mut self, event: Event) {
        // One time for the whole turn, the one that was checked for a step.
        let actions = self.agenda.handle(self.clocks.0, event);
        // The starts come first: a run is as late as all that is done before it.
        for action in &actions {
            if let Action::Start(order) = action {
                self.start(order);
            }
        }
        for action in actions {
            self.perform(action);
        }
    }

    fn start(&mut self, order: &Order) {
        let (run, cancel) = (order.run, Cancel::default());
        self.cancels.insert(run, cancel.clone());
        if !self.pool.submit(order.clone(), cancel) {
            log::error!("run {run} found the pool full; please report it");
            self.feed(Event::Finished { run, ended: Ended::NotStarted });
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(order) => {
                log::debug!("{}: run {} starts", order.job.name, order.run);
                self.board.tell(News::Started(order.clone(), self.clocks.0));
                self.state.started(order, self.clocks.0);
            }
            Action::Waits(order) => {
                self.board.tell(News::Waits(order.clone()));
                self.state.waits(order);
            }
            Action::Record(record) => {
                journal::record(&record);
                self.board.tell(News::Ended(Box::new(record.clone()), self.clocks.0));
                self.state.ended(record, self.clocks.0);
            }
            Action::WillRetry { job, run, wait, reason } => {
                self.board.tell(News::WillRetry(job, run));
                let (wait, reason) = (duration::format(wait), reason.unwrap_or_default());
                log::warn!("run {run} is tried again in {wait}: {reason}");
            }
            Action::Reloaded(diff) => journal::reloaded(&diff),
            Action::Remember { job, memory, next } => {
                let (name, paused) = (Arc::clone(&job.name), memory.paused);
                self.board.tell(News::Job { job, next, paused });
                self.state.remember(name, memory);
            }
            Action::Forget(job) => {
                self.board.tell(News::Gone(Arc::clone(&job)));
                self.state.forget(job);
            }
            Action::Retire(job) => {
                log::info!("{job}: over, it has no slot left");
                self.board.tell(News::Gone(Arc::clone(&job)));
                self.added.remove(&job);
                self.state.retire(job);
            }
            Action::Answer(answer) => self.verdict = Some(answer),
        }
    }
}
