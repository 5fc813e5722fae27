//! Where a release is fetched from, as a person writes it: `oci://host/acme/crm:1.2.0`, `npm:@acme/crm@1.2.0`,
//! `github:acme/crm@v1.2.0#crm-1.2.0.wasm`, `https://...#sha256:...`, `dir:crm/crm-1.2.0.wasm`. The host reads what comes of it.

use serde_json::{Value, json};

use crate::error::Error;

/// The source in `text`; `None` where it is a file or a release.
pub(crate) fn parse(text: &str) -> Result<Option<Value>, Error> {
    let usage = |wanted: &str| Error::Usage {
        what: format!("`{text}` is not complete"),
        next: format!("write it such as `{wanted}`"),
    };
    let source = if text.starts_with("oci://") {
        json!({ "kind": "oci", "reference": text })
    } else if let Some(rest) = text.strip_prefix("npm:") {
        match rest.rsplit_once('@').filter(|(package, _)| !package.is_empty()) {
            Some((package, version)) => json!({ "kind": "npm", "package": package, "version": version }),
            None => json!({ "kind": "npm", "package": rest }),
        }
    } else if let Some(rest) = text.strip_prefix("github:") {
        let parts = rest.split_once('#').and_then(|(release, asset)| Some((release.split_once('@')?, asset)));
        let ((repository, tag), asset) = parts.ok_or_else(|| usage("github:acme/crm@v1.2.0#crm-1.2.0.wasm"))?;
        json!({ "kind": "github", "repository": repository, "tag": tag, "asset": asset })
    } else if let Some(path) = text.strip_prefix("dir:") {
        json!({ "kind": "directory", "path": path })
    } else if let Some(release) = text.strip_prefix("registry:") {
        let (plugin, version) = release.split_once('@').ok_or_else(|| usage("registry:acme.crm@1.2.0"))?;
        json!({ "kind": "registry", "plugin": plugin, "version": version })
    } else if text.starts_with("https://") || text.starts_with("http://") {
        let parts = text.rsplit_once('#').filter(|(_, digest)| digest.starts_with("sha256:"));
        let (url, digest) = parts.ok_or_else(|| usage("https://plugins.example/crm-1.2.0.wasm#sha256:..."))?;
        json!({ "kind": "url", "url": url, "digest": digest })
    } else {
        return Ok(None);
    };
    Ok(Some(source))
}

/// A source as JSON.
pub(crate) fn parse_json(text: &str) -> Result<Value, Error> {
    let usage = |what: String| Error::Usage {
        what,
        next: "write it such as `{\"kind\": \"oci\", \"reference\": \"registry.example/acme/crm:1.2.0\"}`".to_owned(),
    };
    let source: Value =
        serde_json::from_str(text).map_err(|error| usage(format!("the source is not JSON: {error}")))?;
    if source.is_object() { Ok(source) } else { Err(usage("the source is no JSON object".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_source_can_be_written_in_a_word() {
        let check = |text: &str, wanted: Value| assert_eq!(parse(text).unwrap(), Some(wanted), "{text}");

        check(
            "oci://r.example/acme/crm:1.2.0",
            json!({ "kind": "oci", "reference": "oci://r.example/acme/crm:1.2.0" }),
        );
        check("npm:crm", json!({ "kind": "npm", "package": "crm" }));
        check("npm:@acme/crm", json!({ "kind": "npm", "package": "@acme/crm" }));
        check("npm:@acme/crm@1.2.0", json!({ "kind": "npm", "package": "@acme/crm", "version": "1.2.0" }));
        check(
            "github:acme/crm@v1.2.0#crm.wasm",
            json!({ "kind": "github", "repository": "acme/crm", "tag": "v1.2.0", "asset": "crm.wasm" }),
        );
        check("dir:crm/crm.wasm", json!({ "kind": "directory", "path": "crm/crm.wasm" }));
        check("registry:acme.crm@1.0.0", json!({ "kind": "registry", "plugin": "acme.crm", "version": "1.0.0" }));
        check(
            "https://a.example/x#sha256:00",
            json!({ "kind": "url", "url": "https://a.example/x", "digest": "sha256:00" }),
        );
        assert_eq!(parse("crm-1.2.0.wasm").unwrap(), None);
        assert_eq!(parse("acme.crm@1.2.0").unwrap(), None);
    }

    #[test]
    fn what_is_half_written_is_told_how_to_be_whole() {
        for text in ["https://a.example/x", "github:acme/crm", "github:acme/crm@v1", "registry:acme.crm"] {
            assert!(matches!(parse(text), Err(Error::Usage { .. })), "{text}");
        }
        assert!(parse_json("[]").is_err() && parse_json("{").is_err());
        assert!(parse_json("{\"kind\": \"oci\"}").is_ok());
    }
}
