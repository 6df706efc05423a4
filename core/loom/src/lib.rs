//! The synchronisation of the store, in every order that threads may run it.
//!
//! The modules under test are the store's own files; [loom](https://docs.rs/loom) stands where they use `std`, and
//! runs each test once for every order of its threads' steps, and for every value that the memory model lets a load
//! see. A thread that waits for ever is a failure.
//!
//! ```sh
//! RUSTFLAGS='--cfg loom' cargo test --release -p varve-loom
//! ```
#![cfg(all(loom, test))]
#![forbid(unsafe_code)]
#![allow(unreachable_pub, reason = "what the store makes public stays where it is here")]

mod store;

use varve_core::GlobalSequence;
