//! What is done with the file when a daemon opens it: what the one before it left unfinished, how far
//! the schedules have come, which numbers runs have had.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::agenda::{Memory, Remembered};

/// Marks as interrupted what had not ended of the runs below `first` (S15).
pub fn interrupt(connection: &Connection, first: i64, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // A run whose beginning was never written down may have left evidence all the same.
    transaction.execute(
        "INSERT OR IGNORE INTO runs (id, job, slot, attempts, started, outcome) \
         SELECT run, job, MIN(began), 1, MIN(began), 'running' FROM evidence \
         WHERE run < ?1 GROUP BY run",
        params![first],
    )?;
    // What runs beside the daemon is not ended by its end, but is over at its time.
    let interrupted = transaction.execute(
        "UPDATE runs SET outcome = 'interrupted', finished = MAX(?1, COALESCE(started, ?1)), \
         reason = CASE outcome WHEN 'running' \
           THEN 'the daemon ended while it ran; what was written is right' \
           ELSE 'the daemon ended before it started' END \
         WHERE outcome IN ('running', 'waiting') AND id > 0 AND id < ?2",
        params![now.timestamp_millis(), first],
    )?;
    note(&transaction, highest(&transaction)?)?;
    transaction.commit()?;
    if interrupted > 0 {
        log::warn!("{interrupted} runs were interrupted by the end of the daemon before this one");
    }
    Ok(())
}

/// Reads how far each schedule has come.
pub fn recall(connection: &Connection) -> rusqlite::Result<Memory> {
    let last_run = u64::try_from(highest(connection)?).unwrap_or(0);
    let mut memory = Memory { last_run, ..Memory::default() };
    let mut jobs = connection.prepare("SELECT name, trigger, done, paused FROM jobs")?;
    let rows = jobs.query_map([], |row| {
        let (name, trigger): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((name, trigger, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
    })?;
    for row in rows {
        let (name, trigger, done, paused) = row?;
        if let Some(done) = DateTime::from_timestamp_millis(done) {
            // 0 is no pause, else its beginning.
            let paused = (paused != 0).then(|| DateTime::from_timestamp_millis(paused)).flatten();
            let trigger = Arc::from(trigger);
            memory.jobs.insert(Arc::from(name), Remembered { done, trigger, paused });
        }
    }
    Ok(memory)
}

/// The highest number that a run of a daemon has had. Those that are left do not tell: records are removed.
pub fn highest(from: &Connection) -> rusqlite::Result<i64> {
    from.query_row(
        "SELECT MAX(highest, COALESCE((SELECT MAX(id) FROM runs), 0)) FROM numbers",
        [],
        |row| row.get(0),
    )
}

/// Takes note of the numbers up to `run`, in the transaction that writes their records.
pub fn note(to: &Connection, run: i64) -> rusqlite::Result<()> {
    // Where nothing changes nothing is written: a file on a full disk can be read still.
    to.prepare_cached("UPDATE numbers SET highest = ?1 WHERE highest < ?1")?.execute([run])?;
    Ok(())
}
