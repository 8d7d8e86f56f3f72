//! Many seeds on all cores, and what came of them.

use std::thread;

/// How many seeds to try: `RECOUNTD_SEEDS`, or else `usual`.
pub fn seeds(usual: u64) -> u64 {
    std::env::var("RECOUNTD_SEEDS").map_or(usual, |text| text.parse().expect("a number of seeds"))
}

/// Gives what `of` says of each seed that it has something to say of.
pub fn each_seed<T: Send>(seeds: u64, of: impl Fn(u64) -> Option<T> + Sync) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    thread::scope(|scope| {
        let of = &of;
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                let mine = (core..seeds).step_by(cores as usize);
                scope.spawn(move || mine.filter_map(of).collect::<Vec<T>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}
