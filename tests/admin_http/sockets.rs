//! The files of Unix sockets, and ports that are taken.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use recountd::admin::listen::{Address, ListenError, Listener};

fn bind(path: &Path) -> Result<Listener, ListenError> {
    Listener::bind(&Address::Unix(path.to_owned()))
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn owner_and_group_may_talk_to_it_and_it_is_gone_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
    assert_eq!(names(folder.path()), ["admin.sock"], "nothing else is left behind");
    UnixStream::connect(&path).unwrap();
    drop(listener);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists() && UnixStream::connect(&path).is_err());
    let _listener = bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    assert_eq!(names(folder.path()), ["admin.sock"]);
}

#[test]
fn the_socket_of_a_living_daemon_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let first = bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    assert!(error.to_string().starts_with("another recountd listens on /"), "{error}");
    UnixStream::connect(&path).unwrap();
    assert_eq!(names(folder.path()), ["admin.sock"]);
    drop(first);
    bind(&path).unwrap();
}

#[test]
fn one_of_many_that_start_at_once_gets_the_socket_of_a_dead_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    for _ in 0..20 {
        drop(UnixListener::bind(&path).unwrap());
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || bind(&path))
            })
            .collect();
        let all: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().filter(|bound| bound.is_ok()).count(), 1, "{all:?}");
        UnixStream::connect(&path).unwrap();
        drop(all);
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let refused = || matches!(bind(&path), Err(ListenError::NotASocket { .. }));
    fs::write(&path, "precious").unwrap();
    assert!(refused());
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(refused());
    fs::remove_dir(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    assert!(refused() && path.is_symlink());
    fs::remove_file(&path).unwrap();
    let other = UnixDatagram::bind(&path).unwrap();
    assert!(
        matches!(bind(&path), Err(ListenError::Unix { .. })),
        "a living socket of another kind"
    );
    drop(other);
}

#[test]
fn what_has_taken_our_place_is_not_removed_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(listener);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_path_that_cannot_be_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let error = bind(&folder.path().join("x".repeat(120))).unwrap_err();
    assert!(matches!(error, ListenError::TooLong { .. }), "{error}");
    assert!(error.to_string().contains("107 at most"), "{error}");
    let longest = 107 - folder.path().as_os_str().len() - 1;
    bind(&folder.path().join("x".repeat(longest))).unwrap();
    assert!(bind(&folder.path().join("x".repeat(longest + 1))).is_err());
    let nowhere = bind(&folder.path().join("none/admin.sock")).unwrap_err();
    assert!(matches!(nowhere, ListenError::NoFolder { .. }), "{nowhere}");
}

#[test]
fn a_port_that_cannot_be_had_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Listener::bind(&Address::Tcp(address)).unwrap_err();
    assert!(error.to_string().starts_with("another process listens on 127.0.0.1:"), "{error}");
    let error = Listener::bind(&Address::Tcp("192.0.2.1:0".parse().unwrap())).unwrap_err();
    assert!(matches!(error, ListenError::NotOurs { .. }), "{error}");
}
