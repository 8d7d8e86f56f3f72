//! How much to ask of Redis at once, and how long to leave it alone afterwards (R9).

use std::time::Duration;

/// What one command may cost Redis; well under the 1 ms of the stall budget.
const BUDGET: Duration = Duration::from_micros(500);

/// The size of the next chunk and the pause before it, from what the last ones cost.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The way there and back alone, as a PING takes it.
    round_trip: Duration,
    share: f64,
    reads: Size,
    writes: Size,
    owed: Duration,
    /// A running mean of what one id costs in a read.
    cost: Duration,
}

/// How many ids one command takes.
#[derive(Debug, Clone)]
struct Size {
    ids: f64,
    least: f64,
    most: f64,
}

impl Size {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "least to most")]
    fn get(&self) -> usize {
        self.ids as usize
    }

    /// Half-way towards the size that would have fitted, so that one slow reply is no verdict.
    fn learn(&mut self, ids: usize, busy: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
        let each = busy.as_secs_f64() / ids.max(1) as f64;
        let fitting = (BUDGET.as_secs_f64() / each.max(1e-9)).clamp(self.least, self.most);
        self.ids = f64::midpoint(self.ids, fitting);
    }
}

impl Pace {
    const LONGEST_PAUSE: Duration = Duration::from_millis(40);

    /// `round_trip` is what a command without work takes; `share` is `redis_share` as a factor.
    #[must_use]
    pub fn new(round_trip: Duration, share: f64) -> Self {
        Self {
            round_trip,
            share,
            reads: Size { ids: 100.0, least: 20.0, most: 250.0 },
            writes: Size { ids: 50.0, least: 10.0, most: 250.0 },
            owed: Duration::ZERO,
            cost: Duration::from_micros(2),
        }
    }

    /// How many ids to read in the next command: 20 to 250, from 100 on.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.reads.get()
    }

    /// How many ids to write in the next script: 10 to 250, from 50 on.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.writes.get()
    }

    /// Whether Redis may always have a command waiting.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        self.share >= 1.0
    }

    /// How many ids can be read again within `interval` without taking more than the share.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub fn watchable(&self, interval: Duration) -> usize {
        let ids = interval.as_secs_f64() * self.share / self.cost.as_secs_f64().max(1e-7);
        (ids as usize).max(50)
    }

    /// Takes note of a read of `ids` ids that took `elapsed`, the way included.
    pub fn after_read(&mut self, ids: usize, elapsed: Duration) {
        if let Some(each) = u32::try_from(ids).ok().and_then(|n| elapsed.checked_div(n)) {
            self.cost = (self.cost * 7 + each) / 8;
        }
        let busy = elapsed.saturating_sub(self.round_trip);
        self.reads.learn(ids, busy);
        self.owe(busy);
    }

    /// Takes note of a script that wrote `ids` ids and took `elapsed`, the way included.
    pub fn after_write(&mut self, ids: usize, elapsed: Duration) {
        let busy = elapsed.saturating_sub(self.round_trip);
        self.writes.learn(ids, busy);
        self.owe(busy);
    }

    /// Takes note of any other command that took `elapsed`, the way included.
    pub fn after_command(&mut self, elapsed: Duration) {
        self.owe(elapsed.saturating_sub(self.round_trip));
    }

    fn owe(&mut self, busy: Duration) {
        self.owed += busy.mul_f64(1.0 / self.share.max(0.01) - 1.0);
        // A reply that took very long waited for somebody else, which is not ours to make good;
        // and a long pause would tear a hole into a watch.
        self.owed = self.owed.min(Self::LONGEST_PAUSE);
    }

    /// Redis has been left alone for `idle` since the last reply; gives how much longer it is to
    /// be, before the next command.
    #[must_use]
    pub fn pause(&mut self, idle: Duration) -> Duration {
        self.owed = self.owed.saturating_sub(idle);
        // A sleep much shorter than this lasts longer than it should: small debts are gathered.
        if self.owed < Duration::from_millis(1) {
            return Duration::ZERO;
        }
        std::mem::take(&mut self.owed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Duration = Duration::from_micros(50);

    #[test]
    fn chunks_grow_on_a_fast_server_and_shrink_on_a_slow_one() {
        let after = |cost_of_one: Duration| {
            let mut pace = Pace::new(PING, 1.0);
            assert_eq!((pace.reads(), pace.writes()), (100, 50));
            for _ in 0..50 {
                let cost = |ids| PING + cost_of_one * u32::try_from(ids).unwrap();
                pace.after_read(pace.reads(), cost(pace.reads()));
                pace.after_write(pace.writes(), cost(pace.writes()));
            }
            (pace.reads(), pace.writes())
        };
        let (reads, writes) = after(Duration::from_nanos(100));
        assert!(reads >= 249 && writes >= 249);
        assert_eq!(after(Duration::from_millis(1)), (20, 10));
        let (reads, writes) = after(Duration::from_micros(5));
        assert!((90..=110).contains(&reads) && (90..=110).contains(&writes));
    }

    #[test]
    fn a_long_way_to_the_server_does_not_shrink_the_chunks() {
        let far = Duration::from_millis(20);
        let mut pace = Pace::new(far, 0.5);
        for _ in 0..50 {
            pace.after_read(100, far + Duration::from_micros(100));
        }
        assert!(pace.reads() >= 240);
    }

    #[test]
    fn the_pause_leaves_redis_its_share() {
        let work = Duration::from_millis(4);
        let pause = |share, idle| {
            let mut pace = Pace::new(PING, share);
            pace.after_command(PING + work);
            pace.pause(idle)
        };
        assert_eq!(pause(1.0, Duration::ZERO), Duration::ZERO);
        assert_eq!(pause(0.5, Duration::ZERO), work);
        assert_eq!(pause(0.25, Duration::ZERO), work * 3);
        assert_eq!(pause(0.25, work), work * 2, "the time for work of our own counts");
        assert_eq!(pause(0.5, work * 2), Duration::ZERO);
    }

    #[test]
    fn small_debts_are_gathered() {
        let mut pace = Pace::new(PING, 0.5);
        let mut pause = || {
            pace.after_command(PING + Duration::from_micros(400));
            pace.pause(Duration::ZERO)
        };
        let pauses: Vec<_> = (0..3).map(|_| pause()).collect();
        assert_eq!(pauses, [Duration::ZERO, Duration::ZERO, Duration::from_micros(1200)]);
    }

    #[test]
    fn so_many_ids_are_watched_at_once_as_the_share_allows() {
        let pace = Pace::new(PING, 0.5);
        assert_eq!(pace.watchable(Duration::from_millis(40)), 10_000);
        assert_eq!(pace.watchable(Duration::ZERO), 50);
    }
}
