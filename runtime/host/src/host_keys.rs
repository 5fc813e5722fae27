//! Which keys this host used last, by their fingerprints, kept in its data folder: one that is made new is an entry of the
//! audit log. It holds no key.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use bulkhead_database::Act;
use bulkhead_model::Digest;

use crate::clock;
use crate::config::HostConfig;
use crate::error::Error;
use crate::host::Host;

/// Name of the file in the data folder.
const FILE: &str = "host-keys.json";

/// Records each key of the host that is another than at its last start.
pub(crate) async fn record(host: &Host) -> Result<(), Error> {
    let config = &host.inner.config;
    let path = config.data_dir.join(FILE);
    let (known, used) = (read(&path)?, fingerprints(config));
    if known == used {
        return Ok(());
    }
    let act = Act::system(clock::now_micros());
    let mut tx = host.inner.db.begin().await?;
    for (name, fingerprint) in used.iter().filter(|(name, fingerprint)| known.get(*name) != Some(fingerprint)) {
        let detail = serde_json::json!({
            "key": name, "fingerprint": fingerprint, "before": known.get(name), "node": host.inner.node
        });
        tx.append_audit(&act, "key.new", None, None, &detail.to_string()).await?;
    }
    tx.commit().await?;
    let text = serde_json::to_string(&used).unwrap_or_default();
    std::fs::write(&path, text).map_err(|source| Error::File { path: path.display().to_string(), source })
}

fn fingerprints(config: &HostConfig) -> BTreeMap<String, String> {
    // The cache's key is random: its hash tells two of them apart and nothing else.
    let cache = Digest::of(&[b"bulkhead cache key\n".as_slice(), &config.cache_key].concat());
    let registry = config.registry_key.as_ref().map(|key| key.verifying_key().id());
    let named = [("cache", Some(cache)), ("registry", registry)];
    named.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id?.to_string()))).collect()
}

/// What was written last; a file that cannot be understood is as none: the keys are then recorded again.
fn read(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(Error::File { path: path.display().to_string(), source }),
    }
}
