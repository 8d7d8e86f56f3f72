//! Writing counters: compare and set, and nothing else.

use ::redis::{FromRedisValue, Script, Value, cmd};

use super::counters::{Arg, key_of};
use super::script::{self, LATE};
use super::{Redis, RedisError, RedisErrorKind, WRITE_WINDOW};
use crate::config::Target;
use crate::reconcile::{Amount, Change};

/// How often a script that the server has lost is loaded anew for one call.
const LOADS: u32 = 3;

impl Redis {
    /// Writes each change whose counter still holds what it is expected to; says of each, in their
    /// order, whether it was written. Atomic, safe to repeat, and without effect when it comes to
    /// Redis more than [`WRITE_WINDOW`] after it was sent.
    ///
    /// # Errors
    /// As every command. What had been written by then is right.
    pub fn compare_and_set(
        &mut self,
        target: &Target,
        changes: &[Change],
    ) -> Result<Vec<bool>, RedisError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        for _ in 0..LOADS {
            self.send(target, changes)?;
            if let Some(done) = self.sent(changes)? {
                return Ok(done);
            }
        }
        let reason = "the server loses its scripts".to_owned();
        Err(RedisError::new(&self.server, RedisErrorKind::Server(reason)))
    }

    /// Sends such changes. Each call is answered by one of [`Redis::sent`], in the order of the
    /// calls; nothing else may be asked before.
    ///
    /// # Errors
    /// As every command.
    pub fn send(&mut self, target: &Target, changes: &[Change]) -> Result<(), RedisError> {
        let hash = self.load(target)?;
        let mut call = cmd("EVALSHA");
        call.arg(hash);
        if target.is_shared() {
            call.arg(1).arg(target.key());
        } else {
            call.arg(changes.len());
            changes.iter().for_each(|change| {
                call.arg(key_of(target, &change.id));
            });
        }
        call.arg(self.latest()).arg(changes.len());
        for change in changes {
            match target {
                Target::HashField { field, .. } => call.arg(field),
                _ => call.arg(Arg(&change.id)),
            };
        }
        let text = |amount: Option<Amount>| amount.map(|a| a.to_string()).unwrap_or_default();
        for change in changes {
            call.arg(text(change.from));
        }
        for change in changes {
            call.arg(text(change.to));
        }
        self.limit_reply_time()?;
        let sent = self.connection.send_packed_command(&call.get_packed_command());
        sent.map_err(|error| RedisError::new(&self.server, &error))
    }

    /// Says of each of the changes that were sent first, of those that have not been answered,
    /// whether it was written. `None`: none was, for the server had lost the script, or it came too
    /// late.
    ///
    /// # Errors
    /// As every command.
    pub fn sent(&mut self, changes: &[Change]) -> Result<Option<Vec<bool>>, RedisError> {
        self.limit_reply_time()?;
        let error = match self.receive()? {
            Value::ServerError(error) => ::redis::RedisError::from(error),
            done => {
                let done = Vec::<bool>::from_redis_value(done)
                    .map_err(|error| RedisError::new(&self.server, &error.into()))?;
                self.same_count(changes.len(), done.len())?;
                return Ok(Some(done));
            }
        };
        match error.code() {
            Some("NOSCRIPT" | LATE) => {
                self.loaded.clear();
                Ok(None)
            }
            _ => Err(RedisError::new(&self.server, &error)),
        }
    }

    /// Whether changes for the target can be sent at once. If not, no answer may be outstanding: the
    /// server has to be told the script first.
    #[must_use]
    pub fn is_ready_for(&self, target: &Target) -> bool {
        self.loaded.iter().any(|(known, _)| *known == std::mem::discriminant(target))
    }

    /// Makes sure that the server knows the script for a target; gives its hash. Looks at the
    /// server's clock again as well, which is what a write that came too late asks for.
    fn load(&mut self, target: &Target) -> Result<String, RedisError> {
        let kind = std::mem::discriminant(target);
        if let Some((_, hash)) = self.loaded.iter().find(|(known, _)| *known == kind) {
            return Ok(hash.clone());
        }
        self.clock = self.read_clock()?;
        let script: Script = script::compare_and_set(target, self.singly);
        self.limit_reply_time()?;
        let loaded = script.prepare_invoke().load(&mut self.connection);
        let hash: String = loaded.map_err(|error| RedisError::new(&self.server, &error))?;
        self.loaded.push((kind, hash.clone()));
        Ok(hash)
    }

    /// Until when a write that is sent now may come to effect, in ms of the server's clock; empty
    /// where that is not known.
    fn latest(&self) -> String {
        let Some((server, at)) = self.clock else { return String::new() };
        let since = crate::clock::monotonic().saturating_duration_since(at) + WRITE_WINDOW;
        u64::try_from(since.as_millis())
            .map(|since| server.saturating_add(since).to_string())
            .unwrap_or_default()
    }
}
