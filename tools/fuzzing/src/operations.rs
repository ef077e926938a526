//! Operations, crashes and reopenings that the input chooses, done to a pool and to the model of the engine's tests.

use crate::model::Run;
use crate::world::Random;

/// Things that are done to one pool.
const STEPS_MAX: u64 = 120;

/// The input chooses all of it, from the settings of the pool to the byte at which a power cut tears the log.
pub(crate) fn operations(input: &[u8]) {
    let mut run = Run::new(0, Random::of(input));
    run.steps(STEPS_MAX);
    run.empty();
}
