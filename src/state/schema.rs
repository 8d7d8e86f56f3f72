//! The file's format, and telling ours from another's.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StateError;

/// "rcnt" in the header of the file: it is ours.
const APPLICATION_ID: i64 = 0x7263_6e74;
/// The format that this version writes. A newer one is never touched.
const FORMAT: i64 = 1;

/// Times are milliseconds since the Unix epoch, in UTC.
const TABLES: &str = "
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  job TEXT NOT NULL,
  slot INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  started INTEGER,
  finished INTEGER,
  took_ms INTEGER,
  outcome TEXT NOT NULL,
  reason TEXT,
  report TEXT
) STRICT;
CREATE INDEX runs_by_job ON runs (job, id);
CREATE TABLE jobs (
  name TEXT PRIMARY KEY,
  trigger TEXT NOT NULL,
  done INTEGER NOT NULL,
  paused INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
";

/// Opens the file for writing and makes its tables if it is new.
pub fn open(path: &Path) -> Result<Connection, StateError> {
    let fail = |error| explain(path, &error);
    let connection = Connection::open(path).map_err(fail)?;
    prepare(&connection, path)?;
    if format_of(&connection).map_err(fail)? == 0 {
        connection.execute_batch("PRAGMA journal_mode = WAL").map_err(fail)?;
        let make = format!(
            "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
        );
        connection.execute_batch(&make).map_err(fail)?;
    }
    // WAL with NORMAL loses nothing when the process is killed; after a power cut the last moment.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        .map_err(fail)?;
    Ok(connection)
}

/// Opens the file for reading, also while a daemon writes to it.
pub fn open_to_read(path: &Path) -> Result<Connection, StateError> {
    if !path.exists() {
        return Err(StateError::Missing(path.to_owned()));
    }
    let fail = |error| explain(path, &error);
    // Reading a WAL needs its index to be writable; where the folder is not, the file is read as
    // it was at the last checkpoint.
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .or_else(|_| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY))
        .map_err(fail)?;
    prepare(&connection, path)?;
    if format_of(&connection).map_err(fail)? == 0 {
        return Err(StateError::Missing(path.to_owned()));
    }
    Ok(connection)
}

/// Refuses what is not ours, newer, or damaged.
fn prepare(connection: &Connection, path: &Path) -> Result<(), StateError> {
    let fail = |error| explain(path, &error);
    connection.busy_timeout(Duration::from_secs(2)).map_err(fail)?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let objects: i64 = connection
        .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(fail)?;
    let application = number("application_id").map_err(fail)?;
    if (objects > 0 || application != 0) && application != APPLICATION_ID {
        return Err(StateError::Foreign(path.to_owned()));
    }
    let found = number("user_version").map_err(fail)?;
    if found > FORMAT {
        return Err(StateError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    let check: String =
        connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(fail)?;
    if check != "ok" {
        return Err(StateError::Broken { path: path.to_owned(), reason: check });
    }
    Ok(())
}

fn format_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// What SQLite's error means for the file.
pub fn explain(path: &Path, error: &rusqlite::Error) -> StateError {
    let (path, reason) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StateError::Foreign(path),
        Some(ErrorCode::DatabaseCorrupt) => StateError::Broken { path, reason },
        _ => StateError::Unavailable { path, reason },
    }
}
