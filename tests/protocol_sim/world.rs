//! The truth and the counter of one id at every instant.

use std::ops::RangeInclusive;

use super::traffic::Traffic;
use super::{Micros, any};

/// What an id had before the first write.
const BASE: i64 = 1_000;

pub struct World {
    truth: Curve,
    counter: Curve,
    lag: RangeInclusive<Micros>,
    /// What a replica showed last; it never goes back in time.
    shown: Micros,
}

/// A value that steps.
struct Curve(Vec<(Micros, i64)>);

impl Curve {
    fn new(base: i64, mut steps: Vec<(Micros, i64)>) -> Self {
        steps.sort_unstable();
        let mut value = base;
        for step in &mut steps {
            value += step.1;
            step.1 = value;
        }
        steps.insert(0, (0, base));
        Self(steps)
    }

    fn at(&self, time: Micros) -> i64 {
        self.0[self.0.partition_point(|(at, _)| *at <= time).max(1) - 1].1
    }
}

impl World {
    /// A world whose counter is off by `drift` from the beginning, and loses a share of the
    /// increments.
    pub fn new(
        traffic: &Traffic,
        drift: i64,
        lost: f64,
        end: Micros,
        random: &mut fastrand::Rng,
    ) -> Self {
        let writes = traffic.writes(end, random);
        let commits = writes.iter().map(|w| (w.commit, w.delta)).collect();
        let landings = writes.iter().filter(|_| lost == 0.0 || random.f64() >= lost);
        let landings = landings.map(|w| (w.landing, w.delta)).collect();
        Self {
            truth: Curve::new(BASE, commits),
            counter: Curve::new(BASE - drift, landings),
            lag: traffic.lag.clone(),
            shown: 0,
        }
    }

    pub fn counter(&self, at: Micros) -> i64 {
        self.counter.at(at)
    }

    /// The truth as a snapshot of that instant shows it, behind as the replica may be.
    pub fn truth(&mut self, at: Micros, random: &mut fastrand::Rng) -> i64 {
        self.shown = self.shown.max(at.saturating_sub(any(random, &self.lag)));
        self.truth.at(self.shown)
    }

    /// By how much the counter is off once everything has landed.
    pub fn drift_in_the_end(&self) -> i64 {
        self.truth.at(Micros::MAX) - self.counter.at(Micros::MAX)
    }
}
