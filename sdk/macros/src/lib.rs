//! Derives of the Rust SDK: `FromRow` reads a struct from a row by its fields' names.
//! It knows no types: each field's own `FromValue` decides what fits.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Result, parse_macro_input};

/// Implements `bulkhead_sdk::sql::FromRow` for a struct with named fields. Each field is read from
/// the column of its name, or of `#[row(column = "...")]`.
#[proc_macro_derive(FromRow, attributes(row))]
pub fn derive_from_row(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    from_row(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn from_row(input: &DeriveInput) -> Result<TokenStream> {
    let reads = named_fields(input)?.map(read).collect::<Result<Vec<_>>>()?;
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::bulkhead_sdk::sql::FromRow for #name #arguments #bounds {
            fn from_row(
                row: &::bulkhead_sdk::sql::Row<'_>,
            ) -> ::core::result::Result<Self, ::bulkhead_sdk::StorageError> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }
        }
    })
}

fn named_fields(input: &DeriveInput) -> Result<impl Iterator<Item = &Field>> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields.named.iter()),
            Fields::Unnamed(_) | Fields::Unit => Err(refused(input)),
        },
        Data::Enum(_) | Data::Union(_) => Err(refused(input)),
    }
}

fn refused(input: &DeriveInput) -> Error {
    Error::new_spanned(&input.ident, "`FromRow` needs a struct with named fields: one for each column")
}

fn read(field: &Field) -> Result<TokenStream> {
    let Some(name) = &field.ident else {
        return Err(Error::new_spanned(field, "a field without a name has no column"));
    };
    let column = match column_of(field)? {
        Some(column) => column,
        None => LitStr::new(name.to_string().trim_start_matches("r#"), name.span()),
    };
    Ok(quote! { #name: row.get(#column)? })
}

fn column_of(field: &Field) -> Result<Option<LitStr>> {
    let mut column = None;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("row")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("column") {
                column = Some(meta.value()?.parse()?);
                Ok(())
            } else {
                Err(meta.error("expected `column = \"...\"`"))
            }
        })?;
    }
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn each_field_is_read_from_the_column_of_its_name() {
        let code = expand(&parse_quote! {
            struct Deal {
                id: i64,
                #[row(column = "name")]
                title: String,
                r#type: String,
            }
        });

        let reads =
            r#"Self { id : row . get ("id") ? , title : row . get ("name") ? , r#type : row . get ("type") ? }"#;
        assert!(code.contains(reads), "{code}");
    }

    #[test]
    fn a_type_without_named_fields_is_refused() {
        check_refused(&parse_quote! { struct Deal(i64); }, "a struct with named fields");
        check_refused(&parse_quote! { struct Deal; }, "a struct with named fields");
        check_refused(&parse_quote! { enum Deal { Open } }, "a struct with named fields");
        check_refused(&parse_quote! { struct Deal { #[row(name = "x")] id: i64 } }, "expected `column");
    }

    fn check_refused(input: &DeriveInput, expected: &str) {
        let error = from_row(input).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    fn expand(input: &DeriveInput) -> String {
        from_row(input).unwrap().to_string()
    }
}
