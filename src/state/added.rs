//! The jobs that were added at run time. They are written by whoever takes them in, on a connection of
//! its own, because they must be on disk before they are acknowledged.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

use super::StateError;
use super::schema::{explain, open_beside, open_to_read};

/// A job that was added at run time, as it was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    /// Its name.
    pub name: String,
    /// The keys of its table.
    pub definition: Map<String, Value>,
}

impl Added {
    /// Why a job whose definition is damaged cannot run, and the way out.
    pub const DAMAGED: &str =
        "its definition in the state is damaged; remove the job, and add it anew";

    /// Whether its definition could not be read: it is empty then, as none is that was ever taken in.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.definition.is_empty()
    }
}

/// Where the jobs that were added are kept: the state file of a daemon that runs.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Place {
    /// The place in this state file.
    #[must_use]
    pub fn of(state: &Path) -> Self {
        Self(state.to_owned())
    }

    /// All of them, by name, those that are damaged included.
    ///
    /// # Errors
    /// The file is not there, or damaged.
    pub fn all(&self) -> Result<Vec<Added>, StateError> {
        self.ask(select)
    }

    /// The same for a look from beside the daemon, which makes and migrates nothing.
    ///
    /// # Errors
    /// The file is not there, or cannot be read.
    pub fn look(&self) -> Result<Vec<Added>, StateError> {
        let connection = open_to_read(&self.0)?;
        select(&connection).map_err(|error| explain(&self.0, &error))
    }

    /// One of them; `None` if there is none of this name.
    ///
    /// # Errors
    /// The file is not there, or damaged.
    pub fn find(&self, name: &str) -> Result<Option<Added>, StateError> {
        self.ask(|connection| {
            let text = "SELECT name, definition FROM added WHERE name = ?1";
            connection.query_row(text, params![name], from_row).optional()
        })
    }

    /// Writes a new one; false if there is one of this name already, unless it was written for the
    /// same `key`: then it was the same request, whose answer was lost.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn insert(
        &self,
        added: &Added,
        key: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, StateError> {
        let definition = Value::Object(added.definition.clone()).to_string();
        self.ask(|connection| {
            let new = connection.execute(
                "INSERT OR IGNORE INTO added (name, definition, key, at) VALUES (?1, ?2, ?3, ?4)",
                params![added.name, definition, key, now.timestamp_millis()],
            )? > 0;
            let same = "SELECT 1 FROM added WHERE name = ?1 AND key = ?2 AND definition = ?3";
            let is_same = || {
                let params = params![added.name, key, definition];
                connection.query_row(same, params, |_| Ok(())).optional()
            };
            Ok(new || is_same()?.is_some())
        })
    }

    /// Whether this very job is there and was written for this key: a request whose answer was lost
    /// when the daemon was killed.
    ///
    /// # Errors
    /// The file is not there, or damaged.
    pub fn is_of(&self, added: &Added, key: &str) -> Result<bool, StateError> {
        let definition = Value::Object(added.definition.clone()).to_string();
        self.ask(|connection| {
            let text = "SELECT 1 FROM added WHERE name = ?1 AND key = ?2 AND definition = ?3";
            let params = params![added.name, key, definition];
            Ok(connection.query_row(text, params, |_| Ok(())).optional()?.is_some())
        })
    }

    /// Writes a new definition for one that is there.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn replace(&self, added: &Added) -> Result<(), StateError> {
        let definition = Value::Object(added.definition.clone()).to_string();
        self.ask(|connection| {
            let text = "UPDATE added SET definition = ?2 WHERE name = ?1";
            connection.execute(text, params![added.name, definition]).map(drop)
        })
    }

    /// Removes one, if it is there.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        self.ask(|connection| {
            connection.execute("DELETE FROM added WHERE name = ?1", params![name]).map(drop)
        })
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let connection = open_beside(&self.0)?;
        // What is acknowledged outlives a power cut, too.
        let durable = || connection.execute_batch("PRAGMA synchronous = FULL");
        let answer = durable().and_then(|()| question(&connection));
        answer.map_err(|error| explain(&self.0, &error))
    }
}

fn select(connection: &Connection) -> rusqlite::Result<Vec<Added>> {
    let mut all = connection.prepare("SELECT name, definition FROM added ORDER BY name")?;
    all.query_map([], from_row)?.collect()
}

/// Bytes and not texts are read, because what is damaged need not be a text any more. One row must not
/// hide the others.
fn from_row(row: &Row<'_>) -> rusqlite::Result<Added> {
    let bytes = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_bytes()?);
    let name = String::from_utf8_lossy(bytes(0)?).into_owned();
    let definition = serde_json::from_slice(bytes(1)?).unwrap_or_else(|error| {
        log::error!("job {name}, added at run time, is damaged: {error}");
        Map::new()
    });
    Ok(Added { name, definition })
}
