//! `kv`: the plugin's key-value pairs in the tenant.
//! It knows no key format; the database checks keys and values.

use bulkhead_bindings::bulkhead::plugin::kv::{Condition, Entry, Host, Outcome, Page};
use bulkhead_bindings::bulkhead::plugin::storage_types::StorageError;
use bulkhead_database::tenant::{KvCondition, KvEntry, KvOutcome, KvPage};
use bulkhead_model::Interface;

use crate::imports::Failure;
use crate::state::CallState;

/// Bytes that a key costs beside its text.
const KEY_OVERHEAD_BYTES: usize = 8;

impl Host for CallState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Entry>, StorageError>> {
        let result = self.kv_get(&key).await;
        self.answer(Interface::Kv, result)
    }

    async fn get_many(&mut self, keys: Vec<String>) -> wasmtime::Result<Result<Vec<Option<Entry>>, StorageError>> {
        let result = self.kv_get_many(keys).await;
        self.answer(Interface::Kv, result)
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        when: Condition,
    ) -> wasmtime::Result<Result<Outcome, StorageError>> {
        let result = self.kv_set(&key, value, ttl_ms, when).await;
        self.answer(Interface::Kv, result)
    }

    async fn delete(&mut self, key: String, when: Condition) -> wasmtime::Result<Result<Outcome, StorageError>> {
        let result = self.kv_delete(&key, when).await;
        self.answer(Interface::Kv, result)
    }

    async fn increment(&mut self, key: String, by: i64) -> wasmtime::Result<Result<i64, StorageError>> {
        let result = self.kv_increment(&key, by).await;
        self.answer(Interface::Kv, result)
    }

    async fn scan(
        &mut self,
        prefix: String,
        after: Option<String>,
        max: u32,
    ) -> wasmtime::Result<Result<Page, StorageError>> {
        let result = self.kv_scan(&prefix, after, max).await;
        self.answer(Interface::Kv, result)
    }
}

impl CallState {
    async fn kv_get(&mut self, key: &str) -> Result<Option<Entry>, Failure> {
        let (now_ms, deadline) = (self.call.clock_unix_ms(), self.call.deadline);
        let store = self.admit_storage(Interface::Kv, key.len())?;
        let found = store.kv_get(key, now_ms, deadline).await?;
        self.charge(found.as_ref().map_or(0, |entry| entry.value.len()))?;
        Ok(found.map(entry))
    }

    async fn kv_get_many(&mut self, keys: Vec<String>) -> Result<Vec<Option<Entry>>, Failure> {
        let (now_ms, deadline) = (self.call.clock_unix_ms(), self.call.deadline);
        let bytes = keys.iter().map(|key| key.len().saturating_add(KEY_OVERHEAD_BYTES)).sum();
        let store = self.admit_storage(Interface::Kv, bytes)?;
        let found = store.kv_get_many(keys, now_ms, deadline).await?;
        self.charge(found.iter().flatten().map(|entry| entry.value.len()).sum())?;
        Ok(found.into_iter().map(|found| found.map(entry)).collect())
    }

    async fn kv_set(
        &mut self,
        key: &str,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        when: Condition,
    ) -> Result<Outcome, Failure> {
        let (now_ms, deadline) = (self.call.clock_unix_ms(), self.call.deadline);
        let store = self.admit_storage(Interface::Kv, key.len().saturating_add(value.len()))?;
        let written = store.kv_set(key, value, ttl_ms, condition(when), now_ms, deadline).await?;
        self.outcome(written)
    }

    async fn kv_delete(&mut self, key: &str, when: Condition) -> Result<Outcome, Failure> {
        let (now_ms, deadline) = (self.call.clock_unix_ms(), self.call.deadline);
        let store = self.admit_storage(Interface::Kv, key.len())?;
        let written = store.kv_delete(key, condition(when), now_ms, deadline).await?;
        self.outcome(written)
    }

    async fn kv_increment(&mut self, key: &str, by: i64) -> Result<i64, Failure> {
        let (now_ms, deadline) = (self.call.clock_unix_ms(), self.call.deadline);
        let store = self.admit_storage(Interface::Kv, key.len())?;
        Ok(store.kv_increment(key, by, now_ms, deadline).await?)
    }

    async fn kv_scan(&mut self, prefix: &str, after: Option<String>, max: u32) -> Result<Page, Failure> {
        let (now_ms, deadline) = (self.call.clock_unix_ms(), self.call.deadline);
        let bytes = prefix.len().saturating_add(after.as_ref().map_or(0, String::len));
        let store = self.admit_storage(Interface::Kv, bytes)?;
        let KvPage { keys, next } = store.kv_scan(prefix, after, max, now_ms, deadline).await?;
        self.charge(keys.iter().map(|key| key.len().saturating_add(KEY_OVERHEAD_BYTES)).sum())?;
        Ok(Page { keys, next })
    }

    fn outcome(&mut self, written: KvOutcome) -> Result<Outcome, Failure> {
        match written {
            KvOutcome::Done(version) => Ok(Outcome::Done(version)),
            KvOutcome::Stale(found) => {
                self.charge(found.as_ref().map_or(0, |entry| entry.value.len()))?;
                Ok(Outcome::Stale(found.map(entry)))
            }
        }
    }
}

fn entry(found: KvEntry) -> Entry {
    Entry { value: found.value, version: found.version, ttl_ms: found.ttl_ms }
}

fn condition(when: Condition) -> KvCondition {
    match when {
        Condition::Always => KvCondition::Always,
        Condition::Absent => KvCondition::Absent,
        Condition::Version(version) => KvCondition::Version(version),
    }
}
