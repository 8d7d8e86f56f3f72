//! The lock beside the state, which keeps a second daemon away from it and tells that one runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::StateError;

fn beside(state: &Path) -> PathBuf {
    let mut beside = state.as_os_str().to_owned();
    beside.push(".lock");
    beside.into()
}

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
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse(state.to_owned())),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// Whether a daemon runs on this state; yes where that cannot be told.
pub fn is_held(state: &Path) -> bool {
    match File::open(beside(state)) {
        Ok(lock) => lock.try_lock().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}
