//! The device's machine against the host's, over a line in memory, in virtual time.

mod faults;
mod handshake;
mod line;
mod pair;
mod store;
mod transfer;
