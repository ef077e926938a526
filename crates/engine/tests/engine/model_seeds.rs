//! The model with seeds.
//!
//! `OFFSHOOT_SEED` is the first seed (0 if not set), `OFFSHOOT_SEEDS` the number of seeds, `OFFSHOOT_STEPS` the operations of each.
//! A failure prints its seed and the last operations; the same seed fails again in the same way.

use crate::model::Run;
use crate::world::Random;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn a_pool_behaves_like_its_model_whatever_is_done_to_it() {
    let first = setting("OFFSHOOT_SEED", 0);
    let mut rewritten = 0;
    for seed in first..first + setting("OFFSHOOT_SEEDS", 12) {
        println!("OFFSHOOT_SEED={seed} OFFSHOOT_SEEDS=1");
        let mut run = Run::new(seed, Random(seed));
        run.steps(setting("OFFSHOOT_STEPS", 400));
        run.empty();
        rewritten += run.rewritten();
    }
    // Of many seeds some have files in pieces when they are asked to put them together.
    assert!(rewritten > 0 || setting("OFFSHOOT_SEEDS", 12) < 12);
}
