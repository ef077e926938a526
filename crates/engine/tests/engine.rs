//! The engine through its front door.

#![allow(unreachable_pub, reason = "one binary of several modules")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "engine/basics.rs"]
mod basics;
#[path = "engine/clones.rs"]
mod clones;
#[path = "engine/cold.rs"]
mod cold;
#[path = "engine/containment.rs"]
mod containment;
#[path = "engine/damage.rs"]
mod damage;
#[path = "engine/defragment.rs"]
mod defragment;
#[path = "engine/distant.rs"]
mod distant;
#[path = "engine/durability.rs"]
mod durability;
#[path = "engine/encryption.rs"]
mod encryption;
#[path = "engine/fork.rs"]
mod fork;
#[path = "engine/golden.rs"]
mod golden;
#[path = "engine/limits.rs"]
mod limits;
#[path = "engine/log_damage.rs"]
mod log_damage;
#[path = "engine/meanwhile.rs"]
mod meanwhile;
#[path = "engine/model.rs"]
mod model;
#[path = "engine/model_seeds.rs"]
mod model_seeds;
#[path = "engine/pace.rs"]
mod pace;
#[path = "engine/realms.rs"]
mod realms;
#[path = "engine/repair.rs"]
mod repair;
#[path = "engine/replaced.rs"]
mod replaced;
#[path = "engine/steps.rs"]
mod steps;
#[path = "engine/store_log.rs"]
mod store_log;
#[path = "engine/sweep.rs"]
mod sweep;
#[path = "engine/uncertain.rs"]
mod uncertain;
#[path = "engine/wire.rs"]
mod wire;
#[path = "engine/world.rs"]
mod world;
