//! Turns the configuration into what the host takes by value, reading the keys that it names.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use bulkhead_host::fetch::{OutboundConfig, Place};
use bulkhead_host::sources::{Credential, SourcesConfig};
use bulkhead_host::{DatabaseConfig, HostConfig, SigningKey};

use super::{Config, FILE_NAME, HostAndPort, Mode, Outbound, SourceCredential, Sources};
use crate::error::Error;

/// Largest key file in bytes.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;
/// Largest file of certificates in bytes.
const CA_FILE_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// What the host needs. Keys must be there: `bootstrap` makes those that the configuration leaves to the host.
    pub fn to_host_config(&self) -> Result<HostConfig, Error> {
        Ok(HostConfig {
            mode: match self.server.mode {
                Mode::Production => bulkhead_host::Mode::Production,
                Mode::Dev => bulkhead_host::Mode::Dev,
            },
            database: DatabaseConfig { pool_max: self.database.pool_max, ..DatabaseConfig::new(&self.database.url) },
            data_dir: self.server.data_dir.clone(),
            storage_login_key: self.database.login_key_file.as_deref().map(key).transpose()?,
            instances_max: self.engine.instances_max,
            memory_bytes_max_total: self.engine.memory_bytes_max_total,
            cache_dir: self.engine.cache_dir.clone(),
            cache_key: key(&self.engine.cache_key_file)?,
            compile_worker: self.engine.compile_worker.clone(),
            compile_jobs_max: self.engine.compile_jobs_max,
            idle_ms: self.engine.idle_ms,
            issuer_keys_pem: self.auth.local_keys().map(|key| text(key)).collect::<Result<_, _>>()?,
            oidc_issuers: super::issuers::oidc(&self.auth),
            policy_root_keys_pem: self.policy.root_keys.iter().map(|key| text(key)).collect::<Result<_, _>>()?,
            policy_threshold: self.policy.threshold,
            plugins_disabled: self.plugins_disabled,
            plugins_by_default: self.plugins.by_default.clone(),
            registry_open_blob_bytes_max: self.registry.open_blob_bytes_max,
            registry_origin: self.registry.origin.clone(),
            registry_key: self.registry.signing_key_file.as_deref().map(signing_key).transpose()?.map(Arc::new),
            registry_timestamp_hours: self.registry.timestamp_hours,
            outbound: outbound(&self.outbound)?,
            sources: sources(&self.sources)?,
            tenants_labelled_max: self.telemetry.tenants_labelled_max,
        })
    }
}

fn places(named: &[HostAndPort]) -> Result<Vec<Place>, Error> {
    let places = named.iter().map(|place| place.0.parse()).collect::<Result<_, _>>();
    places.map_err(|_| Error::Unusable { path: FILE_NAME.into(), wanted: "a configuration with hosts and their ports" })
}

fn sources(config: &Sources) -> Result<SourcesConfig, Error> {
    let credential = |(name, named): (&String, &SourceCredential)| {
        Ok((
            name.clone(),
            Credential { places: places(&named.hosts)?, user: named.user.clone(), secret: secret(named)? },
        ))
    };
    let credentials = config.credentials.iter().map(credential).collect::<Result<_, Error>>()?;
    Ok(SourcesConfig { directories: config.directories.clone(), credentials })
}

/// A credential's secret, from where its configuration says.
fn secret(named: &SourceCredential) -> Result<String, Error> {
    let (path, found) = match (&named.file, &named.env) {
        (Some(path), _) => (path.clone(), String::from_utf8(read(path)?).ok()),
        (None, Some(variable)) => {
            (variable.into(), std::env::var_os(variable).and_then(|value| value.into_string().ok()))
        }
        (None, None) => (FILE_NAME.into(), None),
    };
    let secret = found.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    secret.ok_or(Error::Unusable { path, wanted: "a secret of one line" })
}

fn outbound(config: &Outbound) -> Result<OutboundConfig, Error> {
    Ok(OutboundConfig {
        allow_private: places(&config.allow_private)?,
        allow_http: places(&config.allow_http)?,
        ca_pem: config.ca_file.as_deref().map(authorities).transpose()?,
    })
}

/// Certificates; a machine's whole store is not too long.
fn authorities(path: &Path) -> Result<Vec<u8>, Error> {
    read_up_to(path, CA_FILE_BYTES_MAX)
}

/// 32 bytes as they are, or as 64 hex digits.
fn key(path: &Path) -> Result<[u8; 32], Error> {
    let bytes = read(path)?;
    if let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(key);
    }
    let decoded =
        data_encoding::HEXLOWER_PERMISSIVE.decode(bytes.trim_ascii()).ok().and_then(|bytes| bytes.try_into().ok());
    decoded.ok_or_else(|| Error::Unusable { path: path.to_owned(), wanted: "a key of 32 bytes or 64 hex digits" })
}

fn signing_key(path: &Path) -> Result<SigningKey, Error> {
    let wanted = "a private Ed25519 key in PEM";
    SigningKey::from_pem(&text(path)?).map_err(|_| Error::Unusable { path: path.to_owned(), wanted })
}

fn text(path: &Path) -> Result<String, Error> {
    String::from_utf8(read(path)?).map_err(|_| Error::Unusable { path: path.to_owned(), wanted: "a key in PEM" })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_up_to(path, KEY_FILE_BYTES_MAX)
}

fn read_up_to(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(unreadable)?.take(bytes_max).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_raw_or_in_hex() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            key(&path).ok()
        };

        assert_eq!(read(&[7; 32]), Some([7; 32]));
        assert_eq!(read("07".repeat(32).as_bytes()), Some([7; 32]));
        assert_eq!(read(format!("{}\n", "07".repeat(32)).as_bytes()), Some([7; 32]));
        assert_eq!(read(&[7; 31]), None);
        assert_eq!(read("zz".repeat(32).as_bytes()), None);
        assert_eq!(read(b""), None);
    }
}
