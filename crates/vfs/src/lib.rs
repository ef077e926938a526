//! POSIX semantics over the Offshoot engine
