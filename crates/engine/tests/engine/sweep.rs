//! Every object and every region of bytes of a pool that has everything is damaged in every way.
//!
//! Nothing may panic or hang, nothing may show what was not written, what does not need the damaged bytes stays readable, and
//! a repair makes the pool sound. The short form takes the boundaries of all regions; the long form, for which
//! `OFFSHOOT_CORRUPT_MINUTES` says how long, takes every byte in an order of chance, and prints what came out.

#[path = "sweep/case.rs"]
mod case;
#[path = "sweep/content.rs"]
mod content;
#[path = "sweep/harm.rs"]
mod harm;
#[path = "sweep/sample.rs"]
mod sample;
#[path = "sweep/store.rs"]
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::executor::block_on;

use case::{Needs, Outcome};
use harm::{Harm, Place};
use sample::Sample;

use crate::world::{Chance, Random};

#[derive(Default)]
struct Tally {
    cases: u64,
    flips: u64,
    outcomes: BTreeMap<Outcome, u64>,
}

impl Tally {
    fn run(
        &mut self,
        sample: &Sample,
        needs: &BTreeMap<Vec<u8>, Needs>,
        place: &Place,
        harm: &Harm,
        to_the_end: bool,
    ) {
        self.cases += 1;
        self.flips += u64::from(matches!(harm, Harm::Flip(_)));
        *self.outcomes.entry(case::run(sample, needs, place, harm, to_the_end)).or_default() += 1;
    }

    fn show(&self, name: &str) {
        let Self { cases, flips, outcomes } = self;
        println!("{name}: {cases} cases, {flips} of them flipped bytes: {outcomes:?}");
    }
}

/// Where regions of a place begin and end: what is read of it at one go.
fn regions(sample: &Sample) -> BTreeMap<String, BTreeSet<u64>> {
    let (pool, objects, _) = sample::open(&sample.image, &sample.settings, false);
    let pool = pool.unwrap();
    block_on(pool.scrub()).unwrap();
    let mut found: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (name, ranges) in objects.asked() {
        found.entry(name).or_default().extend(ranges.into_iter().flat_map(|(start, end)| [start, end]));
    }
    found
}

/// Bytes that stand for their regions.
fn bytes_of(sample: &Sample, place: &Place, regions: &BTreeMap<String, BTreeSet<u64>>) -> BTreeSet<usize> {
    let length = place.bytes(&sample.image).len();
    let mut bounds: Vec<usize> = match place {
        Place::Object(name) => regions.get(name).into_iter().flatten().map(|bound| *bound as usize).collect(),
        Place::Log(_) => Vec::new(),
    };
    bounds.extend([0, length]);
    if matches!(place, Place::Log(_)) || bounds.len() <= 4 {
        bounds.extend((0..length).step_by(length / 24 + 1));
    }
    bounds.sort_unstable();
    bounds.dedup();
    let middles: Vec<usize> = bounds.windows(2).map(|pair| pair[0].midpoint(pair[1])).collect();
    let ends = bounds.iter().filter_map(|bound| bound.checked_sub(1));
    ends.chain(middles).filter(|at| *at < length).collect()
}

fn minutes() -> Option<u64> {
    std::env::var("OFFSHOOT_CORRUPT_MINUTES").ok().and_then(|minutes| minutes.parse().ok())
}

/// One in so many of the cases that stand for all.
fn short(sample: &Sample, one_in: u64) {
    let needs = case::needs(sample);
    let regions = regions(sample);
    let mut random = Random(7);
    let mut tally = Tally::default();
    for place in Place::all(&sample.image) {
        let bytes = bytes_of(sample, &place, &regions);
        let mut harms: Vec<Harm> = bytes.iter().map(|at| Harm::Flip(*at)).collect();
        harms.extend(bytes.iter().map(|at| Harm::Truncate(*at)));
        harms.retain(|_| random.one_in(one_in));
        let whole = harm::whole(sample, &place, 2, &mut random);
        harms.extend(whole.into_iter().filter(|_| random.one_in(one_in.div_ceil(3))));
        for harm in harms {
            let to_the_end = random.one_in(4);
            tally.run(sample, &needs, &place, &harm, to_the_end);
        }
    }
    tally.show(sample.name);
}

/// All cases, in an order of chance, until time is over.
fn long(sample: &Sample, duration: Duration) {
    let needs = case::needs(sample);
    let mut random = Random(11);
    let mut cases: Vec<(Place, Harm)> = Vec::new();
    for place in Place::all(&sample.image) {
        let length = place.bytes(&sample.image).len();
        cases.extend((0..length).map(|at| (place.clone(), Harm::Flip(at))));
        cases.extend((0..length).step_by(17).map(|at| (place.clone(), Harm::Truncate(at))));
        let whole = harm::whole(sample, &place, usize::MAX, &mut random);
        cases.extend(whole.into_iter().map(|harm| (place.clone(), harm)));
    }
    for at in (1..cases.len()).rev() {
        cases.swap(at, random.below(at as u64 + 1) as usize);
    }
    let (start, all) = (Instant::now(), cases.len());
    let mut tally = Tally::default();
    for (place, harm) in cases {
        if start.elapsed() > duration {
            break;
        }
        let to_the_end = random.one_in(4);
        tally.run(sample, &needs, &place, &harm, to_the_end);
    }
    tally.show(sample.name);
    println!("{}: that is {} of {all} cases", sample.name, tally.cases);
}

#[test]
fn every_region_of_a_rich_pool() {
    let sample = sample::rich();
    case::sound(&sample);
    match minutes() {
        Some(minutes) => long(&sample, Duration::from_secs(minutes * 60)),
        None => short(&sample, 12),
    }
}

#[test]
fn every_region_of_an_encrypted_pool() {
    let sample = sample::encrypted();
    case::sound(&sample);
    match minutes() {
        Some(minutes) => long(&sample, Duration::from_secs(minutes * 60)),
        None => short(&sample, 24),
    }
}

#[test]
fn every_region_of_a_pool_with_a_table() {
    let sample = sample::tabled();
    case::sound(&sample);
    match minutes() {
        Some(minutes) => long(&sample, Duration::from_secs(minutes * 60)),
        None => short(&sample, 300),
    }
}
