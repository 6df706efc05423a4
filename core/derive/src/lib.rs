//! `#[derive(Event)]`: the derive behind `varve_core::Event`.
