//! The wire of Varve.
#![no_std]
#![forbid(unsafe_code)]
