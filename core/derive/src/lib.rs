//! `#[derive(Event)]` and `#[derive(Described)]`: the derives behind the traits of these names in `varve_core`,
//! where they are documented.

mod attributes;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or an enum an event: `varve_core::Event`, and all of what `#[derive(Described)]` gives.
///
/// On the type: `#[event(stream = "…")]`, `#[event(crate = "…")]` where `varve_core` goes by another path.
/// On a field: `#[event(unit = "…", doc = "…")]`. `#[rkyv(with = …)]` is followed.
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::event(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Describes a struct or an enum that events hold: `varve_core::Described` on its archived form, and
/// `varve_core::Bounded` where every field is.
#[proc_macro_derive(Described, attributes(event))]
pub fn derive_described(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::described(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
