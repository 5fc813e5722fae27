//! What a guest holds between two calls to its storage: an open transaction, or a cursor over a large read.
//! Either ends by itself when its time is up, also while the guest does nothing; dropping it undoes a transaction.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use super::files::close;
use super::limits;
use super::session::Session;
use super::sqlite::{Access, Connection};
use super::sqlite_statement::Checked;
use super::store::{PluginStore, statement_deadline};
use super::value::{Isolation, StorageError, Table, Value};

impl PluginStore {
    /// Opens a transaction that ends at `deadline` at the latest. It is the file's only writer while it is open,
    /// at every isolation.
    pub async fn begin(&self, _isolation: Isolation, deadline: Instant) -> Result<PluginTx, StorageError> {
        let held = self.held(deadline).await?;
        let ends_at = deadline.min(Instant::now() + limits::TRANSACTION);
        let mut session = self.writer(limits::LOCK_WAIT, ends_at).await?;
        session.shares._held = Some(held);
        let (session, answer) = session.run(statement_deadline(ends_at), Connection::begin_immediate).await?;
        match answer {
            Ok(()) => Ok(PluginTx { held: Held::new(session, (), ends_at) }),
            Err(error) => {
                session.put_back();
                Err(error)
            }
        }
    }

    /// Opens a cursor over one statement that only reads; it ends at `deadline` at the latest.
    pub async fn open_cursor(&self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Cursor, StorageError> {
        let held = self.held(deadline).await?;
        let ends_at = deadline.min(Instant::now() + limits::TRANSACTION);
        let text = text.to_owned();
        let mut session = self.reader(ends_at).await?;
        session.shares._held = Some(held);
        let (session, answer) =
            session.run(statement_deadline(ends_at), move |connection| connection.open_read(&text, params)).await?;
        match answer {
            Ok((statement, columns)) => Ok(Cursor { held: Held::new(session, statement, ends_at), columns }),
            Err(error) => {
                session.put_back();
                Err(error)
            }
        }
    }
}

/// An open transaction of a guest. Dropping it rolls back.
#[derive(Debug)]
pub struct PluginTx {
    held: Held<()>,
}

impl PluginTx {
    /// Runs one statement that only reads.
    pub async fn query(&mut self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError> {
        self.run(text, params, Access::Read, deadline).await
    }

    /// Runs one statement.
    pub async fn execute(&mut self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError> {
        self.run(text, params, Access::Write, deadline).await
    }

    /// Makes the work permanent. After an error nothing of it is.
    pub async fn commit(self) -> Result<(), StorageError> {
        let (session, ()) = self.held.take().await?;
        session
            .finish(statement_deadline(self.held.ends_at), |connection| {
                connection.commit().or_else(|error| connection.rollback().and(Err(error)))
            })
            .await
    }

    /// An error other than a refusal before the engine ends the transaction: the same on every engine.
    async fn run(
        &mut self,
        text: &str,
        params: Vec<Value>,
        access: Access,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        let text = text.to_owned();
        let deadline = statement_deadline(deadline.min(self.held.ends_at));
        self.held.with(deadline, move |connection, ()| connection.run(&text, params, access)).await
    }
}

/// A read that is fetched in pages. Dropping it ends the read.
#[derive(Debug)]
pub struct Cursor {
    held: Held<Checked>,
    columns: Vec<String>,
}

impl Cursor {
    /// Column names in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Up to `max_rows` further rows and at most the bytes of one result; none is the end.
    pub async fn next(&mut self, max_rows: u32, deadline: Instant) -> Result<Vec<Vec<Value>>, StorageError> {
        let rows_max = usize::try_from(max_rows).unwrap_or(usize::MAX).clamp(1, limits::RESULT_ROWS_MAX);
        let deadline = statement_deadline(deadline.min(self.held.ends_at));
        let columns = self.columns.len();
        self.held.with(deadline, move |connection, statement| connection.next_rows(statement, columns, rows_max)).await
    }
}

/// A session that is kept between calls, with what belongs to it, until its time is up.
#[derive(Debug)]
struct Held<T: Send + 'static> {
    kept: Arc<Mutex<Option<Kept<T>>>>,
    timer: tokio::task::AbortHandle,
    ends_at: Instant,
}

#[derive(Debug)]
struct Kept<T> {
    // Before the session: a statement ends before its connection closes.
    part: T,
    session: Session,
    used_at: Instant,
}

impl<T: Send + 'static> Held<T> {
    fn new(session: Session, part: T, ends_at: Instant) -> Self {
        let kept = Arc::new(Mutex::new(Some(Kept { part, session, used_at: Instant::now() })));
        let timer = tokio::spawn(end_in_time(Arc::clone(&kept), ends_at)).abort_handle();
        Self { kept, timer, ends_at }
    }

    /// Runs `work` on what is kept. It is kept on after success and after a refusal that reached no engine.
    async fn with<A: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection, &mut T) -> Result<A, StorageError> + Send + 'static,
    ) -> Result<A, StorageError> {
        let mut kept = self.kept.lock().await;
        let Kept { mut part, session, .. } = kept.take().ok_or(StorageError::Ended)?;
        let (session, answer) = session
            .run(deadline, move |connection| {
                let answer = work(connection, &mut part);
                Ok((part, answer))
            })
            .await?;
        let (part, answer) = match answer {
            Ok(done) => done,
            Err(error) => {
                close(session);
                return Err(error);
            }
        };
        match &answer {
            Ok(_) | Err(StorageError::Denied(_) | StorageError::Parameter(_, _)) => {
                *kept = Some(Kept { part, session, used_at: Instant::now() });
            }
            Err(_) => close((part, session)),
        }
        answer
    }

    async fn take(&self) -> Result<(Session, T), StorageError> {
        let kept = self.kept.lock().await.take().ok_or(StorageError::Ended)?;
        Ok((kept.session, kept.part))
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        self.timer.abort();
        // The timer may hold the lock for an instant to look at the time: it then closes what is kept.
        if let Ok(mut kept) = self.kept.try_lock()
            && let Some(kept) = kept.take()
        {
            close(kept);
        }
    }
}

/// Closes what is kept at `ends_at`, or earlier when it is not used for long.
async fn end_in_time<T: Send + 'static>(kept: Arc<Mutex<Option<Kept<T>>>>, ends_at: Instant) {
    loop {
        let until = match kept.lock().await.as_ref() {
            Some(kept) => ends_at.min(kept.used_at + limits::IDLE),
            None => return,
        };
        tokio::time::sleep_until(until.into()).await;
        let mut kept = kept.lock().await;
        let is_over = kept.as_ref().is_some_and(|kept| Instant::now() >= ends_at.min(kept.used_at + limits::IDLE));
        if let Some(over) = kept.take_if(|_| is_over) {
            close(over);
            return;
        }
    }
}
