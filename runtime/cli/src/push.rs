//! Pushes a release and its signature bundles to a registry by the OCI distribution protocol: the plain wasm artifact, and
//! a referrer of it for each bundle, as other clients lay them out. What is there already is not sent again.

use bulkhead_model::{Digest, PluginId, Version};
use bulkhead_oci::ALLOW_BREAKING;
use bulkhead_oci::media_type::{BUNDLE, EMPTY, IMAGE, WASM, WASM_CONFIG};
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;

/// What was pushed.
pub(crate) struct Pushed {
    /// Digest of its manifest.
    pub(crate) manifest: String,
    /// What the release still waits for, in the registry's words.
    pub(crate) waits: Option<String>,
}

/// Pushes `artifact` as a version of a plugin, then each bundle. The same release once more is no error. `allow_breaking` says
/// that it may take away what others use.
pub(crate) async fn push(
    client: &Client,
    (plugin, version): (&PluginId, &Version),
    artifact: &[u8],
    bundles: &[Vec<u8>],
    allow_breaking: bool,
) -> Result<Pushed, Error> {
    let repository = Repository { client, path: format!("/v2/{}/{}", plugin.namespace(), plugin.name()) };
    // No time of day: the same release has the same manifest at every push.
    let layer = Digest::of(artifact).to_string();
    let config = json!({ "architecture": "wasm", "os": "wasip2", "layerDigests": [layer] }).to_string();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": repository.blob(WASM_CONFIG, config.as_bytes()).await?,
        "layers": [repository.blob(WASM, artifact).await?],
    });
    if let (true, Some(fields)) = (allow_breaking, manifest.as_object_mut()) {
        fields.insert("annotations".to_owned(), json!({ ALLOW_BREAKING: "true" }));
    }
    let (subject, mut waits) = repository.manifest(&version.to_string(), &manifest).await?;
    for bundle in bundles {
        let referrer = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "artifactType": BUNDLE,
            "config": repository.blob(EMPTY, b"{}").await?,
            "layers": [repository.blob(BUNDLE, bundle).await?],
            "subject": { "mediaType": IMAGE, "digest": subject, "size": manifest.to_string().len() },
            "annotations": { "dev.sigstore.bundle.content": "dsse-envelope" },
        });
        let digest = Digest::of(referrer.to_string().as_bytes()).to_string();
        (_, waits) = repository.manifest(&digest, &referrer).await?;
    }
    Ok(Pushed { manifest: subject, waits })
}

struct Repository<'a> {
    client: &'a Client,
    path: String,
}

impl Repository<'_> {
    /// Pushes a blob; answers its descriptor.
    async fn blob(&self, media_type: &str, bytes: &[u8]) -> Result<Value, Error> {
        let digest = Digest::of(bytes).to_string();
        let query = [("digest", digest.as_str())];
        self.client.upload(&format!("{}/blobs/uploads/", self.path), &query, bytes.to_vec()).await?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    }

    /// Pushes a manifest; answers its digest, and the registry's warning.
    async fn manifest(&self, reference: &str, manifest: &Value) -> Result<(String, Option<String>), Error> {
        let bytes = manifest.to_string().into_bytes();
        let digest = Digest::of(&bytes).to_string();
        let answer = self.client.put_as(&format!("{}/manifests/{reference}", self.path), IMAGE, bytes).await?;
        Ok((digest, answer.warning))
    }
}
