//! A schema against the types that it stands for: what it shows of honest events, and what it makes of hostile
//! events and descriptors.
#![cfg(feature = "alloc")]

mod cases;
mod hostile_descriptors;
mod hostile_events;
mod json;
mod model;
