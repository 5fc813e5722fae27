//! `blob`: files of the plugin in the tenant, by names that are no paths. A call has at most one writer open; what it
//! leaves open is discarded.
//! It knows no name and no size; the database checks both.

use bulkhead_bindings::bulkhead::plugin::blob::{Host, HostWriter, Info, Page, Writer as WriterHandle};
use bulkhead_bindings::bulkhead::plugin::storage_types::StorageError as Refusal;
use bulkhead_database::tenant::{BlobInfo, BlobPage, BlobWriter, StorageError, limit_codes};
use bulkhead_model::Interface;
use wasmtime::component::Resource;

use crate::imports::Failure;
use crate::state::CallState;

/// Bytes that what is known of a blob costs beside its texts.
const INFO_OVERHEAD_BYTES: usize = 64;

impl Host for CallState {
    async fn stat(&mut self, name: String) -> wasmtime::Result<Result<Option<Info>, Refusal>> {
        let result = self.blob_stat(&name).await;
        self.answer(Interface::Blob, result)
    }

    async fn read(&mut self, name: String, offset: u64, len: u32) -> wasmtime::Result<Result<Vec<u8>, Refusal>> {
        let result = self.blob_read(&name, offset, len).await;
        self.answer(Interface::Blob, result)
    }

    async fn create(
        &mut self,
        name: String,
        media_type: String,
    ) -> wasmtime::Result<Result<Resource<WriterHandle>, Refusal>> {
        let result = self.blob_create(&name, &media_type).await;
        self.answer(Interface::Blob, result)
    }

    async fn delete(&mut self, name: String) -> wasmtime::Result<Result<bool, Refusal>> {
        let result = self.blob_delete(&name).await;
        self.answer(Interface::Blob, result)
    }

    async fn scan(
        &mut self,
        prefix: String,
        after: Option<String>,
        max: u32,
    ) -> wasmtime::Result<Result<Page, Refusal>> {
        let result = self.blob_scan(&prefix, after, max).await;
        self.answer(Interface::Blob, result)
    }
}

impl HostWriter for CallState {
    async fn write(&mut self, this: Resource<WriterHandle>, piece: Vec<u8>) -> wasmtime::Result<Result<(), Refusal>> {
        let result = self.blob_write(&this, &piece).await;
        self.answer(Interface::Blob, result)
    }

    async fn finish(&mut self, this: Resource<WriterHandle>) -> wasmtime::Result<Result<Info, Refusal>> {
        let result = self.blob_finish(&this).await;
        self.answer(Interface::Blob, result)
    }

    async fn drop(&mut self, this: Resource<WriterHandle>) -> wasmtime::Result<()> {
        if self.writer(&this).is_some() {
            self.open.writer = None;
        }
        Ok(())
    }
}

impl CallState {
    async fn blob_stat(&mut self, name: &str) -> Result<Option<Info>, Failure> {
        let deadline = self.call.deadline;
        let store = self.admit_storage(Interface::Blob, name.len())?;
        let found = store.blob_stat(name, deadline).await?;
        found.map(|found| self.info(found)).transpose()
    }

    async fn blob_read(&mut self, name: &str, offset: u64, len: u32) -> Result<Vec<u8>, Failure> {
        let deadline = self.call.deadline;
        let store = self.admit_storage(Interface::Blob, name.len())?;
        let found = store.blob_read(name, offset, len, deadline).await?;
        let bytes = found.ok_or_else(|| Failure::Answer(not_found()))?;
        self.charge(bytes.len())?;
        Ok(bytes)
    }

    async fn blob_create(&mut self, name: &str, media_type: &str) -> Result<Resource<WriterHandle>, Failure> {
        let deadline = self.call.deadline;
        let taken = self.open.writer.is_some();
        let store = self.admit_storage(Interface::Blob, name.len().saturating_add(media_type.len()))?;
        if taken {
            return Err(StorageError::Limit(limit_codes::OPEN_WRITERS).into());
        }
        let writer = store.blob_create(name, media_type, deadline).await?;
        let serial = self.open.next_serial();
        self.open.writer = Some((serial, writer));
        Ok(Resource::new_own(serial))
    }

    async fn blob_write(&mut self, this: &Resource<WriterHandle>, piece: &[u8]) -> Result<(), Failure> {
        let (now_ms, deadline) = (self.call.clock_unix_ms(), self.call.deadline);
        self.admit_storage(Interface::Blob, piece.len())?;
        let writer = self.writer(this).ok_or(StorageError::Ended)?;
        Ok(writer.write(piece, now_ms, deadline).await?)
    }

    async fn blob_finish(&mut self, this: &Resource<WriterHandle>) -> Result<Info, Failure> {
        let (now_ms, deadline) = (self.call.clock_unix_ms(), self.call.deadline);
        self.admit_storage(Interface::Blob, 0)?;
        let (_, writer) = self.open.writer.take_if(|(serial, _)| *serial == this.rep()).ok_or(StorageError::Ended)?;
        let written = writer.finish(now_ms, deadline).await?;
        self.info(written)
    }

    async fn blob_delete(&mut self, name: &str) -> Result<bool, Failure> {
        let deadline = self.call.deadline;
        let store = self.admit_storage(Interface::Blob, name.len())?;
        Ok(store.blob_delete(name, deadline).await?)
    }

    async fn blob_scan(&mut self, prefix: &str, after: Option<String>, max: u32) -> Result<Page, Failure> {
        let deadline = self.call.deadline;
        let bytes = prefix.len().saturating_add(after.as_ref().map_or(0, String::len));
        let store = self.admit_storage(Interface::Blob, bytes)?;
        let BlobPage { items, next } = store.blob_scan(prefix, after, max, deadline).await?;
        let items = items.into_iter().map(|found| self.info(found)).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    fn writer(&mut self, this: &Resource<WriterHandle>) -> Option<&mut BlobWriter> {
        self.open.writer.as_mut().filter(|(serial, _)| *serial == this.rep()).map(|(_, writer)| writer)
    }

    fn info(&mut self, found: BlobInfo) -> Result<Info, Failure> {
        let texts_bytes = found.name.len().saturating_add(found.media_type.len());
        self.charge(texts_bytes.saturating_add(INFO_OVERHEAD_BYTES))?;
        Ok(Info {
            name: found.name,
            size: found.size_bytes,
            sha256: found.sha256.to_vec(),
            media_type: found.media_type,
            modified_at: found.modified_at,
        })
    }
}

fn not_found() -> Refusal {
    Refusal::Other(("not-found".to_owned(), "no such blob".to_owned()))
}
