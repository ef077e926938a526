//! Every input of the corpora, through the function of its target: without libFuzzer, in every run of the tests.

use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// Some of what is called catches panics. Here one ends the test whoever catches it.
fn end_at_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        std::process::abort();
    }));
}

fn replay(target: &str) {
    end_at_panics();
    let mut inputs: Vec<PathBuf> = std::fs::read_dir(corpus(target))
        .unwrap_or_else(|error| panic!("{}: {error}", corpus(target).display()))
        .map(|entry| entry.expect("the directory can be read").path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "there are no inputs");
    for path in inputs {
        println!("{}", path.display());
        let input = std::fs::read(&path).expect("the input can be read");
        fuzzing::run(target, &input);
    }
}

macro_rules! targets {
    ($($target:ident),*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        #[test]
        fn every_target_is_replayed_and_fuzzed() {
            let named: Vec<&str> = fuzzing::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(named, [$(stringify!($target)),*]);
            for name in named {
                let source = corpus("").join("../fuzz_targets").join(format!("{name}.rs"));
                assert!(source.is_file(), "{} is missing", source.display());
            }
        }
    };
}

targets!(nodes, segments, items, log, manifests, pool, operations, fuse, http, settings, words, acl);
