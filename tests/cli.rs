#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! The command line as people and scripts meet it: the real binary, and no server that would answer.

mod support;

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use support::{Output, Recountd, servers_toml};

const BINARY: &str = env!("CARGO_BIN_EXE_recountd");

const JOBS: &str = r#"
[jobs.user-articles]
description = "articles per user"
cron = "0 3 * * *"
timezone = "Asia/Shanghai"
query = "SELECT user_id, COUNT(*) FROM news GROUP BY user_id"
target = { zset = "count:user:arts" }
[jobs.half-hourly]
interval = "30m"
query = "SELECT user_id, COUNT(*) FROM relation GROUP BY user_id"
target = { hash = "user:{id}", field = "followings" }
[jobs.also-half-hourly]
interval = "30m"
query = "SELECT user_id, COUNT(*) FROM likes GROUP BY user_id"
target = { string = "user:{id}:likes" }
[jobs.launch]
date = 2030-01-01T00:00:00
query = "SELECT user_id, COUNT(*) FROM likes GROUP BY user_id"
target = { hash = "likes" }
[daemon]
timezone = "UTC"
"#;

/// Nothing listens on port 1.
fn recountd() -> Recountd {
    let mysql = "mysql://recountd:hunter2@127.0.0.1:1/toutiao";
    Recountd::new(BINARY, &format!("{}{JOBS}", servers_toml(mysql, "redis://127.0.0.1:1/0")))
}

/// Runs a command that has to end with this code, and demands that neither stream names the password.
#[track_caller]
fn run(recountd: &Recountd, arguments: &[&str], code: i32) -> Output {
    let output = recountd.output(arguments);
    assert_eq!(output.code(), code, "{arguments:?}: {output:#?}");
    let shown = format!("{}{}", output.stdout, output.stderr);
    assert!(!shown.contains("hunter2"), "{arguments:?}: {shown}");
    output
}

/// The words are on a stream, all of them.
#[track_caller]
fn says(stream: &str, words: &[&str]) {
    for word in words {
        assert!(stream.contains(word), "no {word:?} in:\n{stream}");
    }
}

#[test]
fn help_and_version_answer_on_standard_output_with_0() {
    let recountd = recountd();
    let version = run(&recountd, &["--version"], 0);
    assert_eq!(version.stdout, concat!("recountd ", env!("CARGO_PKG_VERSION"), "\n"));
    says(&run(&recountd, &["--help"], 0).stdout, &["run", "check", "next", "once"]);
    says(&run(&recountd, &["check", "--help"], 0).stdout, &["--config", "--connect"]);
    says(&run(&recountd, &["next", "--help"], 0).stdout, &["[JOB]", "-n", "--from", "--json"]);
    let once = run(&recountd, &["once", "--help"], 0).stdout;
    says(&once, &["<JOB>", "--dry-run", "--json", "--force", "Exit codes", "refused"]);
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_wrong() {
    let recountd = recountd();
    for (arguments, words) in [
        (&["paint"][..], "paint"),
        (&["next", "--from", "yesterday"], "yesterday"),
        (&["next", "--from", "2030-01-01T00:00:00"], "2030-01-01T00:00:00"),
        (&["next", "-n", "-1"], "-1"),
        (&["check", "--conect"], "--connect"),
        (&["once"], "<JOB>"),
        (&["once", "user-article"], "there is no job user-article in "),
        (&["once", "user-article"], "user-articles"),
        (&["next", "nobody"], "also-half-hourly, half-hourly, launch, user-articles"),
        (&["check", "-c", "nowhere.toml"], "nowhere.toml: No such file"),
    ] {
        let output = run(&recountd, arguments, 2);
        says(&output.stderr, &[words]);
        assert_eq!(output.stdout, "", "{arguments:?}");
    }
    says(&run(&recountd, &[], 2).stderr, &["Usage: recountd <COMMAND>"]);
}

#[test]
fn check_tells_each_trigger_in_words_and_its_next_five_runs() {
    let recountd = recountd();
    let before = Utc::now();
    let output = run(&recountd, &["check"], 0);
    assert_eq!(output.stderr, "");
    let blocks: Vec<&str> = output.stdout.split("\n\n").collect();
    for (block, words) in blocks.iter().zip([
        &["also-half-hourly\n", "every 30m", "string user:{id}:likes"][..],
        &["half-hourly\n", "every 30m", "field followings of hash user:{id}"],
        &["launch\n", "once at 2030-01-01T00:00:00Z", "hash likes", "2030-01-01T00:00:00+00:00"],
        &["user-articles: articles per user\n", "at 03:00 every day (Asia/Shanghai)", "zset"],
        &["is valid: 4 jobs, 1 MySQL server, 1 Redis server"],
    ]) {
        says(block, words);
    }
    assert_eq!(blocks.len(), 5, "{}", output.stdout);
    for (block, runs, step) in [(blocks[1], 5, 1_800), (blocks[2], 1, 0), (blocks[3], 5, 86_400)] {
        let times = block.lines().filter_map(|line| line.split_whitespace().next());
        let times: Vec<DateTime<Utc>> = times.filter_map(|word| word.parse().ok()).collect();
        assert_eq!(times.len(), runs, "{block}");
        assert!(times[0] > before, "{block}");
        assert!(times.windows(2).all(|two| (two[1] - two[0]).num_seconds() == step), "{block}");
    }
}

#[test]
fn check_tells_what_the_next_change_of_offset_does_to_a_job() {
    let recountd = recountd();
    let text = fs::read_to_string(recountd.jobs_path()).unwrap();
    // Which of the two comes first depends on the day of the test.
    for (cron, gap, fold) in [
        (
            "30 2 * * *",
            " 02:30 does not exist in Europe/Berlin: runs at 03:00",
            " 02:30 comes twice in Europe/Berlin: runs the first time only",
        ),
        (
            "*/30 2 * * *",
            " 02:00 to 03:00 does not exist in Europe/Berlin: 2 runs fewer",
            " 02:00 to 03:00 comes twice in Europe/Berlin: runs both times",
        ),
    ] {
        recountd
            .write_jobs(&text.replace("0 3 * * *", cron).replace("Asia/Shanghai", "Europe/Berlin"));
        let output = run(&recountd, &["check"], 0).stdout;
        let mut told = output.lines().filter(|line| line.contains(" in Europe/Berlin: "));
        let line = told.next().unwrap_or_default();
        assert!(
            line.starts_with("  ") && (line.ends_with(gap) || line.ends_with(fold)),
            "{output}"
        );
        assert_eq!(told.next(), None, "{output}");
    }
    // In Shanghai the clocks stand still, and an interval does not look at them.
    recountd.write_jobs(&text);
    assert!(!run(&recountd, &["check"], 0).stdout.contains(" in Asia/Shanghai: "));
}

#[test]
fn check_says_that_a_date_in_the_past_has_no_run_ahead() {
    let recountd = recountd();
    recountd.write_jobs(&fs::read_to_string(recountd.jobs_path()).unwrap().replace("2030", "2020"));
    says(&run(&recountd, &["check"], 0).stdout, &["once at 2020-01-01T00:00:00Z", "no run lies"]);
    assert_eq!(run(&recountd, &["next", "launch"], 0).stdout, "");
}

#[test]
fn next_json_prints_one_object_a_run_in_order_of_time_strictly_after_from() {
    let recountd = recountd();
    let check = |arguments: &[&str], want: &[(&str, &str)]| {
        let arguments = [&["next", "--json"], arguments].concat();
        let object = |(job, at): &(&str, &str)| format!("{{\"job\":\"{job}\",\"at\":\"{at}\"}}\n");
        let want: String = want.iter().map(object).collect();
        assert_eq!(run(&recountd, &arguments, 0).stdout, want, "{arguments:?}");
    };
    // Each time is shown in its job's zone; runs of one instant come by name.
    check(
        &["--from", "2026-11-21T18:30:00Z", "-n", "6"],
        &[
            ("also-half-hourly", "2026-11-21T19:00:00+00:00"),
            ("half-hourly", "2026-11-21T19:00:00+00:00"),
            ("user-articles", "2026-11-22T03:00:00+08:00"),
            ("also-half-hourly", "2026-11-21T19:30:00+00:00"),
            ("half-hourly", "2026-11-21T19:30:00+00:00"),
            ("also-half-hourly", "2026-11-21T20:00:00+00:00"),
        ],
    );
    let [first, second] =
        ["2026-11-22T03:00:00+08:00", "2026-11-23T03:00:00+08:00"].map(|at| ("user-articles", at));
    for (from, want) in [
        ("2026-11-22T02:59:59.999+08:00", first),
        ("2026-11-21T19:59:59+01:00", first),
        ("2026-11-22T03:00:00+08:00", second),
        ("2026-11-21T19:00:00Z", second),
    ] {
        check(&["user-articles", "--from", from, "-n", "1"], &[want]);
    }
    check(&["-n", "0"], &[]);
    let launch = ("launch", "2030-01-01T00:00:00+00:00");
    check(&["launch", "--from", "2029-12-31T23:59:59Z"], &[launch]);
    check(&["launch", "--from", "2030-01-01T00:00:00Z"], &[]);
}

#[test]
fn next_shows_five_runs_from_now_unless_told_otherwise() {
    let recountd = recountd();
    let before = Utc::now();
    let lines = run(&recountd, &["next", "half-hourly", "--json"], 0).json_lines();
    let times: Vec<DateTime<Utc>> =
        lines.iter().map(|line| line["at"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(times.len(), 5);
    assert!(times[0] > before && (times[0] - Utc::now()).num_minutes() < 30, "{times:?}");
    let table = run(&recountd, &["next", "user-articles", "-n", "2"], 0).stdout;
    assert_eq!(table.lines().count(), 2);
    says(&table, &["T03:00:00+08:00", "user-articles", "articles per user"]);
}

#[test]
fn the_zone_of_the_system_counts_where_the_file_names_none() {
    let recountd = recountd().env("TZ", "Asia/Tokyo");
    let text = fs::read_to_string(recountd.jobs_path()).unwrap();
    recountd.write_jobs(&text.replace("timezone = \"UTC\"", ""));
    let line = run(&recountd, &["next", "launch", "--json"], 0).json();
    assert_eq!(line["at"], "2030-01-01T00:00:00+09:00");
}

#[test]
fn the_file_is_that_of_c_then_of_the_environment_then_the_one_at_hand() {
    let recountd = recountd();
    let text = fs::read_to_string(recountd.jobs_path()).unwrap();
    for name in ["of_c", "of_env", "jobs"] {
        let text = text.replace("[jobs.launch]", &format!("[jobs.{name}]"));
        fs::write(recountd.folder().join(format!("{name}.toml")), text).unwrap();
    }
    let check = |environment: Option<&str>, arguments: &[&str], code: i32, word: &str| {
        let mut command = Command::new(BINARY);
        command.current_dir(recountd.folder()).env_remove("RECOUNTD_CONFIG").arg("check");
        let output =
            command.envs(environment.map(|e| ("RECOUNTD_CONFIG", e))).args(arguments).output();
        let output = output.unwrap();
        let shown = [output.stdout, output.stderr].concat();
        says(&String::from_utf8(shown).unwrap(), &[word]);
        assert_eq!(output.status.code(), Some(code), "{word}");
    };
    check(Some("of_env.toml"), &["-c", "of_c.toml"], 0, "\nof_c\n");
    check(Some("of_env.toml"), &["--config", "of_c.toml"], 0, "\nof_c\n");
    check(Some("of_env.toml"), &[], 0, "\nof_env\n");
    check(None, &[], 0, "\njobs\n");
    // A file that was named is meant: another one does not stand in for it.
    check(Some("gone.toml"), &[], 2, "gone.toml");
    fs::remove_file(recountd.jobs_path()).unwrap();
    let at_hand = fs::exists("/etc/recountd/jobs.toml").unwrap();
    if !at_hand {
        check(None, &[], 2, "name one with -c FILE");
    }
}

#[test]
fn a_bad_file_exits_2_with_all_its_problems_whatever_the_command() {
    let recountd = recountd();
    let text = fs::read_to_string(recountd.jobs_path()).unwrap();
    recountd.write_jobs(&text.replace("30m", "30 minutes").replace("description", "descripton"));
    for arguments in [&["run"][..], &["check"], &["next"], &["once", "launch"]] {
        let output = run(&recountd, arguments, 2);
        assert_eq!(output.stdout, "", "{arguments:?}");
        says(&output.stderr, &["jobs.toml:9:1\n", "jobs.toml:15:12\n", "jobs.toml:19:12\n"]);
        says(&output.stderr, &["jobs.toml: 3 problems", "help: did you mean `description`?"]);
    }
}

#[test]
fn a_placeholder_without_a_value_is_named_and_one_with_a_value_is_filled_in() {
    for (placeholder, named) in [
        ("${NO_SUCH_PASSWORD}", "the environment variable NO_SUCH_PASSWORD is not set"),
        ("${credential:mysql}", "CREDENTIALS_DIRECTORY is not set"),
    ] {
        let recountd = recountd();
        let text = fs::read_to_string(recountd.jobs_path()).unwrap();
        recountd.write_jobs(&text.replace("hunter2", placeholder));
        let word = format!("`{placeholder}` in `url`");
        says(&run(&recountd, &["check"], 2).stderr, &[&word, named, "help: "]);
        let folder = recountd.folder().to_owned();
        fs::write(folder.join("mysql"), "hunter2/@\n").unwrap();
        let recountd =
            recountd.env("NO_SUCH_PASSWORD", "hunter2/@").env("CREDENTIALS_DIRECTORY", folder);
        run(&recountd, &["check"], 0);
    }
}

#[test]
fn a_password_is_not_shown_however_broken_the_line_is_that_holds_it() {
    let recountd = recountd();
    let text = fs::read_to_string(recountd.jobs_path()).unwrap();
    let line = "url = \"mysql://recountd:hunter2@127.0.0.1:1/toutiao\"";
    let mut shown = Vec::new();
    for broken in [
        "url = \"mysql://recountd:hunter2@127.0.0.1:1/toutiao",
        "url = mysql://recountd:hunter2@127.0.0.1:1/toutiao",
        "url = \"mysql://recountd:hun\"hunter2@127.0.0.1:1/toutiao\"",
        "url = \"mysql://recountd:hunter2@127.0.0.1:99999/toutiao\"",
        "url = \"mysql://recountd:hunter2@127.0.0.1:1\"",
        "url = \"mysql://recountd:a@b:hunter2@127.0.0.1:1/toutiao?hue=red\"",
        "url = \"postgres://recountd:hunter2@127.0.0.1:1/toutiao\"",
        "url = \"mysql:/recountd:hunter2@127.0.0.1:1/toutiao\"",
        "url = \"mysql//recountd:hunter2@127.0.0.1:1/toutiao\"",
        "url = \"recountd:hunter2@127.0.0.1:1/toutiao\"",
        "url = \"mysql://recountd:hunter2#127.0.0.1:1/toutiao\"",
        "url = \"mysql://recountd:hunter2",
        "uri = \"mysql://recountd:hunter2@127.0.0.1:1/toutiao\"",
        "url = [\"mysql://recountd:hunter2@127.0.0.1:1/toutiao\"]",
        "url = { mysql = \"mysql://recountd:hunter2@127.0.0.1:1/toutiao\" }",
    ] {
        recountd.write_jobs(&text.replace(line, broken));
        let output = recountd.output(&["check"]);
        assert_eq!(output.code(), 2, "{output:#?}");
        says(&output.stderr, &["jobs.toml:2:"]);
        shown.extend(output.stderr.contains("hunter2").then_some(output.stderr));
    }
    // The URL where the name of a server belongs.
    for name in ["mysql = 'mysql://recountd:hunter2@h/db'", "redis = 'redis://:hunter2@h'"] {
        recountd.write_jobs(&text.replace("date =", &format!("{name}\ndate =")));
        let output = recountd.output(&["check"]);
        assert_eq!(output.code(), 2, "{output:#?}");
        shown.extend(output.stderr.contains("hunter2").then_some(output.stderr));
    }
    assert!(shown.is_empty(), "{}", shown.concat());
}

#[test]
fn servers_that_do_not_answer_end_check_connect_and_once_with_1_and_one_line_each_soon() {
    // The listener's queue accepts for it, and then nobody says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("127.0.0.1:{}", silent.local_addr().unwrap().port());
    for address in ["127.0.0.1:1", &silent, "no-such-host.invalid:1"] {
        let mysql = format!("mysql://recountd:hunter2@{address}/toutiao");
        let servers = servers_toml(&mysql, &format!("redis://:hunter2@{address}/0"));
        let recountd = Recountd::new(BINARY, &format!("{servers}{JOBS}"));
        let began = Instant::now();
        let table = run(&recountd, &["once", "user-articles"], 1);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?} {address}", began.elapsed());
        says(&table.stdout, &["user-articles: failed in ", address]);
        assert_eq!(table.stdout.lines().count(), 2, "{table:#?}");
        let report = run(&recountd, &["once", "user-articles", "--json"], 1).json();
        assert_eq!(
            (&report["job"], &report["outcome"]),
            (&"user-articles".into(), &"failed".into())
        );
        let reason = report["reason"].as_str().unwrap();
        assert!(reason.contains(address) && !reason.contains('\n'), "{reason}");
        let connect = run(&recountd, &["check", "--connect"], 1).stdout;
        for server in ["MySQL main (mysql://recountd@", "Redis main (redis://"] {
            let mut lines = connect.lines().filter(|line| line.contains(server));
            assert!(lines.next().is_some_and(|line| line.contains(address)), "{connect}");
            assert_eq!(lines.next(), None, "{connect}");
        }
    }
}

#[test]
fn under_journald_each_line_has_a_priority_and_elsewhere_none() {
    let recountd = recountd();
    let text = fs::read_to_string(recountd.jobs_path()).unwrap();
    recountd.write_jobs(&text.replace("30m", "30 minutes"));
    // As systemd does it: a socket, and its device and inode in the environment.
    let stderr_of = |arguments: &[&str], told: bool| {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let theirs = File::from(OwnedFd::from(theirs));
        let socket = theirs.metadata().unwrap();
        let inode = socket.ino() + u64::from(!told);
        let status = Command::new(BINARY)
            .args(arguments)
            .env("RECOUNTD_CONFIG", recountd.jobs_path())
            .env("JOURNAL_STREAM", format!("{}:{inode}", socket.dev()))
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(theirs)
            .status();
        assert_eq!(status.unwrap().code(), Some(2));
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        text
    };
    for arguments in [&["run"][..], &["check"], &["once", "launch"]] {
        let log = stderr_of(arguments, true);
        assert!(log.lines().all(|line| line.starts_with("<3>")), "{log}");
        says(&log, &["\n<3>  --> ", "jobs.toml: 2 problems"]);
        let plain = stderr_of(arguments, false);
        assert!(plain.starts_with("error: `interval`: "), "{plain}");
        assert!(!plain.lines().any(|line| line.starts_with('<')), "{plain}");
    }
}
