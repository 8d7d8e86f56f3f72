//! R5 as the shell drives it: sandwiches at random distances, and readings all the time.

use std::time::Duration;

use recountd::reconcile::{Amount, Correction, SANDWICHES, Samples, snapshot_distance};

use super::watching::{Plan, Reader};
use super::world::World;
use super::{Micros, SETTLE};

/// What came of sampling one id.
pub struct Sampled {
    /// What all the samples prove, also where a run would have given up before.
    pub correction: Option<Correction>,
    /// Whether a run would have given up before.
    pub hopeless: bool,
    /// Truth − counter where the readings around it were equal: what a simpler rule would go by.
    pub plain: Vec<i64>,
}

/// Samples the id once.
pub fn sample(world: &mut World, random: &mut fastrand::Rng) -> Sampled {
    let settle = Duration::from_micros(SETTLE);
    let mut samples = Samples::new(settle);
    let (mut plain, mut hopeless) = (Vec::new(), false);
    let mut reader = Reader::new(world, random, Plan::WHOLE);
    let mut end = reader.now + SETTLE;
    for _ in 0..SANDWICHES {
        reader.read_until(end, |asked, answered, value| {
            observe(&mut samples, asked, answered, value);
        });
        let (asked, answered, before) = reader.read();
        observe(&mut samples, asked, answered, before);
        let (asked, answered, truth) = reader.snapshot();
        reader.read_until(answered, |asked, answered, value| {
            observe(&mut samples, asked, answered, value);
        });
        let taken = (span(asked), span(answered));
        let (asked, answered, after) = reader.read();
        observe(&mut samples, asked, answered, after);
        samples.truth(taken.0, taken.1, Amount::Int(truth));
        hopeless |= samples.is_hopeless();
        if before == after {
            plain.push(truth - before);
        }
        end = reader.now + snapshot_distance(settle, reader.random).as_micros() as Micros;
    }
    let end = reader.now + SETTLE;
    reader.read_until(end, |asked, answered, value| observe(&mut samples, asked, answered, value));
    let (asked, answered, value) = reader.read();
    observe(&mut samples, asked, answered, value);
    Sampled { correction: samples.judge(), hopeless, plain }
}

fn observe(samples: &mut Samples, asked: Micros, answered: Micros, value: i64) {
    samples.observe(span(asked), span(answered), Some(Amount::Int(value)));
}

fn span(micros: Micros) -> Duration {
    Duration::from_micros(micros)
}
