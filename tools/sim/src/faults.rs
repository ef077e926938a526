//! What goes wrong in a world, chosen by its seed.

use crate::random::{Chance, Random};

/// How often something goes wrong, one call in so many; 0 is never.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Longest usual delay of a store's call, in microseconds of virtual time; a few take two hundred times as long.
    pub delay_micros: u64,
    /// A store's call does nothing and fails.
    pub refused: u64,
    /// A store's call is carried out, and the answer is lost.
    pub answer_lost: u64,
    /// A store's call fails, and is carried out some time afterwards.
    pub carried_out_late: u64,
    /// The network repeats a store's call; the second answer arrives.
    pub repeated: u64,
    /// A store or the log has no space for a moment.
    pub no_space: u64,
    /// Calls of dead machines still arrive.
    pub late_arrivals: bool,
    /// A sync of the log fails; what it should have made durable may be lost, whatever later syncs say.
    pub sync_fails: u64,
    /// A sync of the log says that it was done, and was not: once.
    pub sync_lies: u64,
    /// An object that was put disappears with the next death of a machine: once.
    pub put_lies: u64,
    /// The wall clock jumps.
    pub clock_jumps: bool,
    /// There are few numbers for clones: they are used again soon, and run out.
    pub few_realms: bool,
}

impl Faults {
    /// No two worlds are alike: some have no faults at all, some several kinds.
    pub fn choose(random: &mut Random) -> Self {
        let mut faults = Self { late_arrivals: random.one_in(2), ..Self::default() };
        faults.delay_micros = *random.pick(&[0, 200, 200, 5_000, 20_000]);
        faults.clock_jumps = random.one_in(5);
        faults.few_realms = random.one_in(4);
        let rate = *random.pick(&[150, 150, 300, 800]);
        match random.below(16) {
            0..=5 => {}
            6..=10 => {
                let kinds = [
                    &mut faults.refused,
                    &mut faults.answer_lost,
                    &mut faults.carried_out_late,
                    &mut faults.repeated,
                ];
                let chosen: Vec<&mut u64> = kinds.into_iter().filter(|_| random.one_in(2)).collect();
                // As many fail in all, whatever the number of kinds: where one call in twenty does, a checkpoint of a cold pool never
                // gets through, and no engine is to blame.
                let each = rate * chosen.len() as u64;
                chosen.into_iter().for_each(|one| *one = each);
            }
            11 => faults.no_space = rate,
            12 => faults.sync_fails = rate,
            13 => faults.sync_lies = rate,
            14 => faults.put_lies = rate,
            _ => {
                faults.refused = rate * 2;
                faults.no_space = rate * 2;
                faults.sync_fails = rate * 10;
            }
        }
        faults
    }

    /// Whether calls may fail without being to blame.
    pub fn fail(&self) -> bool {
        [self.refused, self.answer_lost, self.carried_out_late, self.repeated, self.no_space, self.sync_fails]
            .iter()
            .any(|rate| *rate > 0)
    }

    /// Whether media say what is not true.
    pub fn lie(&self) -> bool {
        self.sync_lies > 0 || self.put_lies > 0
    }
}
