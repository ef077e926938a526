//! Bytes that the engine stores, one decoder at a time.

use offshoot_engine::fuzzing;

use crate::choices::Choices;
use crate::memory;

/// Bytes that a decoder may need for each byte of its input: the smallest records grow most.
const FACTOR: usize = 64;
/// And for none at all: errors, tables of constants.
const BASE: usize = 64 << 10;

fn bounded(input: &[u8], work: impl FnOnce()) {
    memory::within(BASE + FACTOR * input.len(), work);
}

/// A node of any tree, or a list of attributes.
pub(crate) fn nodes(input: &[u8]) {
    bounded(input, || match input.split_first() {
        Some((b'x', list)) => fuzzing::attribute_list(list),
        _ => fuzzing::node(input),
    });
}

/// The parts of an object of segments, and names of objects.
pub(crate) fn segments(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    bounded(input, || match which % 3 {
        0 => fuzzing::segment_directory(rest),
        1 => fuzzing::segment_footer(rest),
        _ => fuzzing::object_name(&String::from_utf8_lossy(rest)),
    });
}

/// Compressed items.
pub(crate) fn items(input: &[u8]) {
    let mut choices = Choices::new(input);
    let codec = choices.u8();
    if codec == b'c' {
        return fuzzing::compression(choices.rest());
    }
    let raw_length = (choices.u32() & 0x1ff_ffff) as usize;
    let stored = choices.rest();
    // What is longer than 16 MiB is refused before anything is allocated; a context of the decompressor stays with the thread.
    let most = if raw_length > 16 << 20 { 0 } else { raw_length };
    memory::within(most + FACTOR * stored.len() + (1 << 20), || fuzzing::item(codec, raw_length, stored));
}

/// Log files: batches, with and without heads that fit, and records.
pub(crate) fn log(input: &[u8]) {
    let mut choices = Choices::new(input);
    match choices.u8() % 3 {
        0 => bounded(input, || fuzzing::log_records(choices.rest())),
        1 => bounded(input, || fuzzing::log_file(choices.rest())),
        _ => {
            let (mut file, mut whole, mut torn) = (Vec::new(), 0, false);
            while !choices.is_empty() {
                let is_raw = choices.u8().is_multiple_of(4);
                if is_raw {
                    torn = true;
                    file.extend_from_slice(choices.piece());
                } else {
                    let (sequence, operations, durable) = (choices.u64(), choices.u32(), choices.u64());
                    file.extend(fuzzing::log_batch(sequence, operations, durable, choices.piece()));
                    whole += usize::from(!torn);
                }
            }
            memory::within(BASE + FACTOR * file.len(), || fuzzing::log_file(&file));
            assert!(fuzzing::log_batches_read(&file) >= whole, "a whole batch at the front was not read");
        }
    }
}

/// Manifests and segment tables.
pub(crate) fn manifests(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    bounded(input, || match which % 2 {
        0 => fuzzing::manifest(rest),
        _ => fuzzing::segment_table(rest),
    });
}
