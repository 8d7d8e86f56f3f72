//! Logs on standard error: for people with a time and a level, for journald with a priority.

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use chrono::SecondsFormat;
use env_logger::fmt::Formatter;
use env_logger::{Builder, Env, Target, WriteStyle};
use indicatif::ProgressBar;
use log::{Level, LevelFilter, Record};

use crate::clock;

/// The bar that a command draws on the terminal, if it does.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Starts the log. `RUST_LOG` sets the level; without it, it is info.
pub fn start() {
    let mut builder = Builder::from_env(Env::default().default_filter_or("info"));
    // At this level it shows what goes over the wire, and the token goes over it.
    builder.filter_module("ureq_proto::util", LevelFilter::Off);
    if journald_reads() {
        builder.format(for_journald);
    } else {
        builder.format(for_people);
    }
    if io::stderr().is_terminal() {
        // Behind a pipe env_logger would not see the terminal, and would leave the colours out.
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        builder.write_style(if plain { WriteStyle::Never } else { WriteStyle::Always });
        builder.target(Target::Pipe(Box::new(AboveBar)));
    }
    builder.init();
}

/// From now on the log is written above this bar instead of through it.
pub fn share_terminal_with(bar: &ProgressBar) {
    BAR.set(bar.clone()).ok();
}

/// Standard error, with the bar out of the way while a line is written.
struct AboveBar;

impl Write for AboveBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match BAR.get() {
            Some(bar) => bar.suspend(|| io::stderr().write_all(line))?,
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Tells the user why the command ended: where journald reads, as a log line of its own.
pub fn say_error(error: &dyn std::error::Error) {
    if journald_reads() {
        log::error!("{error}");
    } else {
        writeln!(io::stderr(), "{}", as_error(&error.to_string())).ok();
    }
}

/// The problems of a jobs.toml say `error:` themselves.
fn as_error(text: &str) -> String {
    if text.starts_with("error") { text.to_owned() } else { format!("error: {text}") }
}

/// systemd names the device and inode of the journal's socket in `JOURNAL_STREAM`; only if ours is
/// the same one does journald read what we write (systemd.exec(5)).
fn journald_reads() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// Each line is an entry of its own for journald, so each gets the priority.
fn for_journald(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let priority = match record.level() {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    for line in record.args().to_string().lines() {
        writeln!(out, "<{priority}>{line}")?;
    }
    Ok(())
}

fn for_people(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = clock::wall().to_rfc3339_opts(SecondsFormat::Millis, true);
    let style = out.default_level_style(record.level());
    let level = record.level();
    writeln!(out, "{time} {style}{level:<5}{style:#} {}", record.args())
}
