//! The jobs that were added at run time. They are written by whoever takes them in, on a connection of
//! its own, because they must be on disk before they are acknowledged.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};
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

/// Where the jobs that were added are kept: the state file of a daemon that runs.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Place {
    /// The place in this state file.
    #[must_use]
    pub fn of(state: &Path) -> Self {
        Self(state.to_owned())
    }

    /// All of them, by name. What cannot be read as a definition is left out; nothing but a damaged
    /// file makes one.
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
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let mut added = Vec::new();
    for row in rows {
        let (name, text) = row?;
        match serde_json::from_str(&text) {
            Ok(definition) => added.push(Added { name, definition }),
            Err(error) => log::error!("job {name}, added at run time, is damaged: {error}"),
        }
    }
    Ok(added)
}
