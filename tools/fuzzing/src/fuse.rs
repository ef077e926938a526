//! Requests of the kernel: decoded from any bytes, and whole conversations with a mount that serves a pool in memory.

use std::sync::Arc;

use futures::executor::block_on;
use offshoot_engine::log::MemoryLog;
use offshoot_engine::object::MemoryStore;
use offshoot_engine::{OpenMode, Pool, Settings, Storage};
use offshoot_serve::fuse::fuzzing::{Kernel, request};
use offshoot_vfs::{Vfs, VfsSettings};

use crate::choices::Choices;
use crate::world::StepClock;

/// Requests to one mount.
const REQUESTS_MAX: usize = 60;

/// A new pool in memory and the file system on it.
pub(crate) fn file_system() -> (Pool, Vfs) {
    let storage = Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) };
    let settings = Settings { reserve_bytes: 0, identity: [1, 2, 3, 4], ..Settings::default() };
    let opened = Pool::open(storage, Arc::new(StepClock::default()), settings, OpenMode::Create);
    let pool = block_on(opened).expect("the medium is memory");
    (pool.clone(), Vfs::new(pool, VfsSettings::default()))
}

/// The first byte says whether the rest is one request, or a conversation.
pub(crate) fn fuse(input: &[u8]) {
    let mut choices = Choices::new(input);
    match choices.u8() % 4 {
        how @ 0..2 => request(choices.rest(), how == 1),
        _ => conversation(choices),
    }
}

fn conversation(mut choices: Choices<'_>) {
    let (pool, vfs) = file_system();
    let mut kernel = Kernel::new(vfs).expect("a file in memory can be made");
    // Node ids that were answered, so that requests find something.
    let mut nodes = vec![1_u64];
    for _ in 0..REQUESTS_MAX {
        if choices.is_empty() {
            break;
        }
        let (how, opcode) = (choices.u8(), u32::from(choices.u8()));
        if how == 0xff {
            kernel.send(choices.piece());
            continue;
        }
        let node = nodes[usize::from(how & 0x1f) % nodes.len()];
        let answer = kernel.ask(opcode, node, how & 0x80 == 0, choices.piece());
        if answer.len() >= 128
            && let Some(made) = answer.first_chunk::<8>()
        {
            nodes.push(u64::from_ne_bytes(*made));
        }
    }
    kernel.end();
    let report = block_on(pool.check()).expect("the medium is memory");
    assert_eq!(report.findings, [], "requests have left a pool that is not sound");
}
