//! What the attributes on a type and on its fields say.

use proc_macro2::TokenStream;
use quote::format_ident;
use syn::{
    Attribute, Ident, LitStr, Path, Result, Token, Type, ext::IdentExt, meta::ParseNestedMeta, parse_quote,
};

/// `#[event(stream = "…", crate = "…")]` on the type.
pub(crate) struct TypeAttributes {
    pub(crate) stream: Option<LitStr>,
    pub(crate) crate_path: Path,
}

impl TypeAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut parsed = Self { stream: None, crate_path: parse_quote!(::varve_core) };
        for_each(attributes, "event", |meta| {
            if meta.path.is_ident("stream") {
                parsed.stream = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("crate") {
                parsed.crate_path = meta.value()?.parse::<LitStr>()?.parse()?;
            } else {
                return Err(meta.error("a type takes `stream = \"…\"` and `crate = \"…\"`"));
            }
            Ok(())
        })?;
        if let Some(stream) = &parsed.stream
            && (stream.value().is_empty() || stream.value().len() > STREAM_NAME_LEN_MAX)
        {
            return Err(syn::Error::new(stream.span(), "a stream's name has 1 to 255 bytes"));
        }
        Ok(parsed)
    }
}

/// The archived type that `#[derive(Archive)]` makes, or takes by `#[rkyv(archived = …)]` or `#[rkyv(as = …)]`.
///
/// It must be named: an implementation for the projection `<T as Archive>::Archived` would conflict with those of
/// every other crate.
pub(crate) fn archived_type(name: &Ident, attributes: &[Attribute]) -> Result<Type> {
    let default = format_ident!("Archived{}", name.unraw());
    let mut archived: Type = parse_quote!(#default);
    for_each(attributes, "rkyv", |meta| {
        if meta.path.is_ident("archived") || meta.path.is_ident("as") {
            archived = meta.value()?.parse()?;
            return Ok(());
        }
        skip_value(&meta)
    })?;
    Ok(archived)
}

/// `#[event(unit = "…", doc = "…")]` and `#[rkyv(with = …)]` on a field.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    pub(crate) unit: String,
    pub(crate) doc: String,
    pub(crate) with: Option<Type>,
}

impl FieldAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut parsed = Self::default();
        for_each(attributes, "event", |meta| {
            if meta.path.is_ident("unit") {
                parsed.unit = text(&meta)?;
            } else if meta.path.is_ident("doc") {
                parsed.doc = text(&meta)?;
            } else {
                return Err(meta.error("a field takes `unit = \"…\"` and `doc = \"…\"`"));
            }
            Ok(())
        })?;
        for_each(attributes, "rkyv", |meta| {
            if meta.path.is_ident("with") {
                parsed.with = Some(meta.value()?.parse()?);
                return Ok(());
            }
            if meta.path.is_ident("niche") {
                return Err(meta.error("a niched option has no description: events keep the option's tag"));
            }
            skip_value(&meta)
        })?;
        Ok(parsed)
    }
}

/// Refuses attributes on what takes none, such as a variant.
pub(crate) fn refuse(attributes: &[Attribute]) -> Result<()> {
    for_each(attributes, "event", |meta| Err(meta.error("`#[event(…)]` belongs on the type or on a field")))
}

const STREAM_NAME_LEN_MAX: usize = 255;
const TEXT_LEN_MAX: usize = 255;

fn for_each(
    attributes: &[Attribute],
    name: &str,
    mut parse: impl FnMut(ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(name))
        .try_for_each(|attribute| attribute.parse_nested_meta(&mut parse))
}

fn text(meta: &ParseNestedMeta<'_>) -> Result<String> {
    let text = meta.value()?.parse::<LitStr>()?;
    if text.value().is_empty() || text.value().len() > TEXT_LEN_MAX {
        return Err(syn::Error::new(text.span(), "a unit or doc text has 1 to 255 bytes"));
    }
    Ok(text.value())
}

/// Passes over `= value` or `(…)` of an attribute that is rkyv's alone.
fn skip_value(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Type>()?;
    } else if meta.input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in meta.input);
        content.parse::<TokenStream>()?;
    }
    Ok(())
}
