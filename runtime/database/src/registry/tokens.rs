//! Tokens of the registry. The secret is never stored, its SHA-256 is.
//! What a token allows is `registry/oci`'s to say.

use crate::audit::Act;
use crate::db::{Tx, on_engine, single_reads};
use crate::error::Error;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its public name in lists and logs.
    pub token_id: String,
    /// For whom or what it is.
    pub name: String,
    /// Patterns of repositories, separated by spaces.
    pub repositories: String,
    /// What it allows there, separated by spaces.
    pub scopes: String,
    /// Who made it.
    pub created_by: String,
    /// When, in microseconds since 1970.
    pub created_at: i64,
    /// Until when, in microseconds since 1970.
    pub expires_at: i64,
}

/// A token to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// Its public name.
    pub token_id: &'a str,
    /// SHA-256 of the secret, in hex.
    pub secret_hash: &'a str,
    /// For whom or what it is.
    pub name: &'a str,
    /// Patterns of repositories, separated by spaces.
    pub repositories: &'a str,
    /// What it allows there, separated by spaces.
    pub scopes: &'a str,
    /// Until when, in microseconds since 1970.
    pub expires_at: i64,
}

type Columns = (String, String, String, String, String, i64, i64);

impl Tx {
    /// Makes a token.
    pub async fn insert_token(&mut self, token: &NewToken<'_>, act: &Act) -> Result<(), Error> {
        const INSERT_TOKEN: &str = "INSERT INTO registry_tokens \
             (token_id, secret_hash, name, repositories, scopes, created_by, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_TOKEN)
                .bind(token.token_id)
                .bind(token.secret_hash)
                .bind(token.name)
                .bind(token.repositories)
                .bind(token.scopes)
                .bind(&act.actor)
                .bind(act.at)
                .bind(token.expires_at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_token"))?;
        let detail = serde_json::json!({
            "token_id": token.token_id, "name": token.name, "repositories": token.repositories, "scopes": token.scopes
        });
        self.append_audit(act, "registry.token.create", None, None, &detail.to_string()).await?;
        Ok(())
    }

    /// Ends a token; says whether there was one.
    pub async fn delete_token(&mut self, token_id: &str, act: &Act) -> Result<bool, Error> {
        const DELETE_TOKEN: &str = "DELETE FROM registry_tokens WHERE token_id = $1";
        let deleted = on_engine!(self, |conn| sqlx::query(DELETE_TOKEN)
            .bind(token_id)
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))
        .map_err(Error::query("delete_token"))?;
        if deleted == 0 {
            return Ok(false);
        }
        let detail = serde_json::json!({ "token_id": token_id }).to_string();
        self.append_audit(act, "registry.token.revoke", None, None, &detail).await?;
        Ok(true)
    }

    /// The token with this secret, if it has not expired at `now`.
    pub async fn find_token(&mut self, secret_hash: &str, now: i64) -> Result<Option<TokenRow>, Error> {
        const FIND_TOKEN: &str = "SELECT token_id, name, repositories, scopes, created_by, created_at, expires_at \
             FROM registry_tokens WHERE secret_hash = $1 AND expires_at > $2";
        let found: Option<Columns> =
            on_engine!(self, |conn| sqlx::query_as(FIND_TOKEN).bind(secret_hash).bind(now).fetch_optional(conn).await)
                .map_err(Error::query("find_token"))?;
        Ok(found.map(row))
    }

    /// Tokens behind `after`, by id.
    pub async fn list_tokens(&mut self, after: &str, limit: u32) -> Result<Vec<TokenRow>, Error> {
        const LIST_TOKENS: &str = "SELECT token_id, name, repositories, scopes, created_by, created_at, expires_at \
             FROM registry_tokens WHERE token_id > $1 ORDER BY token_id LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| sqlx::query_as(LIST_TOKENS)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_tokens"))?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// Removes tokens that expired before a moment, and says how many.
    pub async fn delete_expired_tokens(&mut self, before: i64) -> Result<u64, Error> {
        const DELETE_EXPIRED_TOKENS: &str = "DELETE FROM registry_tokens WHERE expires_at < $1";
        on_engine!(self, |conn| sqlx::query(DELETE_EXPIRED_TOKENS)
            .bind(before)
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))
        .map_err(Error::query("delete_expired_tokens"))
    }
}

single_reads! {
    /// The token with this secret, if it has not expired at `now`.
    find_token(secret_hash: &str, now: i64) -> Option<TokenRow>;
    /// Tokens behind `after`, by id.
    list_tokens(after: &str, limit: u32) -> Vec<TokenRow>;
}

fn row((token_id, name, repositories, scopes, created_by, created_at, expires_at): Columns) -> TokenRow {
    TokenRow { token_id, name, repositories, scopes, created_by, created_at, expires_at }
}
