//! Where the counters are: the families that a job recounts.

use std::fmt;
use std::sync::Arc;

/// One family of counters: a column of the query, and where its values belong in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The column of the query, as in `targets = { articles = { ... } }`; `None` for the only
    /// `target`, which takes the second column.
    pub column: Option<Arc<str>>,
    /// Where the counters are.
    pub target: Target,
}

impl Family {
    /// The column's name, empty for the only target: what tells the families of a job apart.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.column.clone().unwrap_or_else(|| Arc::from(""))
    }

    /// What becomes of its ghosts; `None`: they are not looked for.
    ///
    /// Where all ids share a key, they are removed unless the job says otherwise. Where each id has
    /// a key of its own, they are looked for only if the job says what to do with them: a pattern
    /// such as `user:*:articles` may also match keys that are somebody else's.
    #[must_use]
    pub fn ghosts(&self, job: Option<Ghosts>) -> Option<Ghosts> {
        if self.target.is_shared() { job.or(Some(Ghosts::Remove)) } else { job }
    }
}

/// Where in Redis the counter of an id lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// `{ zset = KEY }`: the score of the member named by the id.
    Zset {
        /// The key of the sorted set.
        key: String,
    },
    /// `{ hash = KEY }`: the field named by the id.
    Hash {
        /// The key of the hash.
        key: String,
    },
    /// `{ hash = "user:{id}", field = "articles" }`: one field in a hash of each id.
    HashField {
        /// The key, with `{id}` in it.
        key: String,
        /// The field.
        field: String,
    },
    /// `{ string = "user:{id}:articles" }`: a key of its own for each id.
    Text {
        /// The key, with `{id}` in it.
        key: String,
    },
}

impl Target {
    /// What stands for the id in a key.
    pub const ID: &'static str = "{id}";

    /// Whether all ids share one key.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Zset { .. } | Self::Hash { .. })
    }

    /// The key as jobs.toml has it.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Zset { key } | Self::Hash { key } | Self::Text { key } => key,
            Self::HashField { key, .. } => key,
        }
    }

    /// What the key of each id begins and ends with; the whole key and nothing where it is shared.
    #[must_use]
    pub fn around_id(&self) -> (&str, &str) {
        self.key().split_once(Self::ID).unwrap_or((self.key(), ""))
    }

    /// What TYPE says of the key.
    #[must_use]
    pub fn redis_type(&self) -> &'static str {
        match self {
            Self::Zset { .. } => "zset",
            Self::Hash { .. } | Self::HashField { .. } => "hash",
            Self::Text { .. } => "string",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zset { key } => write!(f, "zset {key}"),
            Self::Hash { key } => write!(f, "hash {key}"),
            Self::HashField { key, field } => write!(f, "field {field} of hash {key}"),
            Self::Text { key } => write!(f, "string {key}"),
        }
    }
}

/// What becomes of a ghost (R2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ghosts {
    /// It is removed, once it is proven.
    Remove,
    /// It is counted in the report and left alone.
    Keep,
}
