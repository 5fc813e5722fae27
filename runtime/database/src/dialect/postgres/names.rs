//! Names and passwords on the server: of a pair's schema and role, and of the logins. All are made from hashes: no
//! tenant and no plugin can be read from a name, and no two pairs share one.
//! It talks to no server.

use data_encoding::{BASE32_DNSSEC, BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use bulkhead_model::{PluginId, TenantId};

/// Rounds of the password's hash. The password has 256 random bits: more rounds would protect nothing.
const SCRAM_ROUNDS: u32 = 4_096;

/// Under whose name a connection works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Login {
    /// The host's own tables; no plugin SQL ever.
    Owner,
    /// Statements of the plugins of a shard.
    Run(u16),
    /// Migrations of the plugins of a shard.
    Migrate(u16),
}

/// What makes this installation's names its own.
#[derive(Clone, Debug)]
pub(super) struct Names {
    installation: String,
    login_key: Vec<u8>,
}

impl Names {
    pub(super) fn new(installation: String, login_key: Vec<u8>) -> Self {
        Self { installation, login_key }
    }

    /// The schema and the role of a pair: 28 bytes of `[a-z0-9_]`.
    pub(super) fn pair(&self, tenant: &TenantId, plugin: &PluginId) -> String {
        let mut name = BASE32_DNSSEC.encode(&self.pair_hash(tenant, plugin));
        name.truncate(26);
        format!("p_{name}")
    }

    /// The advisory lock of a pair.
    pub(super) fn pair_lock(&self, tenant: &TenantId, plugin: &PluginId) -> i64 {
        let hash = self.pair_hash(tenant, plugin);
        i64::from_be_bytes(std::array::from_fn(|place| hash.get(place).copied().unwrap_or(0)))
    }

    /// Ids hold no slash: different pairs are different texts.
    fn pair_hash(&self, tenant: &TenantId, plugin: &PluginId) -> [u8; 32] {
        Sha256::digest(format!("{}/{tenant}/{plugin}", self.installation)).into()
    }

    /// The shard on which a tenant's first pair is looked for, of `shards`.
    pub(super) fn first_shard(&self, tenant: &TenantId, shards: u16) -> u16 {
        let hash = Sha256::digest(tenant.as_str());
        let number = u64::from_be_bytes(std::array::from_fn(|place| hash.get(place).copied().unwrap_or(0)));
        u16::try_from(number % u64::from(shards.max(1))).unwrap_or(0)
    }

    /// The name of a login that is not the owner's.
    pub(super) fn login(&self, login: Login) -> Option<String> {
        let mut mark = BASE32_DNSSEC.encode(&Sha256::digest(&self.installation));
        mark.truncate(12);
        match login {
            Login::Owner => None,
            Login::Run(shard) => Some(format!("bh_{mark}_r{shard}")),
            Login::Migrate(shard) => Some(format!("bh_{mark}_m{shard}")),
        }
    }

    /// The password of a login.
    pub(super) fn password(&self, login: &str) -> String {
        HEXLOWER.encode(&hmac(&self.login_key, format!("bulkhead storage password {login}").as_bytes()))
    }

    /// What the server keeps of the password: it crosses neither the wire nor a server's log.
    pub(super) fn password_verifier(&self, login: &str) -> String {
        let salt = hmac(&self.login_key, format!("bulkhead storage salt {login}").as_bytes());
        let salt = salt.get(..16).unwrap_or_default();
        let salted = salted_password(self.password(login).as_bytes(), salt);
        let stored = Sha256::digest(hmac(&salted, b"Client Key"));
        let server = hmac(&salted, b"Server Key");
        format!(
            "SCRAM-SHA-256${SCRAM_ROUNDS}:{}${}:{}",
            BASE64.encode(salt),
            BASE64.encode(&stored),
            BASE64.encode(&server)
        )
    }

    /// Tells whether a stored verifier is that of this key, and is of no use to anybody else.
    pub(super) fn fingerprint(&self, login: &str) -> String {
        HEXLOWER.encode(&Sha256::digest(self.password_verifier(login)))
    }
}

/// RFC 5802's `Hi`.
fn salted_password(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let mut block = hmac(password, &[salt, &[0, 0, 0, 1]].concat());
    let mut sum = block;
    for _ in 1..SCRAM_ROUNDS {
        block = hmac(password, &block);
        for (sum, byte) in sum.iter_mut().zip(block) {
            *sum ^= byte;
        }
    }
    sum
}

#[expect(clippy::expect_used, reason = "a key of any length makes an HMAC")]
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// A name as SQL reads it back unchanged.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL reads it back unchanged, whatever the server's settings.
pub(super) fn quoted_text(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(installation: &str) -> Names {
        Names::new(installation.to_owned(), vec![7; 32])
    }

    #[test]
    fn no_two_pairs_share_a_name_and_each_fits_the_server() {
        let name = |installation: &str, tenant: &str, plugin: &str| {
            names(installation).pair(&tenant.parse().unwrap(), &plugin.parse().unwrap())
        };
        let all = [
            name("a", "bank", "acme.notes"),
            name("b", "bank", "acme.notes"),
            name("a", "shop", "acme.notes"),
            name("a", "bank", "acme.crm"),
            name("a", "bank-acme", "x1.notes"),
            name("a", &"t".repeat(63), "acme.a-b"),
            name("a", &"t".repeat(63), "acme.ab"),
        ];

        let different: std::collections::HashSet<_> = all.iter().collect();

        assert_eq!(different.len(), all.len());
        assert!(
            all.iter().all(|name| name.len() == 28 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        );
    }

    #[test]
    fn a_password_verifier_is_what_the_standard_computes() {
        // The example of RFC 7677: user `user`, password `pencil`.
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password(b"pencil", &salt);
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

        let signature = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());

        assert_eq!(BASE64.encode(&signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_name_or_text_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted_text("a'b\\"), "E'a''b\\\\'");
    }
}
