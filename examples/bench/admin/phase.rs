//! Who is at the control plane while the lateness of slots is measured.

use clap::ValueEnum;

/// A crowd, or nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Nobody.
    Nobody,
    /// Slow clients at a port of their own: what they cost the machine, and not the daemon.
    Elsewhere,
    /// Connections that send nothing.
    Idle,
    /// Connections that send a byte now and then.
    Slow,
    /// Event streams that are read slowly.
    Watchers,
    /// Clients that look at all jobs and trigger them.
    Triggers,
    /// Clients that add and remove jobs.
    Changes,
}

impl Phase {
    /// All of them, in the order in which they take turns.
    pub const ALL: [Self; 7] = [
        Self::Nobody,
        Self::Elsewhere,
        Self::Idle,
        Self::Slow,
        Self::Watchers,
        Self::Triggers,
        Self::Changes,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Elsewhere => "elsewhere",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Watchers => "watchers",
            Self::Triggers => "triggers",
            Self::Changes => "changes",
        }
    }

    /// What the page calls it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Elsewhere => "1,000 slow clients, at another port",
            Self::Idle => "1,000 idle connections",
            Self::Slow => "1,000 slow clients",
            Self::Watchers => "30 slow watchers",
            Self::Triggers => "4 look and trigger",
            Self::Changes => "10 add and remove",
        }
    }
}
