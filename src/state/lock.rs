//! The lock beside the state, which keeps a second daemon away from it and tells that one runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::StateError;

fn beside(state: &Path) -> PathBuf {
    let mut beside = state.as_os_str().to_owned();
    beside.push(".lock");
    beside.into()
}

/// How often the lock is tried: who only asks whether it is held takes it for a moment.
const TRIES: u32 = 5;
/// How long to wait in between.
const WAIT: Duration = Duration::from_millis(20);

/// Takes the lock for as long as the file is open; the end of the process frees it, however it ends.
///
/// # Errors
/// Another daemon has it, or the file cannot be made.
pub fn take(state: &Path) -> Result<File, StateError> {
    let unavailable = |error: io::Error| StateError::Unavailable {
        path: state.to_owned(),
        reason: error.to_string(),
    };
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(beside(state))
        .map_err(unavailable)?;
    for _ in 0..TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => thread::sleep(WAIT),
            Err(TryLockError::Error(error)) => return Err(unavailable(error)),
        }
    }
    Err(StateError::InUse(state.to_owned()))
}

/// Whether a daemon runs on this state; yes where that cannot be told.
pub fn is_held(state: &Path) -> bool {
    match File::open(beside(state)) {
        Ok(lock) => lock.try_lock().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}
