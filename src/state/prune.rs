//! Removing old records, and their evidence with them.

use std::path::Path;
use std::{fs, io};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Params, Transaction, TransactionBehavior, params};

use super::RunNumber;
use super::evidence;
use crate::config::Keep;

/// Runs in one transaction; each may have a thousand repairs.
const AT_ONCE: usize = 20;
/// What has ended, or was killed beside the daemon and cannot be running any more.
const HAS_ENDED: &str = "(outcome NOT IN ('running', 'waiting') OR until < ?1)";

/// Removes the records that are older or more than is kept, a few runs in one transaction: whoever
/// else writes must not wait for the whole of it.
pub fn prune(
    connection: &Connection,
    path: &Path,
    keep: Keep,
    now: DateTime<Utc>,
) -> rusqlite::Result<()> {
    let age = TimeDelta::from_std(keep.age).unwrap_or(TimeDelta::MAX);
    let oldest = now.checked_sub_signed(age).map_or(i64::MIN, |t| t.timestamp_millis());
    let now = now.timestamp_millis();
    remove(
        connection,
        &format!("COALESCE(finished, started, slot) < ?2 AND {HAS_ENDED}"),
        params![now, oldest],
    )?;
    let names: Vec<String> = connection
        .prepare("SELECT DISTINCT job FROM runs")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in names {
        let beyond = "SELECT id FROM runs WHERE job = ?2 \
             ORDER BY COALESCE(started, finished, slot) DESC, id DESC LIMIT -1 OFFSET ?3";
        remove(
            connection,
            &format!("id IN ({beyond}) AND {HAS_ENDED}"),
            params![now, name, keep.runs],
        )?;
    }
    // After the commits, and by what is left: whatever ends the process in between, no record is
    // without its evidence, and no file is forgotten.
    if let Err(error) = remove_files(connection, path)? {
        log::warn!("old evidence cannot be removed: {error}");
    }
    Ok(())
}

/// Removes the runs of a condition, and what belongs to them. What has ended stays so, so that it
/// may be looked for before the lock is taken.
fn remove(from: &Connection, which: &str, with: impl Params) -> rusqlite::Result<()> {
    let runs: Vec<RunNumber> = from
        .prepare(&format!("SELECT id FROM runs WHERE {which}"))?
        .query_map(with, |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for few in runs.chunks(AT_ONCE) {
        let transaction = Transaction::new_unchecked(from, TransactionBehavior::Immediate)?;
        for run in few {
            for part in [
                "DELETE FROM repairs WHERE run = ?1",
                "DELETE FROM evidence WHERE run = ?1",
                "DELETE FROM claims WHERE run = ?1",
                "DELETE FROM runs WHERE id = ?1",
            ] {
                transaction.prepare_cached(part)?.execute(params![run])?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// Removes the files of runs that the state no longer knows.
fn remove_files(connection: &Connection, path: &Path) -> rusqlite::Result<io::Result<()>> {
    let files = match fs::read_dir(evidence::folder(path)) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(())),
        Err(error) => return Ok(Err(error)),
    };
    let mut known = connection.prepare("SELECT 1 FROM evidence WHERE run = ?1")?;
    for file in files.flatten() {
        if let Some(run) = evidence::run_of(&file.path())
            && !known.exists(params![run])?
            && let Err(error) = fs::remove_file(file.path())
        {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}
