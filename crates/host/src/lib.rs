//! What Offshoot does to this machine: mounts
