//! Tokens of the registry: 32 random bytes that are shown once, for some repositories, some scopes, and a time.
//! Who may make one is the host's to decide.

use bulkhead_database::Act;
use bulkhead_database::registry as rows;

use crate::access::{PATTERNS_MAX, Pattern, Scope};
use crate::error::{Error, ErrorCode};
use crate::registry::{Registry, hash};

/// What every secret begins with, so that a leaked one is recognized.
pub const TOKEN_PREFIX: &str = "bkr_";
/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 100;
/// Longest life in seconds.
const TTL_MAX_S: u64 = 366 * 86_400;

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// For whom or what it is.
    pub name: String,
    /// Patterns of repositories: `acme`, `acme/crm`, `acme/crm-*`, `*`.
    pub repositories: Vec<String>,
    /// What it allows there.
    pub scopes: Vec<Scope>,
    /// Seconds that it is good for.
    pub ttl_s: u64,
}

/// A token as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedToken {
    /// Its public name.
    pub id: String,
    /// For whom or what it is.
    pub name: String,
    /// Patterns of repositories.
    pub repositories: Vec<String>,
    /// What it allows there.
    pub scopes: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// When, in microseconds since 1970.
    pub created_at: i64,
    /// Until when, in microseconds since 1970.
    pub expires_at: i64,
}

/// A token that was made, with its secret.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: ListedToken,
    /// The secret; it is not stored.
    pub secret: String,
}

impl Registry {
    /// Makes a token.
    pub async fn issue_token(&self, new: &NewToken, act: &Act) -> Result<IssuedToken, Error> {
        check(new)?;
        let (token_id, secret) = (random_hex::<8>()?, format!("{TOKEN_PREFIX}{}", random_hex::<32>()?));
        let repositories = new.repositories.join(" ");
        let scopes = new.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ");
        let ttl_us = i64::try_from(new.ttl_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let expires_at = act.at.saturating_add(ttl_us);
        let row = rows::NewToken {
            token_id: &token_id,
            secret_hash: &hash(&secret),
            name: &new.name,
            repositories: &repositories,
            scopes: &scopes,
            expires_at,
        };
        let mut tx = self.db.begin().await?;
        tx.insert_token(&row, act).await?;
        tx.commit().await?;
        let token = rows::TokenRow {
            token_id,
            name: new.name.clone(),
            repositories,
            scopes,
            created_by: act.actor.clone(),
            created_at: act.at,
            expires_at,
        };
        Ok(IssuedToken { token: listed(token), secret })
    }

    /// Tokens behind `after`, by id.
    pub async fn tokens(&self, after: &str, limit: u32) -> Result<Vec<ListedToken>, Error> {
        Ok(self.db.list_tokens(after, limit).await?.into_iter().map(listed).collect())
    }

    /// Ends a token; says whether there was one.
    pub async fn revoke_token(&self, id: &str, act: &Act) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let revoked = tx.delete_token(id, act).await?;
        tx.commit().await?;
        Ok(revoked)
    }
}

fn check(new: &NewToken) -> Result<(), Error> {
    let refused = |message: String| Err(Error::refused(ErrorCode::NameInvalid, message));
    let NewToken { name, repositories, scopes, ttl_s } = new;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return refused(format!("a token's name is 1 to {NAME_BYTES_MAX} bytes long, without control characters"));
    }
    if repositories.is_empty() || repositories.len() > PATTERNS_MAX {
        return refused(format!("a token is for 1 to {PATTERNS_MAX} patterns of repositories"));
    }
    for pattern in repositories {
        if let Err(invalid) = pattern.parse::<Pattern>() {
            return refused(format!("`{pattern}`: {invalid}"));
        }
    }
    if scopes.is_empty() {
        return refused("a token allows at least one of pull, push, sign, yank, admin".to_owned());
    }
    if *ttl_s == 0 || *ttl_s > TTL_MAX_S {
        return refused(format!("a token is good for 1 to {TTL_MAX_S} seconds"));
    }
    Ok(())
}

fn listed(row: rows::TokenRow) -> ListedToken {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    ListedToken {
        repositories: words(&row.repositories),
        scopes: words(&row.scopes),
        id: row.token_id,
        name: row.name,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}

/// `N` random bytes in hex.
pub(crate) fn random_hex<const N: usize>() -> Result<String, Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
