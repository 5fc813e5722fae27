//! Keys and values of the plugin in this tenant, with versions and expiry.
//! Several keys do not change together: that is what [`crate::sql::transaction`] is for.
//!
//! ```
//! use bulkhead_sdk::{kv, mock};
//!
//! mock::Host::new().run(|| {
//!     kv::set_json("theme", &["dark"])?;
//!     let theme: Option<Vec<String>> = kv::get_json("theme")?;
//!     assert_eq!(theme.as_deref(), Some(&["dark".to_owned()][..]));
//!     assert_eq!(kv::increment("visits", 2)?, 2);
//!     assert_eq!(kv::counter("visits")?, 2);
//!     Ok::<(), bulkhead_sdk::StorageError>(())
//! }).unwrap();
//! ```

use serde::{Serialize, de::DeserializeOwned};

use crate::StorageError;
use crate::imports::kv as host;

pub use crate::bindings::bulkhead::plugin::kv::{Condition, Entry, Outcome, Page};

/// How often [`update_json`] tries against other writers.
pub const UPDATE_ATTEMPTS_MAX: u32 = 8;

/// The value of a key, if there is one that has not expired. Keys have at most 512 bytes, values
/// 1 MiB.
///
/// # Errors
/// [`StorageError`].
pub fn get(key: &str) -> Result<Option<Vec<u8>>, StorageError> {
    Ok(entry(key)?.map(|entry| entry.value))
}

/// The value of a key with its version and time to live.
///
/// # Errors
/// [`StorageError`].
pub fn entry(key: &str) -> Result<Option<Entry>, StorageError> {
    Ok(host::get(key)?)
}

/// The values of several keys, in their order.
///
/// # Errors
/// [`StorageError`].
pub fn entries(keys: &[String]) -> Result<Vec<Option<Entry>>, StorageError> {
    Ok(host::get_many(keys)?)
}

/// The value of a key, read as JSON.
///
/// # Errors
/// [`StorageError`]; `Decode` when the value is not a `T`.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, StorageError> {
    get(key)?.map(|value| decode(key, &value)).transpose()
}

/// Sets a key, whatever was there. Answers the new version.
///
/// # Errors
/// [`StorageError`]; `Limit` over the storage quota.
pub fn set(key: &str, value: &[u8]) -> Result<u64, StorageError> {
    done(key, &host::set(key, value, None, Condition::Always)?)
}

/// Sets a key to the JSON text of `value`. Answers the new version.
///
/// # Errors
/// [`StorageError`]; `Decode` when `value` has no JSON form.
pub fn set_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<u64, StorageError> {
    set(key, &encode(key, value)?)
}

/// Sets a key for `ttl_ms` milliseconds; after them it is absent. Answers the new version.
///
/// # Errors
/// [`StorageError`]; `Limit` over the storage quota.
pub fn set_for(key: &str, value: &[u8], ttl_ms: u64) -> Result<u64, StorageError> {
    done(key, &host::set(key, value, Some(ttl_ms), Condition::Always)?)
}

/// Sets a key only if it still is as `expected` says: `Some(version)` of an entry read before,
/// `None` for absent. `Outcome::Stale` tells what is there instead.
///
/// # Errors
/// [`StorageError`]; a key that has changed is not an error.
pub fn compare_and_set(key: &str, expected: Option<u64>, value: &[u8]) -> Result<Outcome, StorageError> {
    Ok(host::set(key, value, None, expected.map_or(Condition::Absent, Condition::Version))?)
}

/// Changes a JSON value by a pure function that may run more than once: it reads, computes, and
/// sets only if nobody else did so in between. Answers what was set.
///
/// # Errors
/// [`StorageError`]; `Retry` after [`UPDATE_ATTEMPTS_MAX`] lost races.
pub fn update_json<T: Serialize + DeserializeOwned>(
    key: &str,
    change: impl Fn(Option<T>) -> T,
) -> Result<T, StorageError> {
    let mut current = entry(key)?;
    for _ in 0..UPDATE_ATTEMPTS_MAX {
        let version = current.as_ref().map(|entry| entry.version);
        let before = current.map(|entry| decode(key, &entry.value)).transpose()?;
        let after = change(before);
        match compare_and_set(key, version, &encode(key, &after)?)? {
            Outcome::Done(_) => return Ok(after),
            Outcome::Stale(entry) => current = entry,
        }
    }
    Err(StorageError::Retry)
}

/// The sum of a counter, 0 where there is none.
///
/// # Errors
/// [`StorageError`]; `Decode` when the value is not a counter.
pub fn counter(key: &str) -> Result<i64, StorageError> {
    Ok(get_json(key)?.unwrap_or(0))
}

/// Adds to a counter, which is 0 where there is none. Answers the sum. Its expiry stays.
///
/// # Errors
/// [`StorageError`]; `Invalid` when the value is not a counter or would overflow.
pub fn increment(key: &str, by: i64) -> Result<i64, StorageError> {
    Ok(host::increment(key, by)?)
}

/// Removes a key; a missing one is not an error.
///
/// # Errors
/// [`StorageError`].
pub fn delete(key: &str) -> Result<(), StorageError> {
    host::delete(key, Condition::Always)?;
    Ok(())
}

/// Removes a key only if it still has this version.
///
/// # Errors
/// [`StorageError`]; a key that has changed is not an error but `Outcome::Stale`.
pub fn delete_version(key: &str, version: u64) -> Result<Outcome, StorageError> {
    Ok(host::delete(key, Condition::Version(version))?)
}

/// The keys with a prefix in byte order, at most `max` of them (1,000 at most). `after` is the
/// token `next` of the page before.
///
/// # Errors
/// [`StorageError`]; `Invalid` for a token that is not of this prefix.
pub fn scan(prefix: &str, after: Option<&str>, max: u32) -> Result<Page, StorageError> {
    Ok(host::scan(prefix, after, max)?)
}

/// `Stale` has no place where no condition was given: the host would have broken its word.
fn done(key: &str, outcome: &Outcome) -> Result<u64, StorageError> {
    match outcome {
        Outcome::Done(version) => Ok(*version),
        Outcome::Stale(_) => Err(StorageError::Decode {
            name: key.to_owned(),
            wanted: "a new version",
            found: "a stale answer".to_owned(),
        }),
    }
}

fn encode<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Vec<u8>, StorageError> {
    serde_json::to_vec(value).map_err(|error| not_json(key, &error))
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StorageError> {
    serde_json::from_slice(value).map_err(|error| not_json(key, &error))
}

fn not_json(key: &str, error: &serde_json::Error) -> StorageError {
    StorageError::Decode { name: key.to_owned(), wanted: "JSON of its type", found: error.to_string() }
}
