//! Redis: the counters of one key. Every command is bounded in size and in time (R9).

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ::redis::{Connection, FromRedisValue, RedisResult, Script, cmd};

use super::CONNECT_TIMEOUT;
use crate::config::Server;
use crate::reconcile::{Amount, Change, Id};

mod connect;
mod error;

pub use error::{RedisError, RedisErrorKind};

/// How long one command may take before the connection is given up.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Sets a member to its new score if it still holds the expected one; both may be '' for absent.
/// It answers 1 for each member that it wrote, 0 for each that has moved. Safe to repeat: a second
/// call finds the new score instead of the expected one and changes nothing. That a member holds
/// the new score already does not make it right: it may have got there by a write that came after
/// the snapshot, so it has moved like any other.
const COMPARE_AND_SET: &str = "
local function is(score, wanted)
  if wanted == '' then return not score end
  return score and tonumber(score) == tonumber(wanted)
end
local done = {}
for i = 1, #ARGV, 3 do
  local member, expected, new = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local score = redis.call('ZSCORE', KEYS[1], member)
  if not is(score, expected) then
    done[#done + 1] = 0
  elseif new == '' then
    redis.call('ZREM', KEYS[1], member)
    done[#done + 1] = 1
  else
    redis.call('ZADD', KEYS[1], new, member)
    done[#done + 1] = 1
  end
end
return done
";

/// Whether a URL can be used, the files included that it names.
///
/// # Errors
/// Why it cannot; the text holds no password.
pub fn check_url(url: &str) -> Result<(), String> {
    connect::client(url).map(|_| ())
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// The key is not there.
    Absent,
    /// A sorted set.
    Zset,
    /// Something else, in Redis's word.
    Other(String),
}

/// A page of a sweep.
#[derive(Debug)]
pub struct Page {
    /// Where the next page begins; 0 after the last.
    pub cursor: u64,
    /// Members with their scores; one may come twice.
    pub members: Vec<(Id, Amount)>,
}

/// A connection to one server. After any I/O error it is dropped with its owner: what comes next
/// on the wire could be the answer to an earlier question.
pub struct Redis {
    server: Arc<Server>,
    connection: Connection,
    script: Script,
    deadline: Instant,
}

impl Redis {
    /// Connects. No command waits for its reply past `deadline` by more than a second.
    ///
    /// # Errors
    /// The server cannot be reached or does not let us in; after [`CONNECT_TIMEOUT`] at the latest.
    pub fn open(server: &Arc<Server>, deadline: Instant) -> Result<Self, RedisError> {
        let fail = |kind| RedisError::new(server, kind);
        let client =
            connect::client(server.url.reveal()).map_err(|e| fail(RedisErrorKind::Url(e)))?;
        // Looking a host name up has no time limit of its own; a thread can be left behind.
        let (answer, connected) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("redis".to_owned())
            .spawn(move || {
                answer.send(client.get_connection_with_timeout(CONNECT_TIMEOUT)).ok();
            })
            .map_err(|error| fail(RedisErrorKind::Thread(error.to_string())))?;
        let connection = match connected.recv_timeout(CONNECT_TIMEOUT) {
            Ok(result) => result.map_err(|e| RedisError::new(server, &e).while_connecting())?,
            Err(_) => return Err(fail(RedisErrorKind::NoAnswer)),
        };
        let server = Arc::clone(server);
        Ok(Self { server, connection, script: Script::new(COMPARE_AND_SET), deadline })
    }

    /// How long a command without work takes: the way there and back.
    ///
    /// # Errors
    /// As every command: the connection broke, or the server answered with an error.
    pub fn round_trip(
        &mut self,
        mut stopwatch: impl FnMut() -> Instant,
    ) -> Result<Duration, RedisError> {
        let mut best = REPLY_TIMEOUT;
        for _ in 0..3 {
            let begun = stopwatch();
            self.ask::<String>(&cmd("PING"))?;
            best = best.min(stopwatch().duration_since(begun));
        }
        Ok(best)
    }

    /// Whether it is a replica that takes no writes (R7).
    ///
    /// # Errors
    /// As every command.
    pub fn is_read_only_replica(&mut self) -> Result<bool, RedisError> {
        let mut info = cmd("INFO");
        let info: String = match self.ask(info.arg("replication")) {
            Ok(info) => info,
            // An ACL may forbid INFO; a replica then refuses the first write by itself.
            Err(error) if error.kind.is_forbidden() => return Ok(false),
            Err(error) => return Err(error),
        };
        let says = |line| info.lines().any(|l| l.trim() == line);
        Ok(says("role:slave") && says("slave_read_only:1"))
    }

    /// The server's version (`check --connect`).
    ///
    /// # Errors
    /// As every command.
    pub fn version(&mut self) -> Result<String, RedisError> {
        let mut info = cmd("INFO");
        let info: String = self.ask(info.arg("server"))?;
        let version = info.lines().find_map(|l| l.trim().strip_prefix("redis_version:"));
        Ok(version.unwrap_or("of unknown version").to_owned())
    }

    /// What the key holds.
    ///
    /// # Errors
    /// As every command.
    pub fn key_kind(&mut self, key: &str) -> Result<KeyKind, RedisError> {
        let kind: String = self.ask(cmd("TYPE").arg(key))?;
        Ok(match kind.as_str() {
            "none" => KeyKind::Absent,
            "zset" => KeyKind::Zset,
            _ => KeyKind::Other(kind),
        })
    }

    /// How many members have a score that is not 0: 0 is as good as absent (R1).
    ///
    /// # Errors
    /// As every command.
    pub fn held(&mut self, key: &str) -> Result<u64, RedisError> {
        let all: u64 = self.ask(cmd("ZCARD").arg(key))?;
        let zeros: u64 = self.ask(cmd("ZCOUNT").arg(key).arg(0).arg(0))?;
        Ok(all.saturating_sub(zeros))
    }

    /// The counters of some ids, in their order.
    ///
    /// # Errors
    /// As every command.
    pub fn read<'i>(
        &mut self,
        key: &str,
        ids: impl Iterator<Item = &'i Id>,
    ) -> Result<Vec<Option<Amount>>, RedisError> {
        let mut command = cmd("ZMSCORE");
        command.arg(key);
        let mut asked = 0;
        for id in ids {
            command.arg(id.to_bytes());
            asked += 1;
        }
        if asked == 0 {
            return Ok(Vec::new());
        }
        let scores: Vec<Option<f64>> = self.ask(&command)?;
        self.same_count(asked, scores.len())?;
        Ok(scores.into_iter().map(|score| score.map(Amount::from_f64)).collect())
    }

    /// One page of all members. Begin with cursor 0; the page that answers 0 is the last.
    ///
    /// # Errors
    /// As every command.
    pub fn sweep(&mut self, key: &str, cursor: u64, count: usize) -> Result<Page, RedisError> {
        // By hand: the library's iterator repeats an error for ever.
        let mut command = cmd("ZSCAN");
        let command = command.arg(key).arg(cursor).arg("COUNT").arg(count);
        let (cursor, members): (u64, Vec<(Vec<u8>, f64)>) = self.ask(command)?;
        let member =
            |(bytes, score): (Vec<u8>, f64)| (Id::from_bytes(&bytes), Amount::from_f64(score));
        Ok(Page { cursor, members: members.into_iter().map(member).collect() })
    }

    /// Writes each change whose counter still holds what it is expected to; says of each, in their
    /// order, whether it was written. Atomic, and safe to repeat.
    ///
    /// # Errors
    /// As every command. What had been written by then is right.
    pub fn compare_and_set(
        &mut self,
        key: &str,
        changes: &[Change],
    ) -> Result<Vec<bool>, RedisError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        self.limit_reply_time()?;
        let mut call = self.script.prepare_invoke();
        call.key(key);
        let text = |amount: Option<Amount>| amount.map(|a| a.to_string()).unwrap_or_default();
        for change in changes {
            call.arg(change.id.to_bytes()).arg(text(change.from)).arg(text(change.to));
        }
        let done: RedisResult<Vec<bool>> = call.invoke(&mut self.connection);
        let done = done.map_err(|error| RedisError::new(&self.server, &error))?;
        self.same_count(changes.len(), done.len())?;
        Ok(done)
    }

    fn ask<T: FromRedisValue>(&mut self, command: &::redis::Cmd) -> Result<T, RedisError> {
        self.limit_reply_time()?;
        let answer = command.query(&mut self.connection);
        answer.map_err(|error| RedisError::new(&self.server, &error))
    }

    /// The library clears the time limits of a connection once it is set up, so they are set anew.
    fn limit_reply_time(&self) -> Result<(), RedisError> {
        let left = self.deadline.saturating_duration_since(crate::clock::monotonic());
        let limit = Some(REPLY_TIMEOUT.min(left + Duration::from_secs(1)));
        self.connection
            .set_read_timeout(limit)
            .and_then(|()| self.connection.set_write_timeout(limit))
            .map_err(|error| RedisError::new(&self.server, &error))
    }

    fn same_count(&self, asked: usize, answered: usize) -> Result<(), RedisError> {
        if asked == answered {
            return Ok(());
        }
        let reason = format!("{answered} answers to {asked} questions");
        Err(RedisError::new(&self.server, RedisErrorKind::Lost(reason)))
    }
}
