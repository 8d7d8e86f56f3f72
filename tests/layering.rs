//! The structure that ARCHITECTURE.md promises, as absences: what a file must not name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The core: no IO, no clock, no threads, no log.
const CORE: [&str; 5] = ["config/", "schedule/", "agenda/", "reconcile/", "report.rs"];

/// Every source file below src/ by its path there, without comments and test modules.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    let sources: BTreeMap<String, String> = files
        .iter()
        .filter(|path| !path.ends_with("tests.rs") && !path.parent().unwrap().ends_with("tests"))
        .map(|path| (name(path), code_of(&fs::read_to_string(path).unwrap())))
        .collect();
    assert!(sources.len() > 30, "the sources were found");
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// Whether `code` names the module or crate `name`, as in `name::item`.
fn names(code: &str, name: &str) -> bool {
    let boundary = |c: char| !c.is_alphanumeric() && c != '_';
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(boundary)
    })
}

/// Whether `code` names the crate `name` and not our module of the same name in stores/.
fn names_crate(code: &str, name: &str) -> bool {
    let imported = code.contains("stores::") && !code.contains(&format!("use {name}::"));
    let absolute = code
        .match_indices(&format!("::{name}::"))
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    absolute || (names(code, name) && !imported)
}

#[track_caller]
fn only(allowed: &[&str], what: &str, does: impl Fn(&str) -> bool) {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|(file, code)| !allowed.iter().any(|a| file.starts_with(a)) && does(code))
        .map(|(file, _)| file)
        .collect();
    assert!(wrong.is_empty(), "{what} belongs in {allowed:?}, not in {wrong:?}");
}

#[test]
fn the_core_imports_nothing_of_the_shell() {
    const SHELL: &[&str] = &[
        "state", "cli", "client", "load", "daemon", "ask", "board", "admin", "api", "pool", "jobs",
        "stores", "journal", "metrics", "ping", "signals", "notify", "clock",
    ];
    for (file, code) in sources() {
        if CORE.iter().any(|core| file.starts_with(core)) {
            for module in SHELL {
                assert!(!code.contains(&format!("crate::{module}")), "{file} names {module}");
            }
        }
    }
}

#[test]
fn the_core_has_no_io_no_clock_no_threads_and_no_log() {
    const FORBIDDEN: [&str; 13] = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "std::process",
        "std::io",
        "std::sync::mpsc",
        "Instant::now",
        "Utc::now",
        "Local::now",
        "SystemTime",
        "log::",
        "println!",
    ];
    for (file, code) in sources() {
        if CORE.iter().any(|core| file.starts_with(core)) {
            for word in FORBIDDEN {
                assert!(!code.contains(word), "{file} contains {word}");
            }
        }
    }
}

#[test]
fn each_library_has_one_home() {
    only(&["config/"], "toml", |code| names(code, "toml"));
    only(&["schedule/"], "cron", |code| names(code, "cron"));
    only(&["stores/mysql", "stores/mod.rs"], "mysql", |code| names_crate(code, "mysql"));
    only(&["stores/redis", "stores/mod.rs"], "redis", |code| names_crate(code, "redis"));
    only(&["stores/tls/"], "rustls", |code| names(code, "rustls"));
    only(&["state/"], "rusqlite", |code| names(code, "rusqlite"));
    only(&["api/page.rs", "api/retry.rs"], "sha2", |code| names(code, "sha2"));
    only(&["signals.rs"], "signal_hook", |code| names(code, "signal_hook"));
    only(&["admin/connection"], "http_net", |code| names(code, "http_net"));
    only(&["admin/door.rs"], "subtle", |code| names(code, "subtle"));
    only(&["notify.rs"], "sd_notify", |code| names(code, "sd_notify"));
    only(&["metrics/"], "prometheus_client", |code| names(code, "prometheus_client"));
    only(&["ping.rs", "client/"], "ureq", |code| names(code, "ureq"));
    only(&["cli/"], "clap", |code| names(code, "clap"));
    only(&["cli/"], "clap_complete", |code| names(code, "clap_complete"));
    only(&["cli/"], "clap_mangen", |code| names(code, "clap_mangen"));
    only(&["cli/"], "env_logger", |code| names(code, "env_logger"));
    only(&["cli/"], "indicatif", |code| names(code, "indicatif"));
}

#[test]
fn only_clock_rs_asks_what_time_it_is() {
    only(&["clock.rs"], "reading a clock", |code| {
        ["Instant::now", "Utc::now", "Local::now", "SystemTime::now"]
            .iter()
            .any(|w| code.contains(w))
    });
}

#[test]
fn nothing_from_outside_can_panic_the_daemon() {
    for (file, code) in sources() {
        for word in
            [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("]
        {
            // mysql::Row::unwrap gives the values of a row; it is no Result.
            let code = code.replace("row?.unwrap()", "");
            assert!(!code.contains(word), "{file} contains {word}");
        }
    }
}

#[test]
fn the_loop_never_waits_for_a_store() {
    for (file, code) in sources().into_iter().filter(|(file, _)| file.starts_with("daemon")) {
        for word in ["stores", "thread::sleep", ".join()", ".recv()", "hotline.ask", "board.lock"] {
            assert!(!code.contains(word), "{file} contains {word}");
        }
    }
}

#[test]
fn files_stay_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples"] {
        collect(&root.join(folder), &mut files);
    }
    for file in files {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 450, "{} has {lines} lines: split it by meaning", file.display());
    }
}
