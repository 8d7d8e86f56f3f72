//! The file of a Unix socket: made with its mode, put in the place of a dead daemon's, never in that
//! of a living one's or of anything else, and removed while it is ours.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::listen::ListenError;
use crate::clock;

/// Bytes that the path of a socket can have on Linux, beside the NUL at its end.
pub(super) const LONGEST: usize = 107;
/// The owner and the group may talk to the daemon, nobody else.
const MODE: u32 = 0o660;
/// How long a daemon that lives may take to let a connection in.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How long to wait for others that are at this in the same folder, and how often to look.
const TURN: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

/// The number of a file and of its file system.
pub(super) type Identity = (u64, u64);

/// Makes the socket out of everybody's reach, gives it its mode, and only then puts it at `path`.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, Identity), ListenError> {
    let of_path = |reason: io::Error| match reason.kind() {
        ErrorKind::NotFound => ListenError::NoFolder { path: path.to_owned() },
        _ => ListenError::Unix { path: path.to_owned(), reason },
    };
    let nursery_of = |name: String| folder_of(path).join(name);
    let birthplace = nursery_of(".r000000".to_owned()).join("s");
    let length = path.as_os_str().as_bytes().len().max(birthplace.as_os_str().as_bytes().len());
    if length > LONGEST {
        return Err(ListenError::TooLong { path: path.to_owned(), length });
    }
    let nursery = loop {
        let folder = nursery_of(format!(".r{:06x}", fastrand::u32(..1 << 24)));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => break Nursery(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(of_path(error)),
        }
    };
    let newborn = nursery.0.join("s");
    let listener = UnixListener::bind(&newborn).map_err(of_path)?;
    fs::set_permissions(&newborn, Permissions::from_mode(MODE)).map_err(of_path)?;
    let identity = fs::symlink_metadata(&newborn).map(|m| identity(&m)).map_err(of_path)?;
    let _turn = turn(&folder_of(path));
    clear(path, &nursery.0.join("old"))?;
    // Unlike a rename, a link never takes the place of what appeared there meanwhile.
    match fs::hard_link(&newborn, path) {
        Ok(()) => Ok((listener, identity)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(ListenError::InUse { path: path.to_owned() })
        }
        Err(error) => Err(of_path(error)),
    }
}

/// Removes the socket if it is still the one that was made here.
pub(super) fn remove(path: &Path, ours: Identity) {
    let still_ours = fs::symlink_metadata(path).is_ok_and(|there| identity(&there) == ours);
    if still_ours && let Err(error) = fs::remove_file(path) {
        log::warn!("admin: the socket {} could not be removed: {error}", path.display());
    }
}

/// Moves a dead socket out of the way. It is looked at again where nobody else can reach it: between
/// the first look and the move another daemon may have put its own there, which is put back.
fn clear(path: &Path, aside: &Path) -> Result<(), ListenError> {
    let failed = |reason| ListenError::Unix { path: path.to_owned(), reason };
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !there.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.to_owned() });
    }
    if is_live(path).map_err(failed)? {
        return Err(ListenError::InUse { path: path.to_owned() });
    }
    match fs::rename(path, aside) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    let moved = fs::symlink_metadata(aside).map_err(failed)?;
    if identity(&moved) == identity(&there) {
        return Ok(());
    }
    match fs::hard_link(aside, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
        _ => Err(ListenError::InUse { path: path.to_owned() }),
    }
}

/// Waits until nobody else replaces a dead socket in that folder: two who do it at once could each
/// remove the other's. Without the lock, which anybody who can read the folder can hold, it is only
/// less certain that one of them is told.
fn turn(folder: &Path) -> Option<File> {
    let lock = File::open(folder).ok()?;
    let until = clock::monotonic() + TURN;
    while lock.try_lock().is_err() {
        if clock::monotonic() >= until {
            return None;
        }
        thread::sleep(LOOK);
    }
    Some(lock)
}

/// Whether somebody answers. One who lives but is stuck has a full queue, where a connection waits
/// without end: hence the thread.
fn is_live(path: &Path) -> io::Result<bool> {
    let (tell, told) = mpsc::channel();
    let there = path.to_owned();
    thread::Builder::new().name("admin-probe".to_owned()).spawn(move || {
        tell.send(UnixStream::connect(there).map(drop)).ok();
    })?;
    match told.recv_timeout(SIGN_OF_LIFE) {
        Ok(Ok(())) | Err(_) => Ok(true),
        Ok(Err(error)) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(false),
            _ => Err(error),
        },
    }
}

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino())
}

fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// A folder that only we can look into, which is gone at the end with what was left in it.
struct Nursery(PathBuf);

impl Drop for Nursery {
    fn drop(&mut self) {
        for name in ["s", "old"] {
            fs::remove_file(self.0.join(name)).ok();
        }
        if let Err(error) = fs::remove_dir(&self.0) {
            log::warn!("admin: the folder {} could not be removed: {error}", self.0.display());
        }
    }
}
