//! Seeded bugs: each is one line of the engine that a tired person might have written. They prove that the tests catch what they
//! are there for. One is switched on at a time, by a test, in a build with the feature `simulation`; all others have none of it.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $mutant:ident = $name:literal),+ $(,)?) => {
        /// A seeded bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[doc = $doc])+ $mutant),+ }

        #[cfg(feature = "simulation")]
        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$mutant),+];

            /// The name by which it is switched on.
            pub fn name(self) -> &'static str {
                match self { $(Mutant::$mutant => $name),+ }
            }

            /// What it does wrong.
            pub fn words(self) -> &'static str {
                match self { $(Mutant::$mutant => concat!($($doc),+)),+ }
            }
        }
    };
}

mutants! {
    /// The log is acknowledged without its sync.
    SkipLogSync = "skip-log-sync",
    /// A log file is left for the next one without its last sync.
    SkipSyncOfEndedFile = "skip-sync-of-ended-file",
    /// A failed sync of the log is taken for a good one.
    AcknowledgeFailedSync = "acknowledge-failed-sync",
    /// Records go to the log before the frames that they name are stored.
    RecordsBeforeFrames = "records-before-frames",
    /// Two records of the log change places.
    SwapRecords = "swap-records",
    /// A batch of the log is believed whatever its checksum says.
    IgnoreBatchChecksum = "ignore-batch-checksum",
    /// The replay leaves the last batch of a log file out.
    ReplayStopsEarly = "replay-stops-early",
    /// What a replaced writer has appended since is replayed.
    ReplayZombies = "replay-zombies",
    /// A checkpoint names the log file after the one that it needs.
    SkipLogFile = "skip-log-file",
    /// The log file that is needed is deleted with those before it.
    DeleteNeededLog = "delete-needed-log",
    /// Dead objects are deleted before the manifest that does without them is stored.
    DeleteObjectsEarly = "delete-objects-early",
    /// A manifest whose number is taken is taken for stored: nobody is fenced.
    IgnoreTakenManifest = "ignore-taken-manifest",
    /// A taken log file is taken for made.
    IgnoreTakenLog = "ignore-taken-log",
    /// Nothing fences anybody: no manifest that is taken, none that is newer, and no log file that is taken.
    IgnoreFences = "ignore-fences",
    /// A part of the log that is taken is taken for put, in a log among the objects.
    IgnoreTakenPart = "ignore-taken-part",
    /// Who takes over leaves the log of the writer before as it is, in a log among the objects.
    SkipSeal = "skip-seal",
    /// A file of a log among the objects is deleted with its seal.
    DeleteSeal = "delete-seal",
    /// Who goes on in a new file of a log among the objects does not look whether the last one was sealed.
    GoOnUnasked = "go-on-unasked",
    /// One new reference in eight is not counted.
    ForgetReference = "forget-reference",
    /// The last but one reference frees.
    FreeSharedItem = "free-shared-item",
    /// Garbage that one checkpoint does not get to is forgotten.
    ForgetGarbage = "forget-garbage",
    /// Frames that only the log names are not noted in the manifest.
    ForgetBornFrames = "forget-born-frames",
    /// Compaction leaves the last live item of a segment behind.
    CompactLosesItem = "compact-loses-item",
    /// Compaction numbers the items that it keeps anew.
    CompactRenumbers = "compact-renumbers",
    /// A segment that a dead writer put is not taken in.
    IgnoreNewSegments = "ignore-new-segments",
    /// The id of a realm is given out again while it is in use.
    ReuseRealmEarly = "reuse-realm-early",
    /// A clone forgets files with several names.
    CloneForgetsSide = "clone-forgets-side",
    /// A clone of a range leaves its last piece out.
    CloneRangeLosesPiece = "clone-range-loses-piece",
    /// Removing a tree leaves its files in the totals.
    ForgetTotals = "forget-totals",
    /// A removal goes on although names have changed since they were counted.
    IgnoreGuard = "ignore-guard",
    /// What was removed while it was open stays after a restart.
    KeepOrphans = "keep-orphans",
    /// Truncation leaves the bytes behind the end, to be seen when the file grows again.
    KeepTruncatedBytes = "keep-truncated-bytes",
    /// One of several names goes and is not counted down.
    ForgetLink = "forget-link",
    /// A fetched node is not kept from being deleted meanwhile.
    FetchUnpinned = "fetch-unpinned",
    /// A manifest whose answer was lost is given up, and another one tried under its number.
    ForgetPrepared = "forget-prepared",
    /// Of two segments with one number the older writer's is taken in.
    AdoptOlderWriter = "adopt-older-writer",
    /// The segment table forgets the last change.
    TableLosesChange = "table-loses-change",
}

/// Names the bug that is on in this process from the beginning, for tests.
#[cfg(feature = "simulation")]
const VARIABLE: &str = "OFFSHOOT_MUTANT";

#[cfg(feature = "simulation")]
static ON: std::sync::LazyLock<std::sync::atomic::AtomicUsize> = std::sync::LazyLock::new(|| {
    let named = std::env::var(VARIABLE).ok().map(|name| {
        let known = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
        *known.unwrap_or_else(|| panic!("{VARIABLE} names no seeded bug: {name}")) as usize
    });
    std::sync::atomic::AtomicUsize::new(named.unwrap_or(usize::MAX))
});

/// Switches a bug on in this process, and no other.
#[cfg(feature = "simulation")]
pub fn switch_on(mutant: Mutant) {
    ON.store(mutant as usize, std::sync::atomic::Ordering::Relaxed);
}

/// Whether a bug is switched on.
#[cfg(feature = "simulation")]
pub(crate) fn is_on(mutant: Mutant) -> bool {
    ON.load(std::sync::atomic::Ordering::Relaxed) == mutant as usize
}

/// No bug is on outside of simulations.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn is_on(_: Mutant) -> bool {
    false
}
