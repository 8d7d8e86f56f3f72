//! How much to ask of Redis at once, and how long to leave it alone afterwards (R9).

use std::time::Duration;

/// What one command may cost Redis; well under the 1 ms of the stall budget.
const BUDGET: Duration = Duration::from_micros(500);

/// The size of the next chunk and the pause after the last, from what the last ones cost.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The way there and back alone, as a PING takes it.
    round_trip: Duration,
    share: f64,
    reads: f64,
    owed: Duration,
    /// A running mean of what one id costs in a read.
    cost: Duration,
}

impl Pace {
    /// Members a script may write in one call.
    pub const WRITES: usize = 50;
    const LONGEST_PAUSE: Duration = Duration::from_millis(40);
    const FIRST: f64 = 100.0;
    const LEAST: f64 = 20.0;
    const MOST: f64 = 250.0;

    /// `round_trip` is what a command without work takes; `share` is `redis_share` as a factor.
    #[must_use]
    pub fn new(round_trip: Duration, share: f64) -> Self {
        let cost = Duration::from_micros(2);
        Self { round_trip, share, reads: Self::FIRST, owed: Duration::ZERO, cost }
    }

    /// How many ids to read in the next command: 20 to 250, from 100 on.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "20 to 250")]
    pub fn chunk(&self) -> usize {
        self.reads as usize
    }

    /// How many ids can be read again within `interval` without taking more than the share.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub fn watchable(&self, interval: Duration) -> usize {
        let ids = interval.as_secs_f64() * self.share / self.cost.as_secs_f64().max(1e-7);
        (ids as usize).max(Pace::WRITES)
    }

    /// Takes note of a read of `ids` ids that took `elapsed`, the way included; gives the pause.
    pub fn after_read(&mut self, ids: usize, elapsed: Duration) -> Duration {
        let busy = elapsed.saturating_sub(self.round_trip);
        if let Some(each) = u32::try_from(ids).ok().and_then(|n| elapsed.checked_div(n)) {
            self.cost = (self.cost * 7 + each) / 8;
        }
        // Half-way towards the size that would have fitted, so that one slow reply is no verdict.
        let factor = BUDGET.as_secs_f64() / busy.as_secs_f64().max(1e-6);
        let fitting = (self.reads * factor).clamp(Self::LEAST, Self::MOST);
        self.reads = f64::midpoint(self.reads, fitting);
        self.after_command(elapsed)
    }

    /// Takes note of any other command that took `elapsed`; gives the pause.
    pub fn after_command(&mut self, elapsed: Duration) -> Duration {
        let busy = elapsed.saturating_sub(self.round_trip);
        self.owed += busy.mul_f64(1.0 / self.share.max(0.01) - 1.0);
        // A reply that took very long waited for somebody else, which is not ours to make good;
        // and a long pause would tear a hole into a watch.
        self.owed = self.owed.min(Self::LONGEST_PAUSE);
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
            assert_eq!(pace.chunk(), 100);
            for _ in 0..50 {
                let ids = pace.chunk();
                pace.after_read(ids, PING + cost_of_one * u32::try_from(ids).unwrap());
            }
            pace.chunk()
        };
        assert!(after(Duration::from_nanos(100)) >= 249);
        assert_eq!(after(Duration::from_millis(1)), 20);
        let middle = after(Duration::from_micros(5));
        assert!((90..=110).contains(&middle), "{middle}");
    }

    #[test]
    fn a_long_way_to_the_server_does_not_shrink_the_chunks() {
        let far = Duration::from_millis(20);
        let mut pace = Pace::new(far, 0.5);
        for _ in 0..50 {
            pace.after_read(100, far + Duration::from_micros(100));
        }
        assert!(pace.chunk() >= 240);
    }

    #[test]
    fn the_pause_leaves_redis_its_share() {
        let work = Duration::from_millis(4);
        let pause = |share| Pace::new(PING, share).after_command(PING + work);
        assert_eq!(pause(1.0), Duration::ZERO);
        assert_eq!(pause(0.5), work);
        assert_eq!(pause(0.25), work * 3);
    }

    #[test]
    fn small_debts_are_gathered() {
        let mut pace = Pace::new(PING, 0.5);
        let step = PING + Duration::from_micros(400);
        let pauses: Vec<_> = (0..3).map(|_| pace.after_command(step)).collect();
        assert_eq!(pauses, [Duration::ZERO, Duration::ZERO, Duration::from_micros(1200)]);
    }

    #[test]
    fn so_many_ids_are_watched_at_once_as_the_share_allows() {
        let pace = Pace::new(PING, 0.5);
        assert_eq!(pace.watchable(Duration::from_millis(40)), 10_000);
        assert_eq!(pace.watchable(Duration::ZERO), Pace::WRITES);
    }
}
