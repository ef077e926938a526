//! The engine through its front door.

#[path = "engine/basics.rs"]
mod basics;
#[path = "engine/model.rs"]
mod model;
#[path = "engine/world.rs"]
mod world;
