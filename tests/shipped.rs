//! What is shipped beside the binary is true: the example jobs.toml, the unit, and what the README says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::Path;

use support::Recountd;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[track_caller]
fn check(jobs: &str, says: &[&str]) {
    let recountd = Recountd::new(env!("CARGO_BIN_EXE_recountd"), jobs).env("MYSQL_PASSWORD", "x");
    let recountd = recountd.env("RECOUNTD_TOKEN", "correct horse battery staple");
    let recountd = recountd.env("RECOUNTD_READ_TOKEN", "incorrect donkey battery staple");
    let output = recountd.output(&["check"]);
    assert_eq!(output.code(), 0, "{}", output.stderr);
    for part in says {
        assert!(output.stdout.contains(part), "{part} in\n{}", output.stdout);
    }
}

#[test]
fn the_example_jobs_toml_is_valid() {
    check(
        &file("jobs.toml"),
        &["user-articles", "at 03:00 every day (Asia/Shanghai)", "user-followings", "every 10m"],
    );
}

#[test]
fn what_the_example_jobs_toml_has_in_comments_is_valid_and_complete() {
    let shipped = file("jobs.toml");
    let (before, rest) = shipped.split_once("# [admin]\n").unwrap();
    let (admin, after) = rest.split_once("\n\n").unwrap();
    let lines: Vec<&str> = admin.lines().map(|line| line.strip_prefix("# ").unwrap()).collect();
    let keys: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(keys, ["listen", "token", "read_token", "hosts", "allow_remote"]);
    check(&format!("{before}[admin]\n{}\n\n{after}", lines.join("\n")), &["is valid"]);
}

#[test]
fn every_jobs_toml_in_the_readme_is_valid() {
    let readme = file("README.md");
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        check(block, &["is valid"]);
    }
}

#[test]
fn the_unit_fits_the_daemon() {
    let unit = file("systemd/recountd.service");
    for line in [
        "Type=notify",
        "ExecStart=/usr/local/bin/recountd run -c /etc/recountd/jobs.toml",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "StateDirectory=recountd",
        "RuntimeDirectory=recountd",
        "WatchdogSec=120",
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}");
    }
    // Who gets in at the socket is said right above the line that changes it.
    let (before, _) = unit.split_once("\n# Group=www-data\n").expect("a group to let in");
    let above: Vec<&str> = before.lines().rev().take_while(|l| l.starts_with('#')).collect();
    assert!(above.iter().any(|line| line.contains("only root gets in")), "{above:?}");
}

#[test]
fn the_readme_names_scripts_that_are_there() {
    let readme = file("README.md");
    for script in ["scripts/demo", "scripts/test"] {
        assert!(readme.contains(script), "{script}");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(script).exists(), "{script}");
    }
    assert!(file(".ci/run").contains("scripts/test"));
}
