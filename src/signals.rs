//! Signals as messages: SIGHUP, SIGTERM and SIGINT (S14, S15).

use std::{io, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read jobs.toml again.
    Reload,
    /// SIGTERM or SIGINT: end.
    Stop,
}

/// Gives every signal that arrives from now on to `take`, in a thread of its own.
///
/// # Errors
/// The system does not let us listen.
pub fn listen(take: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            take(if signal == SIGHUP { Signal::Reload } else { Signal::Stop });
        }
    })?;
    Ok(())
}
