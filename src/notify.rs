//! Tells systemd how the daemon is (sd_notify). Outside of systemd nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// What systemd is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The schedule runs; the text shows in `systemctl status`.
    Ready(&'a str),
    /// jobs.toml is being read again.
    Reloading,
    /// The daemon ends.
    Stopping,
    /// The loop turns; said at least every [`watchdog_interval`].
    Watchdog,
}

/// How often systemd wants to hear [`Notice::Watchdog`]: half of `WatchdogSec=`, so that one that is
/// late costs nothing. `None` where nobody watches this process.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|period| period / 2).filter(|half| !half.is_zero())
}

/// Tells it. A systemd that cannot be told is no reason to stop, so an error is only logged.
pub fn tell(notice: Notice<'_>) {
    let told = match notice {
        Notice::Ready(status) => {
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
        }
        // systemd 253 and newer wants the time as well, or it takes the reload for failed.
        Notice::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        Notice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Notice::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
    };
    if let Err(error) = told {
        log::warn!("systemd could not be told: {error}");
    }
}
