//! What `sync` and its relatives reach through a mount.

use std::fs::File;
use std::io::Write as _;

use crate::world::World;

fn syncs(world: &World) -> u64 {
    world.vfs.pool().metrics().syncs.get()
}

#[test]
fn each_sync_of_a_file_or_directory_reaches_the_pool() {
    let world = World::new();
    let mut file = File::create(world.path("f")).unwrap();
    for round in 0..3 {
        file.write_all(b"x").unwrap();
        let before = syncs(&world);
        match round {
            0 => file.sync_all().unwrap(),
            1 => file.sync_data().unwrap(),
            _ => File::open(world.mount_point()).unwrap().sync_all().unwrap(),
        }
        assert!(syncs(&world) > before, "round {round}");
    }
}

/// Linux 6.18 does not send it to the server of such a mount; one that does is served. Either way it is answered.
#[test]
fn syncing_the_file_system_is_answered() {
    let world = World::new();
    let file = File::create(world.path("f")).unwrap();
    let before = syncs(&world);
    rustix::fs::syncfs(&file).unwrap();
    assert!(syncs(&world) <= before + 1);
}
