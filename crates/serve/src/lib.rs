//! Data plane servers: wire protocols to the POSIX layer
