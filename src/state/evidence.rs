//! How evidence is kept (R10): the first repairs of a run in the table, where they are found by
//! their id at once; the next in a file beside the state, a line each; what comes after that is
//! only counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use rusqlite::{Connection, Row, params};

use super::RunNumber;
use crate::reconcile::{Amount, Id, Proof, Repair};

/// Repairs of one run that go into the table.
pub const IN_TABLE: u64 = 1_000;
/// Repairs of one run that go into its file; about 45 MB.
pub const IN_FILE: u64 = 1_000_000;
/// An absent counter in a file.
const ABSENT: &[u8] = b"-";

/// The folder of the files: `recountd.db-evidence`.
#[must_use]
pub fn folder(state: &Path) -> PathBuf {
    let mut folder = state.as_os_str().to_owned();
    folder.push("-evidence");
    folder.into()
}

/// The file of a run, whether it is there or not.
#[must_use]
pub fn file(state: &Path, run: RunNumber) -> PathBuf {
    folder(state).join(format!("{run}.tsv"))
}

/// The run that a file belongs to; `None` if it is none of ours.
#[must_use]
pub fn run_of(file: &Path) -> Option<RunNumber> {
    file.file_name()?.to_str()?.strip_suffix(".tsv")?.parse().ok()
}

/// Puts a repair into the table.
pub fn insert(to: &Connection, run: RunNumber, job: &str, repair: &Repair) -> rusqlite::Result<()> {
    to.prepare_cached(
        "INSERT INTO repairs (run, job, target, id, before, after, at, proof) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        run,
        job,
        &*repair.target,
        repair.id.to_bytes(),
        repair.before.map(text_of),
        repair.after.map(text_of),
        repair.at.timestamp_millis(),
        repair.proof.word(),
    ])?;
    Ok(())
}

/// What [`from_row`] reads, in its order.
pub const COLUMNS: &str = "run, target, id, before, after, at, proof";

/// A repair from the table, and its run.
pub fn from_row(row: &Row<'_>) -> rusqlite::Result<(RunNumber, Repair)> {
    let amount = |text: Option<String>| text.as_deref().and_then(amount_of);
    let repair = Repair {
        target: Arc::from(row.get::<_, String>(1)?),
        id: Id::from_bytes(&row.get::<_, Vec<u8>>(2)?),
        before: amount(row.get(3)?),
        after: amount(row.get(4)?),
        at: DateTime::from_timestamp_millis(row.get(5)?).unwrap_or_default(),
        proof: Proof::from_word(&row.get::<_, String>(6)?).unwrap_or(Proof::Still),
    };
    Ok((row.get(0)?, repair))
}

/// Appends a repair as a line: id, target, before, after, milliseconds since the epoch, proof; with
/// tabs between them. An id may hold anything, so tabs and line breaks in it are escaped.
pub fn append_line(repair: &Repair, to: &mut Vec<u8>) {
    to.extend(line_start(&repair.id));
    to.extend(escaped(repair.target.as_bytes()));
    for amount in [repair.before, repair.after] {
        to.push(b'\t');
        match amount {
            Some(amount) => to.extend(text_of(amount).into_bytes()),
            None => to.extend(ABSENT),
        }
    }
    to.extend(
        format!("\t{}\t{}\n", repair.at.timestamp_millis(), repair.proof.word()).into_bytes(),
    );
}

/// How the lines of an id begin.
#[must_use]
pub fn line_start(id: &Id) -> Vec<u8> {
    let mut start = escaped(&id.to_bytes());
    start.push(b'\t');
    start
}

/// A repair from its line; `None` for a line that was cut off.
#[must_use]
pub fn from_line(line: &[u8]) -> Option<Repair> {
    let mut fields = line.strip_suffix(b"\n")?.split(|byte| *byte == b'\t');
    let mut text = || fields.next();
    let (id, target) = (text()?, text()?);
    let amount = |field: &[u8]| match field {
        ABSENT => Some(None),
        number => amount_of(std::str::from_utf8(number).ok()?).map(Some),
    };
    let (before, after) = (amount(text()?)?, amount(text()?)?);
    let at = std::str::from_utf8(text()?).ok()?.parse().ok()?;
    let proof = Proof::from_word(std::str::from_utf8(text()?).ok()?)?;
    Some(Repair {
        target: Arc::from(String::from_utf8(unescaped(target)).ok()?),
        id: Id::from_bytes(&unescaped(id)),
        before,
        after,
        at: DateTime::from_timestamp_millis(at)?,
        proof,
    })
}

/// Gives each whole line of a run's file to `take`, with its line break, from the byte `start` on;
/// says where the last one ends. No file is no line.
///
/// # Errors
/// The file cannot be read.
pub fn each_line(file: &Path, start: u64, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut reader = match File::open(file) {
        Ok(file) => BufReader::with_capacity(1 << 16, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(start),
        Err(error) => return Err(error),
    };
    reader.seek(SeekFrom::Start(start))?;
    let mut end = start;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if line.ends_with(b"\n") {
            end += line.len() as u64;
            take(&line);
        }
        line.clear();
    }
    Ok(end)
}

/// An amount so that it is read back as the very same: a whole number beyond 2^53 that came out of
/// a score is not the whole number that a BIGINT holds.
fn text_of(amount: Amount) -> String {
    match amount {
        Amount::Int(value) => value.to_string(),
        Amount::Real(value) => format!("{value:?}"),
    }
}

/// A score may also be infinite, which no column is.
fn amount_of(text: &str) -> Option<Amount> {
    Amount::from_text(text).or_else(|| text.parse().ok().map(Amount::from_f64))
}

fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.extend(b"\\\\"),
            b'\t' => text.extend(b"\\t"),
            b'\n' => text.extend(b"\\n"),
            other => text.push(*other),
        }
    }
    text
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_as_it_was_written_whatever_the_id_holds() {
        let big = (1_i64 << 53) + 1;
        let amounts = [
            None,
            Some(Amount::Int(-3)),
            Some(Amount::Int(big)),
            Some(Amount::from_f64(big as f64 + 1.0)),
            Some(Amount::Real(0.1)),
            Some(Amount::Real(f64::INFINITY)),
        ];
        for id in [b"7".as_slice(), b"", b"a\tb\nc\\t\\", b"\xff\xfe", b"-"] {
            for (before, after) in amounts.iter().zip(amounts.iter().rev()) {
                let repair = Repair {
                    target: Arc::from("likes"),
                    id: Id::from_bytes(id),
                    before: *before,
                    after: *after,
                    at: DateTime::from_timestamp_millis(1_790_000_000_123).unwrap(),
                    proof: Proof::Ghost,
                };
                let mut line = Vec::new();
                append_line(&repair, &mut line);
                assert!(line.starts_with(&line_start(&repair.id)));
                assert_eq!(from_line(&line), Some(repair));
                assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
                for end in 0..line.len() {
                    assert_eq!(from_line(&line[..end]), None, "a line that was cut off");
                }
            }
        }
    }

    #[test]
    fn a_file_knows_its_run() {
        let run = "o3".parse().unwrap();
        assert_eq!(run_of(&file(Path::new("/x/recountd.db"), run)), Some(run));
        assert_eq!(run_of(Path::new("/x/notes.txt")), None);
    }
}
