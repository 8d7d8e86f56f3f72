//! Logs on standard error: for people with a time and a level, for journald with a priority.

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use chrono::SecondsFormat;
use env_logger::fmt::Formatter;
use env_logger::{Builder, Env, Logger, Target, WriteStyle};
use indicatif::ProgressBar;
use log::{Level, Log, Metadata, Record};

use super::grid::printable_lines;
use crate::clock;

/// The bar that a command draws on the terminal, if it does.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Starts the log. `RUST_LOG` sets the level; without it, it is info.
pub fn start() {
    let mut builder = Builder::from_env(Env::default().default_filter_or("info"));
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
    let logger = builder.build();
    let level = logger.filter();
    if log::set_boxed_logger(Box::new(WithoutSecrets(logger))).is_ok() {
        log::set_max_level(level);
    }
}

/// A log that keeps to itself what the HTTP client tells of its work: at the level trace that is every
/// URL and every header as it is, the paths of pings and the tokens of clients among them.
struct WithoutSecrets(Logger);

impl Log for WithoutSecrets {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        !tells_secrets(about) && self.0.enabled(about)
    }

    fn log(&self, record: &Record<'_>) {
        if !tells_secrets(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

fn tells_secrets(about: &Metadata<'_>) -> bool {
    about.level() > Level::Info && about.target().starts_with("ureq")
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
        let text = printable_lines(&error.to_string());
        writeln!(io::stderr(), "{}", as_error(&text)).ok();
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
    for line in printable_lines(&record.args().to_string()).lines() {
        writeln!(out, "<{priority}>{line}")?;
    }
    Ok(())
}

fn for_people(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = clock::wall().to_rfc3339_opts(SecondsFormat::Millis, true);
    let style = out.default_level_style(record.level());
    let level = record.level();
    // What servers and clients have sent is in it as well.
    let text = printable_lines(&record.args().to_string());
    writeln!(out, "{time} {style}{level:<5}{style:#} {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_http_client_warns_and_tells_nothing_else() {
        for (level, target, is_told) in [
            (Level::Warn, "ureq::unversioned::transport", true),
            (Level::Debug, "ureq::run", false),
            (Level::Trace, "ureq_proto::util", false),
            (Level::Trace, "recountd::ping", true),
        ] {
            let about = Metadata::builder().level(level).target(target).build();
            assert_eq!(tells_secrets(&about), !is_told, "{level} {target}");
        }
    }
}
