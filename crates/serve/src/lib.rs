//! Data plane servers: each speaks one wire protocol to clients and [`offshoot_vfs`] to the pool.

pub mod fuse;
