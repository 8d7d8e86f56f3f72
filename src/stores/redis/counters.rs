//! Reading and sweeping the counters of a target, whatever its kind.

use ::redis::{Cmd, Pipeline, RedisWrite, ToRedisArgs, Value, cmd, pipe};

use super::{Redis, RedisError, RedisErrorKind};
use crate::config::Target;
use crate::reconcile::{Amount, Id};

/// A page of a sweep.
#[derive(Debug)]
pub struct Page {
    /// Where the next page begins; 0 after the last.
    pub cursor: u64,
    /// Ids with their counters; one may come twice. What is no counter is left out.
    pub counters: Vec<(Id, Amount)>,
}

/// An id and its counter as Redis writes them.
type Pair = (Vec<u8>, Vec<u8>);

/// An id as an argument, without a detour over a buffer of its own.
pub(super) struct Arg<'a>(pub(super) &'a Id);

impl ToRedisArgs for Arg<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match self.0 {
            Id::Number(number) => out.write_arg_fmt(number),
            Id::Text(bytes) => out.write_arg(bytes),
        }
    }
}

impl Redis {
    /// How many counters a key that all ids share holds. Those of a zset that are 0 do not count,
    /// for they are as good as absent (R1); a hash does not tell.
    ///
    /// # Errors
    /// As every command.
    pub fn held(&mut self, target: &Target) -> Result<u64, RedisError> {
        let key = target.key();
        match target {
            Target::Zset { .. } => {
                self.learn_commands(target)?;
                let all: u64 = self.ask(cmd("ZCARD").arg(key))?;
                let zeros: u64 = self.ask(cmd("ZCOUNT").arg(key).arg(0).arg(0))?;
                Ok(all.saturating_sub(zeros))
            }
            Target::Hash { .. } => self.ask(cmd("HLEN").arg(key)),
            Target::HashField { .. } | Target::Text { .. } => Ok(0),
        }
    }

    /// Finds out which commands the server has, before a target is read for the first time.
    ///
    /// # Errors
    /// As every command.
    pub fn learn_commands(&mut self, target: &Target) -> Result<(), RedisError> {
        if let Target::Zset { key } = target {
            self.singly = match self.ask::<Value>(cmd("ZMSCORE").arg(key).arg("")) {
                Err(error) if error.kind.is_unknown_command() => true,
                // Whoever reads the key will be told.
                Err(error) if !matches!(error.kind, RedisErrorKind::WrongType(_)) => {
                    return Err(error);
                }
                _ => false,
            };
        }
        Ok(())
    }

    /// The counters of some ids, in their order.
    ///
    /// # Errors
    /// As every command; what is there is no counter.
    pub fn read<'i>(
        &mut self,
        target: &Target,
        ids: impl Iterator<Item = &'i Id> + Clone,
    ) -> Result<Vec<Option<Amount>>, RedisError> {
        self.ask_for(target, ids.clone())?;
        self.take(target, ids)
    }

    /// Asks for the counters of some ids. Each such call is answered by one of [`Redis::take`], in
    /// the order of the calls; nothing else may be asked before.
    ///
    /// # Errors
    /// As every command.
    pub fn ask_for<'i>(
        &mut self,
        target: &Target,
        ids: impl Iterator<Item = &'i Id>,
    ) -> Result<(), RedisError> {
        let one = |name: &str| {
            let mut command = cmd(name);
            command.arg(target.key());
            command
        };
        let mut ids = ids.peekable();
        if ids.peek().is_none() {
            return Ok(());
        }
        let packed = match target {
            Target::Zset { .. } if self.singly => {
                let score = |id| one("ZSCORE").arg(Arg(id)).clone();
                each(ids.map(score))
            }
            Target::Zset { .. } => all(one("ZMSCORE"), ids),
            Target::Hash { .. } => all(one("HMGET"), ids),
            Target::HashField { field, .. } => {
                each(ids.map(|id| cmd("HGET").arg(key_of(target, id)).arg(field).clone()))
            }
            Target::Text { .. } => each(ids.map(|id| cmd("GET").arg(key_of(target, id)).clone())),
        };
        self.limit_reply_time()?;
        let sent = self.connection.send_packed_command(&packed);
        sent.map_err(|error| RedisError::new(&self.server, &error))
    }

    /// The counters that were asked for first of those that have not been taken yet.
    ///
    /// # Errors
    /// As every command; what is there is no counter.
    pub fn take<'i>(
        &mut self,
        target: &Target,
        ids: impl Iterator<Item = &'i Id> + Clone,
    ) -> Result<Vec<Option<Amount>>, RedisError> {
        let asked = ids.clone().count();
        if asked == 0 {
            return Ok(Vec::new());
        }
        self.limit_reply_time()?;
        let one_reply = match target {
            Target::Zset { .. } => !self.singly,
            Target::Hash { .. } => true,
            Target::HashField { .. } | Target::Text { .. } => false,
        };
        let values = if one_reply {
            match self.receive()? {
                Value::Array(values) => values,
                Value::ServerError(error) => {
                    return Err(RedisError::new(&self.server, &error.into()));
                }
                _ => Vec::new(),
            }
        } else {
            (0..asked).map(|_| self.receive()).collect::<Result<_, _>>()?
        };
        self.same_count(asked, values.len())?;
        values.into_iter().zip(ids).map(|(value, id)| self.counter(target, id, value)).collect()
    }

    pub(super) fn receive(&mut self) -> Result<Value, RedisError> {
        self.connection.recv_response().map_err(|error| RedisError::new(&self.server, &error))
    }

    fn counter(
        &mut self,
        target: &Target,
        id: &Id,
        value: Value,
    ) -> Result<Option<Amount>, RedisError> {
        let text = match value {
            Value::Nil => return Ok(None),
            Value::Double(score) => return Ok(Some(Amount::from_f64(score))),
            Value::BulkString(text) => text,
            Value::ServerError(error) => {
                let error = RedisError::new(&self.server, &error.into());
                if matches!(error.kind, RedisErrorKind::WrongType(_)) && !target.is_shared() {
                    return Err(self.other_type(target, id));
                }
                return Err(error);
            }
            other => format!("{other:?}").into_bytes(),
        };
        amount(target, &text).map(Some).ok_or_else(|| {
            let value = String::from_utf8_lossy(&text).chars().take(40).collect();
            let (target, id) = (target.to_string(), id.to_string());
            RedisError::new(&self.server, RedisErrorKind::NotACounter { target, id, value })
        })
    }

    fn other_type(&self, target: &Target, id: &Id) -> RedisError {
        let key = String::from_utf8_lossy(&key_of(target, id)).into_owned();
        let wanted = target.redis_type();
        RedisError::new(&self.server, RedisErrorKind::OtherType { key, wanted })
    }

    /// One page of all counters of the target. Begin with cursor 0; the page that answers 0 is the
    /// last. Where each id has a key of its own, the keys of the whole database are looked through.
    ///
    /// # Errors
    /// As every command.
    pub fn sweep(
        &mut self,
        target: &Target,
        cursor: u64,
        count: usize,
    ) -> Result<Page, RedisError> {
        // By hand: the library's iterator repeats an error for ever.
        let scan = match target {
            Target::Zset { .. } => "ZSCAN",
            Target::Hash { .. } => "HSCAN",
            Target::HashField { .. } | Target::Text { .. } => {
                return self.sweep_keys(target, cursor, count);
            }
        };
        let mut command = cmd(scan);
        let command = command.arg(target.key()).arg(cursor).arg("COUNT").arg(count);
        let (cursor, pairs): (u64, Vec<Pair>) = self.ask(command)?;
        let counter =
            |(id, text): Pair| amount(target, &text).map(|amount| (Id::from_bytes(&id), amount));
        Ok(Page { cursor, counters: pairs.into_iter().filter_map(counter).collect() })
    }

    fn sweep_keys(
        &mut self,
        target: &Target,
        cursor: u64,
        count: usize,
    ) -> Result<Page, RedisError> {
        let (before, after) = target.around_id();
        let pattern = format!("{}*{}", escape(before), escape(after));
        let mut command = cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
        command.arg("TYPE").arg(target.redis_type());
        let (cursor, keys): (u64, Vec<Vec<u8>>) = self.ask(&command)?;
        let id = |key: &Vec<u8>| {
            let rest = key.strip_prefix(before.as_bytes())?;
            rest.strip_suffix(after.as_bytes()).map(Id::from_bytes)
        };
        let ids: Vec<Id> = keys.iter().filter_map(id).collect();
        self.ask_for(target, ids.iter())?;
        let mut counters = Vec::new();
        for id in ids {
            // The pattern may match what is somebody else's: only what counts is a counter.
            if let Value::BulkString(text) = self.receive()?
                && let Some(amount) = amount(target, &text)
            {
                counters.push((id, amount));
            }
        }
        Ok(Page { cursor, counters })
    }

    pub(super) fn same_count(&self, asked: usize, answered: usize) -> Result<(), RedisError> {
        if asked == answered {
            return Ok(());
        }
        let reason = format!("{answered} answers to {asked} questions");
        Err(RedisError::new(&self.server, RedisErrorKind::Lost(reason)))
    }
}

fn amount(target: &Target, text: &[u8]) -> Option<Amount> {
    match target {
        Target::Zset { .. } => Amount::from_score(text),
        Target::Hash { .. } | Target::HashField { .. } | Target::Text { .. } => {
            Amount::from_counter(text)
        }
    }
}

/// The key of one id.
pub(super) fn key_of(target: &Target, id: &Id) -> Vec<u8> {
    let (before, after) = target.around_id();
    [before.as_bytes(), &id.to_bytes(), after.as_bytes()].concat()
}

fn all<'i>(mut command: Cmd, ids: impl Iterator<Item = &'i Id>) -> Vec<u8> {
    for id in ids {
        command.arg(Arg(id));
    }
    command.get_packed_command()
}

fn each(commands: impl Iterator<Item = Cmd>) -> Vec<u8> {
    let mut all: Pipeline = pipe();
    for command in commands {
        all.add_command(command);
    }
    all.get_packed_pipeline()
}

/// A text that SCAN's MATCH takes for itself.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_itself_in_a_pattern() {
        assert_eq!(escape(r"a*b?[c]\d:{x}"), r"a\*b\?\[c\]\\d:{x}");
    }

    #[test]
    fn the_id_stands_where_the_key_says() {
        let target = Target::Text { key: "user:{id}:likes".to_owned() };
        assert_eq!(key_of(&target, &Id::Number(7)), b"user:7:likes");
        assert_eq!(key_of(&target, &Id::from_bytes(b"a{id}")), b"user:a{id}:likes");
    }
}
