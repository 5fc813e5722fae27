//! Curated lists: which release a company takes, by digest, and from where. A list is pinned by its own digest, so that
//! whoever pins it has read it.

use bulkhead_model::{Code, Digest, PluginId, Version};
use serde::Deserialize;

use super::{Sent, Source, check_digest, refused};
use crate::error::Error;

/// Most entries of a list.
const ENTRIES_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    plugins: Vec<Entry>,
}

/// A release of a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    id: PluginId,
    version: Version,
    digest: Digest,
    /// Where it is.
    pub(super) source: Source,
}

/// The entry of a plugin in a version, or in the highest of the list.
pub(super) fn find(list: &[u8], id: &PluginId, version: Option<&Version>) -> Result<Entry, Error> {
    let list: List = serde_json::from_slice(list)
        .map_err(|error| refused(Code::Malformed, format!("the list cannot be read: {error}")))?;
    if list.plugins.len() > ENTRIES_MAX {
        return Err(refused(Code::TooLarge, format!("a list has at most {ENTRIES_MAX} entries")));
    }
    let of_plugin = list.plugins.into_iter().filter(|entry| entry.id == *id);
    let found = of_plugin
        .filter(|entry| version.is_none_or(|version| entry.version == *version))
        .max_by(|a, b| a.version.semver().cmp(b.version.semver()));
    found.ok_or_else(|| Error::not_found("entry of the list for", id))
}

/// The one release that was fetched, which is the one that the list names.
pub(super) fn only(fetched: Vec<Sent>, entry: &Entry) -> Result<Sent, Error> {
    let mut fetched = fetched.into_iter();
    let (Some(sent), None) = (fetched.next(), fetched.next()) else {
        return Err(refused(Code::Malformed, "an entry of the list leads to several releases"));
    };
    check_digest(&sent.artifact, &entry.digest, "the release of the list")?;
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use bulkhead_model::Coded as _;

    use super::*;

    #[test]
    fn a_list_names_a_release_by_id_version_and_digest() {
        let entry = |version: &str| {
            format!(
                r#"{{"id":"acme.crm","version":"{version}","digest":"{}","source":{{"kind":"directory","path":"{version}.wasm"}}}}"#,
                Digest::of(b"x")
            )
        };
        let list = format!(r#"{{"plugins":[{},{},{}]}}"#, entry("1.9.0"), entry("1.10.0"), entry("1.2.0"));
        let find = |version: Option<&str>| {
            let version = version.map(|version| version.parse().unwrap());
            find(list.as_bytes(), &"acme.crm".parse().unwrap(), version.as_ref()).map(|entry| entry.version.to_string())
        };

        assert_eq!(find(None).unwrap(), "1.10.0");
        assert_eq!(find(Some("1.2.0")).unwrap(), "1.2.0");
        assert_eq!(find(Some("3.0.0")).unwrap_err().code(), Code::NotFound);
        let id: PluginId = "acme.crm".parse().unwrap();
        assert_eq!(super::find(b"[", &id, None).unwrap_err().code(), Code::Malformed);
        assert_eq!(super::find("[".repeat(200_000).as_bytes(), &id, None).unwrap_err().code(), Code::Malformed);
        let listed = super::find(list.as_bytes(), &id, None).unwrap();
        let sent = Sent { artifact: b"other".to_vec(), bundles: Vec::new() };
        assert_eq!(only(vec![sent.clone()], &listed).unwrap_err().code(), Code::DigestMismatch);
        assert_eq!(only(vec![sent.clone(), sent], &listed).unwrap_err().code(), Code::Malformed);
    }
}
