//! Management plane: services, HTTP API and its client
