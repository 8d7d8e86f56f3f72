//! Why the daemon gave no answer, or not the one that was hoped for.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::Place;

/// Why a request came to nothing. `Display` names the daemon's place and the way out.
#[derive(Debug, Error)]
pub enum ClientError {
    /// What `--url` says cannot be used.
    #[error("{url}: {reason}; write http://HOST:PORT, https://HOST or unix:/PATH")]
    Url {
        /// What was given; never with a password in it.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody listens there, or we may not connect.
    #[error(
        "no daemon answers at {place} ({reason}): is the daemon running? If it listens elsewhere, say where with --url"
    )]
    Unreachable {
        /// Where it was looked for.
        place: Place,
        /// What the system says.
        reason: String,
    },
    /// The daemon's socket is there, and is not for us.
    #[error(
        "{place}: permission denied; ask as root, or as a user in the group of the socket (`ls -l` tells which)"
    )]
    Denied {
        /// Where the socket is.
        place: Place,
    },
    /// The connection was lost before the whole answer was there.
    #[error(
        "{place} closed the connection before its answer was complete; see with `recountd list` and `recountd runs` whether it was done"
    )]
    Lost {
        /// Where the daemon answers.
        place: Place,
    },
    /// No answer, or no whole one, within the time for it.
    #[error("{place} did not answer within {}; is it stopped, or very busy?", crate::config::duration::format(*.limit))]
    Slow {
        /// Where the daemon answers.
        place: Place,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The daemon refuses, and says why.
    #[error(transparent)]
    Problem(#[from] Box<Problem>),
    /// It wants a token (401).
    #[error("{place} {}", if *.given { "does not take this token; see --token-file and RECOUNTD_TOKEN" } else { "wants a token: give it with --token-file FILE or in RECOUNTD_TOKEN" })]
    Token {
        /// Where the daemon answers.
        place: Place,
        /// Whether one was given.
        given: bool,
    },
    /// Something answers that is not recountd.
    #[error("what answers at {place} is not recountd: {what}; say with --url where recountd is")]
    NotRecountd {
        /// Where it answers.
        place: Place,
        /// What it answered.
        what: Strange,
    },
    /// The answer is longer than what is taken.
    #[error("the answer of {place} is longer than {} MiB, and was not read to its end; ask for less", .limit >> 20)]
    TooLarge {
        /// Where the daemon answers.
        place: Place,
        /// The most bytes that are taken.
        limit: u64,
    },
}

impl ClientError {
    pub(super) fn url(url: &str, reason: &'static str) -> Self {
        Self::Url { url: url.to_owned(), reason }
    }

    /// The status of the daemon's answer, if it was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            Self::Token { .. } => Some(401),
            _ => None,
        }
    }
}

/// An answer that recountd does not give.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Strange {
    /// It is no HTTP.
    #[error("it does not speak HTTP/1.1")]
    Protocol,
    /// Its certificate is not good, or it does not speak TLS.
    #[error("no TLS connection came about ({0})")]
    Tls(String),
    /// Another type of content.
    #[error("it answered {status} with {kind}")]
    Type {
        /// The status.
        status: u16,
        /// The type of its content.
        kind: String,
    },
    /// It says that it is JSON, and is not.
    #[error("it answered {status} with broken JSON")]
    Json {
        /// The status.
        status: u16,
    },
    /// Something in an answer has not the form that it should have.
    #[error("its answer has no {0}")]
    Lacks(&'static str),
}

/// Why the daemon refuses: the fields of RFC 9457 that it uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// `urn:recountd:problem:…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wrong, the same for all problems of the kind.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong this time.
    pub detail: String,
    /// What is wrong where, if it is more than one thing.
    pub errors: Vec<Fault>,
}

/// One thing that is wrong with what was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Fault {
    /// Where in what was sent, as a JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
    /// The way out, where `detail` does not say it.
    pub help: Option<String>,
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = if self.detail.is_empty() { &self.title } else { &self.detail };
        if words.is_empty() {
            write!(f, "the daemon answered {}", self.status)?;
        } else {
            f.write_str(words)?;
        }
        for fault in &self.errors {
            let at = fault.pointer.trim_start_matches('/').replace('/', ".");
            let colon = if at.is_empty() { "" } else { ": " };
            write!(f, "\n  {at}{colon}{}", fault.detail)?;
            if let Some(help) = &fault.help {
                write!(f, "; {help}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_each_of_its_errors_with_its_help() {
        let problem: Problem = serde_json::from_str(
            r#"{"type":"urn:recountd:problem:invalid","title":"not a job","status":422,"detail":"the job has 2 mistakes",
                "errors":[{"pointer":"/cron","detail":"61 is no minute","help":"write 0 to 59"},{"pointer":"/target/zset","detail":"empty","help":null}],"x":1}"#,
        )
        .unwrap();
        assert_eq!(
            problem.to_string(),
            "the job has 2 mistakes\n  cron: 61 is no minute; write 0 to 59\n  target.zset: empty"
        );
        let bare: Problem = serde_json::from_str(r#"{"status":503,"title":"stopping"}"#).unwrap();
        assert_eq!(bare.to_string(), "stopping");
    }
}
