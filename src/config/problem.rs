//! What can be wrong with jobs.toml: each problem names the thing and the way out.

use thiserror::Error;

use super::duration::DurationError;
use crate::schedule::CronError;

/// One thing wrong with jobs.toml. `Display` says what; [`Problem::help`] what to write instead.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Problem {
    /// The text is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A key that the table does not have.
    #[error("unknown key `{key}` in {table}")]
    UnknownKey {
        /// The table, as a person would call it.
        table: String,
        /// The key that stands there.
        key: String,
        /// The keys that the table has.
        known: Vec<&'static str>,
    },
    /// More unknown keys of a table than are named one by one.
    #[error("{count} more unknown keys in {table}")]
    UnknownKeys {
        /// The table, as a person would call it.
        table: String,
        /// How many.
        count: usize,
        /// The keys that the table has.
        known: Vec<&'static str>,
    },
    /// A key that must be there is not.
    #[error("{table} has no `{key}`")]
    Missing {
        /// The table, as a person would call it.
        table: String,
        /// The key.
        key: &'static str,
        /// A line that would do.
        example: &'static str,
    },
    /// A value of another type than the key takes.
    #[error("`{key}` takes {expected}, not {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What it takes, with an example.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A value outside of its range.
    #[error("`{key}` must be {range}")]
    OutOfRange {
        /// The key.
        key: String,
        /// The range in words.
        range: String,
    },
    /// A duration that cannot be read.
    #[error("`{key}`: {error}")]
    Duration {
        /// The key.
        key: String,
        /// Why it cannot be read.
        error: DurationError,
    },
    /// A value that is none of the few the key takes.
    #[error("`{key}` cannot be `{found}`")]
    NotOneOf {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
        /// The values it takes.
        choices: &'static [&'static str],
    },
    /// A share that is not written as a percentage.
    #[error("`{key}`: `{found}` is not a percentage from 0% to 100%")]
    NotAPercentage {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
    },
    /// The name of a job that does not fit `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    #[error("`{0}` cannot be the name of a job")]
    JobName(String),
    /// A zone that the IANA database has not.
    #[error("there is no time zone `{0}`")]
    Zone(String),
    /// A job without a trigger.
    #[error("{0} has no trigger, so it would never run")]
    NoTrigger(String),
    /// A job with more than one trigger.
    #[error("{job} has {count} triggers: {names}")]
    TwoTriggers {
        /// The job.
        job: String,
        /// How many.
        count: usize,
        /// Which.
        names: String,
    },
    /// A cron expression that cannot be read or never fires.
    #[error("cron: {0}")]
    Cron(CronError),
    /// `start` beside another trigger than `interval`.
    #[error("`start` belongs to `interval`")]
    StartWithoutInterval,
    /// A date or a time alone where a date-time belongs.
    #[error("`{0}` needs both a date and a time")]
    NotADateTime(String),
    /// A date-time that chrono cannot hold.
    #[error("`{0}` is not a date-time that exists")]
    NoSuchDateTime(String),
    /// A job names a server that the file does not have.
    #[error("there is no `[{kind}.{name}]`")]
    NoSuchServer {
        /// `mysql` or `redis`.
        kind: &'static str,
        /// The name that the job gives.
        name: String,
        /// The names that the file has.
        known: Vec<String>,
    },
    /// A URL where the name of a server belongs; it is not repeated, since it holds a password.
    #[error("`{0}` takes the name of a server, not its url")]
    UrlForName(&'static str),
    /// A job names no server, and there is not exactly one to take.
    #[error("{job} does not say which {kind} server it uses, and there {}", are(.known.len()))]
    WhichServer {
        /// The job.
        job: String,
        /// `mysql` or `redis`.
        kind: &'static str,
        /// The names that the file has.
        known: Vec<String>,
    },
    /// A URL that the library which connects does not accept.
    #[error("`url` cannot be used: {0}")]
    Url(String),
    /// A URL with an `@` behind its host: a password that is not percent-encoded.
    #[error("`url` has an `@` behind the host")]
    RawPassword,
    /// A placeholder whose value is not there.
    #[error("`${{{placeholder}}}` in `{key}`: {reason}")]
    Placeholder {
        /// The key whose value it stands in.
        key: String,
        /// The name as it stands between the braces.
        placeholder: String,
        /// Why there is no value.
        reason: String,
    },
    /// A `${` without its `}`.
    #[error("`${{` in `{0}` has no closing `}}`")]
    OpenPlaceholder(String),
    /// A URL that cannot be pinged; it is not repeated, since its path is a secret.
    #[error("`{key}` cannot be pinged: {reason}")]
    PingUrl {
        /// `success` or `failure`.
        key: String,
        /// Why not.
        reason: String,
    },
    /// A target that names no place or too many.
    #[error("`target` must name exactly one of zset, hash, string")]
    TargetKind,
    /// `target` beside `targets`.
    #[error("`target` and `targets` in one job")]
    TargetAndTargets,
    /// Two columns for the same counters.
    #[error("another target of the job is {0} as well")]
    SameTarget(String),
    /// `field` beside a key that is the same for every id, or the other way round.
    #[error("{0}")]
    TargetShape(&'static str),
    /// A place to listen at that cannot be read.
    #[error("cannot listen at `{0}`")]
    Listen(String),
    /// An address that other machines reach.
    #[error("`{0}` can be reached from other machines")]
    RemoteListen(String),
    /// TCP without a token.
    #[error("`{0}` would let in everybody on this machine")]
    ListenWithoutToken(String),
    /// A token that stands in the file itself.
    #[error("`{0}` must not stand in this file")]
    OpenToken(&'static str),
    /// A token that can be guessed.
    #[error("the value of `{0}` is shorter than 16 characters")]
    ShortToken(&'static str),
    /// Two tokens that are one: who may read could write.
    #[error("the value of `read_token` is that of `token`")]
    SameToken,
    /// A key or a query of no characters.
    #[error("`{0}` is empty")]
    Empty(String),
}

fn are(count: usize) -> String {
    match count {
        0 => "is none".to_owned(),
        n => format!("are {n}"),
    }
}

impl Problem {
    /// How many mistakes it stands for.
    #[must_use]
    pub fn count(&self) -> usize {
        if let Self::UnknownKeys { count, .. } = self { *count } else { 1 }
    }

    /// The way out, in one sentence; `None` where the message says it already.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Syntax(_) | Self::OutOfRange { .. } => return None,
            Self::UnknownKey { key, known, .. } => match nearest(key, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it takes {}", known.join(", ")),
            },
            Self::UnknownKeys { known, .. } => format!("it takes {}", known.join(", ")),
            Self::Missing { example, .. } => format!("add {example}"),
            Self::WrongType { key, expected, .. } => format!("write `{key}` as {expected}"),
            Self::Duration { .. } => {
                "write a whole number and a unit, as in 500ms, 10s, 5m, 2h, 1d or 1h30m".to_owned()
            }
            Self::NotOneOf { found, choices, .. } => match nearest(found, choices) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it is one of {}", choices.join(", ")),
            },
            Self::NotAPercentage { .. } => "write it as in \"50%\"".to_owned(),
            Self::JobName(_) => {
                "use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or a digit".to_owned()
            }
            Self::Zone(zone) => match nearest_zone(zone) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write an IANA name, as in \"Asia/Shanghai\" or \"UTC\"".to_owned(),
            },
            Self::NoTrigger(_) => {
                "add one of cron = \"0 3 * * *\", interval = \"10m\", date = 2030-01-01T03:00:00Z"
                    .to_owned()
            }
            Self::TwoTriggers { .. } => {
                "keep one, and give the other to a job of its own".to_owned()
            }
            Self::Cron(error) => error.help(),
            Self::StartWithoutInterval => "remove it, or use interval as the trigger".to_owned(),
            Self::NotADateTime(_) | Self::NoSuchDateTime(_) => {
                "write it without quotes, as in 2030-01-01T03:00:00+08:00".to_owned()
            }
            Self::NoSuchServer { kind, name, known } => match nearest(name, known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("add [{kind}.{name}] with its url"),
            },
            Self::UrlForName(kind) => {
                format!("write the url into [{kind}.main], and {kind} = \"main\" here")
            }
            Self::WhichServer { kind, known, .. } if known.is_empty() => {
                format!("add [{kind}.main] with its url")
            }
            Self::WhichServer { kind, known, .. } => {
                format!("add {kind} = \"NAME\", one of {}", known.join(", "))
            }
            Self::Url(_) => {
                "write scheme://user:password@host:port/database, as in mysql://recountd:${MYSQL_PASSWORD}@127.0.0.1:3306/app or redis://127.0.0.1:6379/0; with TLS mysql://…?ssl-ca=/path/ca.pem and rediss://…?ssl-ca=/path/ca.pem"
                    .to_owned()
            }
            Self::Placeholder { placeholder, .. } if placeholder.starts_with("credential:") => {
                "start it under systemd with LoadCredential=, or set CREDENTIALS_DIRECTORY"
                    .to_owned()
            }
            Self::Placeholder { placeholder, .. } => {
                format!("set the environment variable {placeholder}")
            }
            Self::RawPassword => {
                "percent-encode the password (/ is %2F, ? is %3F, # is %23, @ is %40), or write it as ${NAME}, which does so by itself".to_owned()
            }
            Self::OpenPlaceholder(_) => "write ${NAME} or ${credential:NAME}".to_owned(),
            Self::PingUrl { .. } => {
                "write it as in \"https://hc-ping.com/UUID\"; ${NAME} and ${credential:NAME} keep it out of this file"
                    .to_owned()
            }
            Self::TargetKind => {
                "write one of { zset = KEY }, { hash = KEY }, { hash = \"user:{id}\", field = \"articles\" }, { string = \"user:{id}:articles\" }"
                    .to_owned()
            }
            Self::TargetShape(_) => {
                "a key of its own for each id holds {id}, as in \"user:{id}:articles\"".to_owned()
            }
            Self::TargetAndTargets => {
                "write `target` for the second column, or `targets` for several columns by name"
                    .to_owned()
            }
            Self::Listen(_) => {
                "write \"unix:/run/recountd/admin.sock\" or \"127.0.0.1:7878\"".to_owned()
            }
            Self::RemoteListen(_) => {
                "write allow_remote = true in [admin] if that is meant; there is no TLS, so put a proxy in front of it".to_owned()
            }
            Self::ListenWithoutToken(_) => "add token = \"${RECOUNTD_TOKEN}\" to [admin]".to_owned(),
            Self::OpenToken("read_token") => {
                "write \"${RECOUNTD_READ_TOKEN}\" or \"${credential:recountd-read-token}\"".to_owned()
            }
            Self::OpenToken(_) => {
                "write \"${RECOUNTD_TOKEN}\" or \"${credential:recountd-token}\"".to_owned()
            }
            Self::ShortToken(_) | Self::SameToken => {
                "make one with `openssl rand -hex 32`".to_owned()
            }
            Self::SameTarget(_) => "give each column counters of its own".to_owned(),
            Self::Empty(key) => format!("give `{key}` a value"),
        })
    }
}

/// The longest word, in bytes, that is compared with others: no name that is known is much longer, and to compare takes
/// the square of it.
const LONGEST: usize = 64;

/// The one of `known` that `word` was probably meant to be; `None` for a word of more than 64 bytes.
#[must_use]
pub fn nearest<S: AsRef<str>>(word: &str, known: &[S]) -> Option<String> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.replace('-', "_");
    let length = word.chars().count();
    let most = |k: &str| 1 + k.len() / 4;
    known
        .iter()
        .map(AsRef::as_ref)
        // Each character too many or too few is a difference by itself.
        .filter(|k| k.chars().count().abs_diff(length) <= most(k))
        .map(|k| (strsim::damerau_levenshtein(&word, k), k))
        .filter(|(distance, k)| *distance <= most(k))
        .min()
        .map(|(_, k)| k.to_owned())
}

fn nearest_zone(zone: &str) -> Option<String> {
    let names: Vec<&str> = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).collect();
    names
        .iter()
        .find(|name| name.eq_ignore_ascii_case(zone))
        .map(|name| (*name).to_owned())
        .or_else(|| nearest(zone, &names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_in_a_word_and_not_looked_for_in_a_longer_text() {
        let known = ["interval", "cron", "timezone"];
        assert_eq!(nearest("intervall", &known).as_deref(), Some("interval"));
        assert_eq!(nearest("corn", &known).as_deref(), Some("cron"));
        assert_eq!(nearest("zone", &known), None);
        let long = ["x".repeat(64), "x".repeat(65)];
        assert_eq!(nearest(&"x".repeat(64), &long), Some("x".repeat(64)));
        assert_eq!(nearest(&"x".repeat(65), &long), None);
        assert_eq!(nearest_zone("europe/berlin").as_deref(), Some("Europe/Berlin"));
        assert_eq!(nearest_zone("Asia/Shangai").as_deref(), Some("Asia/Shanghai"));
        assert_eq!(nearest_zone(&"Asia/Shanghai".repeat(6)), None);
    }
}
