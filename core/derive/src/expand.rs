//! The code that the derives write.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Data, DataEnum, DeriveInput, Error, Field, Fields, GenericArgument, Ident, Member, Path, PathArguments,
    Result, Type, ext::IdentExt, spanned::Spanned,
};

use crate::attributes::{self, FieldAttributes, TypeAttributes};

/// `Event`, and what [`described`] gives.
pub(crate) fn event(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = TypeAttributes::parse(&input.attrs)?;
    let described = describe(input, &attributes.crate_path)?;
    let (name, varve) = (&input.ident, &attributes.crate_path);
    let stream = match &attributes.stream {
        Some(stream) => stream.value(),
        None => snake_case(&name.unraw().to_string()),
    };
    Ok(quote! {
        #described

        #[automatically_derived]
        impl #varve::Event for #name {
            const STREAM: &'static str = #stream;
            const DESCRIPTOR: &'static [u8] = {
                const TYPE: &#varve::descriptor::Type =
                    <<#name as #varve::rkyv::Archive>::Archived as #varve::Described>::TYPE;
                &#varve::descriptor::encode::<{ #varve::descriptor::encoded_len(TYPE) }>(TYPE)
            };
        }
    })
}

/// `Described` on the archived type, and `Bounded` where every field is.
pub(crate) fn described(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = TypeAttributes::parse(&input.attrs)?;
    if let Some(stream) = attributes.stream {
        return Err(Error::new(stream.span(), "only `#[derive(Event)]` names a stream"));
    }
    describe(input, &attributes.crate_path)
}

fn describe(input: &DeriveInput, varve: &Path) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "an event has one layout: derive for a type without generics and lifetimes",
        ));
    }
    let name = &input.ident;
    let type_name = name.unraw().to_string();
    let (parts, ty) = match &input.data {
        Data::Struct(data) => {
            let parts = Part::all(&data.fields)?;
            let ty = describe_struct(&type_name, &data.fields, &parts, varve);
            (vec![parts], ty)
        }
        Data::Enum(data) => describe_enum(name, &type_name, data, varve)?,
        Data::Union(_) => {
            return Err(Error::new_spanned(name, "a union does not say what it holds: use an enum"));
        }
    };
    let bounded = bounded(name, &parts, varve);
    let archived = attributes::archived_type(name, &input.attrs)?;
    Ok(quote! {
        #[automatically_derived]
        impl #varve::Described for #archived {
            const TYPE: &'static #varve::descriptor::Type = { #ty };
        }

        #bounded
    })
}

/// A field, with what its attributes say.
struct Part<'a> {
    field: &'a Field,
    member: Member,
    attributes: FieldAttributes,
}

impl<'a> Part<'a> {
    fn all(fields: &'a Fields) -> Result<Vec<Self>> {
        if fields.len() > FIELDS_MAX {
            return Err(Error::new(fields.span(), "a struct or variant of an event has at most 256 fields"));
        }
        fields.iter().zip(fields.members()).map(|(field, member)| Self::new(field, member)).collect()
    }

    fn new(field: &'a Field, member: Member) -> Result<Self> {
        let attributes = FieldAttributes::parse(&field.attrs)?;
        if attributes.with.is_none() {
            refuse_pointer_sized(&field.ty)?;
        }
        Ok(Self { field, member, attributes })
    }

    fn archived(&self, varve: &Path) -> TokenStream {
        let ty = &self.field.ty;
        match &self.attributes.with {
            Some(with) => quote!(<#with as #varve::rkyv::with::ArchiveWith<#ty>>::Archived),
            None => quote!(<#ty as #varve::rkyv::Archive>::Archived),
        }
    }

    fn describe(&self, varve: &Path) -> TokenStream {
        let name = self.field.ident.as_ref().map(|ident| ident.unraw().to_string()).unwrap_or_default();
        let FieldAttributes { unit, doc, .. } = &self.attributes;
        let archived = self.archived(varve);
        let ty = quote_spanned!(self.field.ty.span()=> <#archived as #varve::Described>::TYPE);
        quote! {
            #varve::descriptor::Field { name: #name, unit: #unit, doc: #doc, ty: #ty }
        }
    }

    /// The bound of the field, and the clause that it has one. `for<'a>` lets the clause be false: then the
    /// type is not bounded, and nothing else is wrong with it.
    fn bound(&self, varve: &Path) -> (TokenStream, TokenStream) {
        let ty = &self.field.ty;
        match &self.attributes.with {
            Some(with) => (
                quote!(<#with as #varve::BoundedWith<#ty>>::BOUND),
                quote!(for<'varve> #with: #varve::BoundedWith<#ty>),
            ),
            None => (quote!(<#ty as #varve::Bounded>::BOUND), quote!(for<'varve> #ty: #varve::Bounded)),
        }
    }
}

fn describe_fields(fields: &Fields, parts: &[Part<'_>], varve: &Path) -> TokenStream {
    let described = parts.iter().map(|part| part.describe(varve));
    match fields {
        Fields::Named(_) => quote!(#varve::descriptor::Fields::Named(&[#(#described),*])),
        Fields::Unnamed(_) => quote!(#varve::descriptor::Fields::Tuple(&[#(#described),*])),
        Fields::Unit => quote!(#varve::descriptor::Fields::Unit),
    }
}

/// Proves that the fields lie back to back, which is what the reader of a descriptor assumes.
fn describe_struct(name: &str, fields: &Fields, parts: &[Part<'_>], varve: &Path) -> TokenStream {
    let described = describe_fields(fields, parts, varve);
    let members = parts.iter().map(|part| &part.member);
    let archived = parts.iter().map(|part| part.archived(varve));
    quote! {
        let end = 0;
        #(
            assert!(::core::mem::offset_of!(Self, #members) == end, "the archived fields lie in another order");
            let end = end + ::core::mem::size_of::<#archived>();
        )*
        assert!(::core::mem::size_of::<Self>() == end, "the archived struct holds more than its fields");
        &#varve::descriptor::Type::Struct { name: #name, fields: #described }
    }
}

/// Proves that the archived enum is a tag of one byte and the longest variant.
fn describe_enum<'a>(
    ident: &Ident,
    name: &str,
    data: &'a DataEnum,
    varve: &Path,
) -> Result<(Vec<Vec<Part<'a>>>, TokenStream)> {
    if data.variants.is_empty() {
        return Err(Error::new_spanned(ident, "an enum without variants has no values"));
    }
    let mut all_parts = Vec::new();
    let mut described = Vec::new();
    let mut ends = Vec::new();
    let (mut last_given, mut since_given) = (quote!(0u8), 0u8);
    for variant in &data.variants {
        attributes::refuse(&variant.attrs)?;
        let parts = Part::all(&variant.fields)?;
        if let Some((_, discriminant)) = &variant.discriminant {
            (last_given, since_given) = (quote!((#discriminant) as u8), 0);
        }
        let variant_name = variant.ident.unraw().to_string();
        let fields = describe_fields(&variant.fields, &parts, varve);
        described.push(quote! {
            #varve::descriptor::Variant { name: #variant_name, tag: #last_given + #since_given, fields: #fields }
        });
        let archived = parts.iter().map(|part| part.archived(varve));
        ends.push(quote!(1 #(+ ::core::mem::size_of::<#archived>())*));
        since_given = since_given.wrapping_add(1);
        all_parts.push(parts);
    }
    let ty = quote! {
        let ends = [#(#ends),*];
        let (mut longest, mut i) = (0, 0);
        while i < ends.len() {
            if ends[i] > longest {
                longest = ends[i];
            }
            i += 1;
        }
        assert!(::core::mem::size_of::<Self>() == longest, "the archived enum is not a tag and its fields");
        &#varve::descriptor::Type::Enum { name: #name, variants: &[#(#described),*] }
    };
    Ok((all_parts, ty))
}

/// The sum of the fields of a struct; the longest of an enum's variants.
fn bounded(name: &Ident, variants: &[Vec<Part<'_>>], varve: &Path) -> TokenStream {
    let mut clauses = Vec::new();
    let mut sums = Vec::new();
    for parts in variants {
        let (bounds, bounded): (Vec<_>, Vec<_>) = parts.iter().map(|part| part.bound(varve)).unzip();
        sums.push(quote!(#varve::Bound::NONE #(.and(#bounds))*));
        clauses.extend(bounded);
    }
    quote! {
        #[automatically_derived]
        impl #varve::Bounded for #name
        where
            #(#clauses,)*
        {
            const BOUND: #varve::Bound = #varve::Bound::NONE #(.or(#sums))*;
        }
    }
}

/// rkyv archives `usize` in 32 bits and cuts off what does not fit.
fn refuse_pointer_sized(ty: &Type) -> Result<()> {
    match ty {
        Type::Array(array) => refuse_pointer_sized(&array.elem),
        Type::Tuple(tuple) => tuple.elems.iter().try_for_each(refuse_pointer_sized),
        Type::Paren(paren) => refuse_pointer_sized(&paren.elem),
        Type::Group(group) => refuse_pointer_sized(&group.elem),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return Ok(()) };
            if ["usize", "isize", "NonZeroUsize", "NonZeroIsize"].iter().any(|name| last.ident == name) {
                let message = format!("`{}` has no one size: use a type of 32 or 64 bits", last.ident);
                return Err(Error::new_spanned(ty, message));
            }
            let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Ok(()) };
            arguments.args.iter().try_for_each(|argument| match argument {
                GenericArgument::Type(ty) => refuse_pointer_sized(ty),
                _ => Ok(()),
            })
        }
        _ => Ok(()),
    }
}

const FIELDS_MAX: usize = 256;

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (i, &c) in chars.iter().enumerate() {
        let starts_word = c.is_uppercase()
            && i > 0
            && (!chars[i - 1].is_uppercase() || chars.get(i + 1).is_some_and(|next| next.is_lowercase()));
        if starts_word && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn stream_names_are_in_snake_case() {
        for (name, expected) in [
            ("Climate", "climate"),
            ("OrderPlaced", "order_placed"),
            ("HTTPRequest", "http_request"),
            ("Axis3D", "axis3_d"),
            ("Old_Style", "old_style"),
        ] {
            assert_eq!(snake_case(name), expected);
        }
    }

    fn check_refused(input: DeriveInput, expected: &str) {
        let error = event(&input).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_type_without_one_layout_is_refused_with_a_reason() {
        check_refused(parse_quote!(union Either { a: u8, b: u16 }), "a union does not say what it holds");
        check_refused(
            parse_quote!(
                struct Pair<T>(T, T);
            ),
            "without generics and lifetimes",
        );
        check_refused(
            parse_quote!(
                struct Text<'a> {
                    text: &'a str,
                }
            ),
            "without generics and lifetimes",
        );
        check_refused(
            parse_quote!(
                enum Never {}
            ),
            "an enum without variants has no values",
        );
    }

    #[test]
    fn a_field_of_the_host_s_word_is_refused_at_any_depth() {
        check_refused(
            parse_quote!(
                struct Count(usize);
            ),
            "`usize` has no one size",
        );
        check_refused(
            parse_quote!(
                enum Count {
                    Many { all: Vec<Option<(u8, isize)>> },
                }
            ),
            "`isize` has no one size",
        );
        check_refused(
            parse_quote!(
                struct Count([core::num::NonZeroUsize; 3]);
            ),
            "`NonZeroUsize` has no one size",
        );
        assert!(
            event(&parse_quote!(
                struct Room([u8; ROOM as usize]);
            ))
            .is_ok()
        );
    }

    #[test]
    fn an_attribute_out_of_place_is_refused_with_a_reason() {
        check_refused(
            parse_quote!(
                #[event(unit = "m")]
                struct Length(f32);
            ),
            "a type takes `stream = \"…\"`",
        );
        check_refused(
            parse_quote!(
                #[event(stream = "")]
                struct Length(f32);
            ),
            "1 to 255 bytes",
        );
        check_refused(
            parse_quote!(
                struct Length(#[event(stream = "m")] f32);
            ),
            "a field takes `unit = \"…\"`",
        );
        check_refused(
            parse_quote!(
                struct Length(#[event(unit = "")] f32);
            ),
            "1 to 255 bytes",
        );
        check_refused(
            parse_quote!(
                struct Length(#[rkyv(niche)] Option<u8>);
            ),
            "a niched option has no description",
        );
        check_refused(
            parse_quote!(
                enum Length {
                    #[event(doc = "SI")]
                    Metric(f32),
                }
            ),
            "on the type or on a field",
        );
        let part: DeriveInput = parse_quote!(
            #[event(stream = "lengths")]
            struct Length(f32);
        );
        assert!(described(&part).unwrap_err().to_string().contains("names a stream"));
    }
}
