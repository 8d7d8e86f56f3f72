//! The file's format, and telling ours from another's.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::StateError;

/// How long to wait for another's transaction; all of them are short.
const PATIENCE: Duration = Duration::from_secs(2);
/// The mode of the files that are made: their owner's alone.
pub const PRIVATE: u32 = 0o600;
/// "rcnt" in the header of the file: it is ours.
const APPLICATION_ID: i64 = 0x7263_6e74;
/// The format that this version writes. A newer one is never touched, an older one is migrated.
const FORMAT: i64 = 4;

/// Format 1. Times are milliseconds since the Unix epoch, in UTC.
const RUNS: &str = "
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
CREATE TABLE jobs (
  name TEXT PRIMARY KEY,
  trigger TEXT NOT NULL,
  done INTEGER NOT NULL,
  paused INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
";

/// What format 2 adds: when a run outside of the daemon is over at the latest, and an order by time,
/// because the numbers of such runs are negative.
const RUNS_BY_TIME: &str = "
ALTER TABLE runs ADD COLUMN until INTEGER;
DROP INDEX IF EXISTS runs_by_job;
CREATE INDEX runs_by_job ON runs (job, COALESCE(started, finished, slot));
CREATE INDEX runs_by_time ON runs (COALESCE(started, finished, slot));
";

/// What format 2 adds: the evidence (R10), the last good results (R7), the repairs that an undo has
/// claimed or taken off (by their run, counter and time), and the lowest number that was ever given
/// to a run beside the daemon. Amounts are texts, so that whole numbers beyond 2^53 and fractions
/// stay exact; NULL is an absent counter.
const EVIDENCE: &str = "
CREATE TABLE evidence (
  run INTEGER NOT NULL,
  target TEXT NOT NULL,
  job TEXT NOT NULL,
  place TEXT NOT NULL,
  began INTEGER NOT NULL,
  written INTEGER NOT NULL,
  PRIMARY KEY (run, target)
) STRICT, WITHOUT ROWID;
CREATE TABLE repairs (
  nr INTEGER PRIMARY KEY AUTOINCREMENT,
  run INTEGER NOT NULL,
  job TEXT NOT NULL,
  target TEXT NOT NULL,
  id BLOB NOT NULL,
  before TEXT,
  after TEXT,
  at INTEGER NOT NULL,
  proof TEXT NOT NULL
) STRICT;
CREATE TABLE good (
  job TEXT PRIMARY KEY,
  basis TEXT NOT NULL,
  rows INTEGER NOT NULL,
  finished INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE claims (
  run INTEGER NOT NULL,
  target TEXT NOT NULL,
  id BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (run, target, id, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE beside (lowest INTEGER NOT NULL) STRICT;
INSERT INTO beside VALUES (0);
";
const EVIDENCE_INDEXES: &str = "
CREATE INDEX repairs_by_id ON repairs (job, id);
CREATE INDEX repairs_by_run ON repairs (run);
";

/// What format 3 adds: why a run was begun (NULL in older rows) and whether it was dry; the jobs that
/// were added at run time; and the answers that a retry of a request is given again, for a while.
const CAUSES: &str = "
ALTER TABLE runs ADD COLUMN cause TEXT;
ALTER TABLE runs ADD COLUMN dry INTEGER NOT NULL DEFAULT 0;
";
const ADDED: &str = "
CREATE TABLE added (
  name TEXT PRIMARY KEY,
  definition TEXT NOT NULL,
  key TEXT,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE answers (
  key TEXT PRIMARY KEY,
  request TEXT NOT NULL,
  answer TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What format 4 adds: the highest number that was ever given to a run of a daemon, because those that
/// are left after their records were removed do not tell.
const NUMBERS: &str = "
CREATE TABLE numbers (highest INTEGER NOT NULL) STRICT;
INSERT INTO numbers SELECT MAX(COALESCE(MAX(id), 0), 0) FROM runs;
";

/// Makes the folder of the file, if it is not there.
pub fn make_folder(path: &Path) -> Result<(), StateError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    if folder.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(|error| StateError::Unavailable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Opens the file for writing, makes its tables if it is new, and migrates an older one.
pub fn open(path: &Path) -> Result<Connection, StateError> {
    let connection = make(path)?;
    prepare(&connection, path)?;
    set_up(connection, path)
}

/// The same with a look at every page before the first write. That takes a second for each gigabyte,
/// so it is for the daemon alone, which starts seldom.
pub fn open_whole(path: &Path) -> Result<Connection, StateError> {
    let fail = |error| explain(path, &error);
    let connection = make(path)?;
    prepare(&connection, path)?;
    let check: String =
        connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(fail)?;
    if check != "ok" {
        return Err(StateError::Broken { path: path.to_owned(), reason: check });
    }
    set_up(connection, path)
}

/// Opens the file, or makes one that nobody else may read: ping addresses and queries are in it. What
/// SQLite makes beside it gets the same mode.
fn make(path: &Path) -> Result<Connection, StateError> {
    // One that is there is not opened here, because closing it would free the locks that other
    // connections of this process have on it. Why it cannot be made, SQLite says again.
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path).ok();
    Connection::open(path).map_err(|error| explain(path, &error))
}

fn set_up(connection: Connection, path: &Path) -> Result<Connection, StateError> {
    let fail = |error| explain(path, &error);
    // WAL with NORMAL loses nothing when the process is killed; after a power cut the last moment.
    // A transaction here changes a few rows and writes their pages whole, so a new file gets small
    // ones.
    connection
        .execute_batch(
            "PRAGMA page_size = 2048; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
        )
        .map_err(fail)?;
    migrate(&connection).map_err(fail)?;
    Ok(connection)
}

/// Brings the tables to the newest format, in one transaction. It looks at the format once more
/// when it holds the lock: `once` and the daemon may come at the same moment.
fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    if format_of(connection)? >= FORMAT {
        return Ok(());
    }
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let found = format_of(&transaction)?;
    if found < 1 {
        transaction.execute_batch(RUNS)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    if found < 2 {
        transaction.execute_batch(RUNS_BY_TIME)?;
        transaction.execute_batch(EVIDENCE)?;
        transaction.execute_batch(EVIDENCE_INDEXES)?;
    }
    if found < 3 {
        transaction.execute_batch(CAUSES)?;
        transaction.execute_batch(ADDED)?;
    }
    if found < FORMAT {
        transaction.execute_batch(NUMBERS)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()
}

/// Opens a file that is in use by this process already, for the evidence of one run.
///
/// # Errors
/// The file is not there, or was written by a newer recountd.
pub fn open_beside(path: &Path) -> Result<Connection, StateError> {
    let fail = |error| explain(path, &error);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fail)?;
    connection.busy_timeout(PATIENCE).map_err(fail)?;
    connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(fail)?;
    refuse_foreign(&connection, path)?;
    match format_of(&connection).map_err(fail)? {
        0 => return Err(StateError::Missing(path.to_owned())),
        found if found > FORMAT => {
            return Err(StateError::Newer { path: path.to_owned(), found, known: FORMAT });
        }
        _ => migrate(&connection).map_err(fail)?,
    }
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
    match format_of(&connection).map_err(fail)? {
        0 => return Err(StateError::Missing(path.to_owned())),
        found if found < FORMAT => {
            connection.execute_batch(&as_if_migrated(found)).map_err(fail)?;
        }
        _ => {}
    }
    Ok(connection)
}

/// Whoever only reads does not migrate: for him, and in his memory, an older file has what it lacks.
fn as_if_migrated(found: i64) -> String {
    let (lacking, columns) = match found {
        1 => ([EVIDENCE, ADDED].concat(), "NULL AS until, NULL AS cause, 0 AS dry"),
        2 => (ADDED.to_owned(), "NULL AS cause, 0 AS dry"),
        // What format 4 adds is for those who write.
        _ => return String::new(),
    };
    let tables = lacking.replace("CREATE TABLE", "CREATE TEMP TABLE");
    format!("{tables} CREATE TEMP VIEW runs AS SELECT *, {columns} FROM main.runs;")
}

/// Refuses what is not ours, or newer.
fn prepare(connection: &Connection, path: &Path) -> Result<(), StateError> {
    let fail = |error| explain(path, &error);
    connection.busy_timeout(PATIENCE).map_err(fail)?;
    refuse_foreign(connection, path)?;
    let found = format_of(connection).map_err(fail)?;
    if found > FORMAT {
        return Err(StateError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(())
}

fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), StateError> {
    let number = |query| connection.query_row(query, [], |row| row.get::<_, i64>(0));
    let header =
        || Ok((number("SELECT COUNT(*) FROM sqlite_schema")?, number("PRAGMA application_id")?));
    let (objects, application) = header().map_err(|error| explain(path, &error))?;
    if (objects > 0 || application != 0) && application != APPLICATION_ID {
        return Err(StateError::Foreign(path.to_owned()));
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
