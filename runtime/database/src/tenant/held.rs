//! What a guest holds between two calls to its storage, until its time is up: also while the guest does nothing.
//! It knows neither what is held nor how it ends.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, MutexGuard};

use super::limits;
use super::value::StorageError;

/// A value that is kept between calls. Whoever drops it ends the value.
#[derive(Debug)]
pub(crate) struct Held<T: Send + 'static> {
    kept: Arc<Mutex<Option<Kept<T>>>>,
    timer: tokio::task::AbortHandle,
    ends_at: Instant,
    end: fn(T),
}

#[derive(Debug)]
struct Kept<T> {
    value: T,
    used_at: Instant,
}

/// The place of a value that was taken for the time of some work. Dropped empty, the value has ended.
#[derive(Debug)]
pub(crate) struct Slot<'a, T>(MutexGuard<'a, Option<Kept<T>>>);

impl<T> Slot<'_, T> {
    /// Puts the value back for the next call.
    pub(crate) fn keep(mut self, value: T) {
        *self.0 = Some(Kept { value, used_at: Instant::now() });
    }
}

impl<T: Send + 'static> Held<T> {
    /// Keeps `value` until `ends_at`, or until it was not used for long; `end` ends it.
    pub(crate) fn new(value: T, ends_at: Instant, end: fn(T)) -> Self {
        let kept = Arc::new(Mutex::new(Some(Kept { value, used_at: Instant::now() })));
        let timer = tokio::spawn(end_in_time(Arc::clone(&kept), ends_at, end)).abort_handle();
        Self { kept, timer, ends_at, end }
    }

    /// When its time is up.
    pub(crate) fn ends_at(&self) -> Instant {
        self.ends_at
    }

    /// Takes the value for the time of some work.
    pub(crate) async fn take(&self) -> Result<(Slot<'_, T>, T), StorageError> {
        let mut slot = self.kept.lock().await;
        let kept = slot.take().ok_or(StorageError::Ended)?;
        Ok((Slot(slot), kept.value))
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        self.timer.abort();
        // The timer may hold the lock for an instant to look at the time: it then ends what is kept.
        if let Ok(mut kept) = self.kept.try_lock()
            && let Some(kept) = kept.take()
        {
            (self.end)(kept.value);
        }
    }
}

/// Ends what is kept at `ends_at`, or earlier when it is not used for long.
async fn end_in_time<T: Send + 'static>(kept: Arc<Mutex<Option<Kept<T>>>>, ends_at: Instant, end: fn(T)) {
    loop {
        let until = match kept.lock().await.as_ref() {
            Some(kept) => ends_at.min(kept.used_at + limits::IDLE),
            None => return,
        };
        tokio::time::sleep_until(until.into()).await;
        let mut kept = kept.lock().await;
        let is_over = kept.as_ref().is_some_and(|kept| Instant::now() >= ends_at.min(kept.used_at + limits::IDLE));
        if let Some(over) = kept.take_if(|_| is_over) {
            end(over.value);
            return;
        }
    }
}

/// Whether a transaction or cursor goes on after `answer`: after success, and after a refusal that changed nothing.
/// Any other error ends it, the same on every engine.
pub(crate) fn is_kept_after<T>(answer: &Result<T, StorageError>) -> bool {
    matches!(answer, Ok(_) | Err(StorageError::Denied(_) | StorageError::Parameter(_, _)))
}

/// The end of a statement that begins now in a call that ends at `deadline`.
pub(crate) fn statement_deadline(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + limits::STATEMENT)
}

/// The end of a transaction or cursor that begins now in a call that ends at `deadline`.
pub(crate) fn transaction_end(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + limits::TRANSACTION)
}
