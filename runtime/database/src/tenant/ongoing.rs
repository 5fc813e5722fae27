//! A transaction of a plugin that goes on over several calls, each of which runs in a savepoint of it: kept where the call
//! succeeded, undone where it did not. It ends by itself when its time is up, also while nobody uses it.
//! It knows no engine; what is odd in the middle of anything ends the transaction, which is never used again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use super::limits;
use super::value::{StorageError, limit_codes};

/// A connection with an open transaction, as an engine has it. Where an operation fails, the transaction is undone and the
/// connection is gone.
pub(crate) trait Transacted: std::fmt::Debug + Sized + Send + 'static {
    /// Whether a statement that fails takes the transaction with it, up to the last savepoint.
    const FAILS_TO_SAVEPOINT: bool;

    /// Runs statements of the host.
    fn control(
        self,
        statements: Vec<String>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self, StorageError>> + Send;

    /// Whether what was written could be committed as it stands.
    fn check(self, deadline: Instant) -> impl Future<Output = Result<(Self, Verdict), StorageError>> + Send;

    /// Makes the work permanent.
    fn commit(self, deadline: Instant) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Undoes the work and gives the connection back.
    fn undo(self) -> impl Future<Output = ()> + Send;

    /// Undoes the work by closing the connection, without a wait.
    fn close(self);
}

/// Whether a transaction may be committed.
pub(crate) type Verdict = Result<(), StorageError>;

/// Whose call runs. Calls come one after another; a call that has ended never comes back.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// The call that runs; 0 is nobody.
    current: AtomicU64,
    last: AtomicU64,
    is_over: AtomicBool,
}

impl Turn {
    /// Begins the next call and answers its number.
    pub(crate) fn begin(&self) -> u64 {
        let call = self.last.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        self.current.store(call, Ordering::Release);
        call
    }

    /// Ends the call that runs and answers its number.
    pub(crate) fn end(&self) -> u64 {
        self.current.store(0, Ordering::Release);
        self.last.load(Ordering::Acquire)
    }

    /// From here on nobody works.
    pub(crate) fn close(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    fn is_of(&self, call: u64) -> bool {
        !self.is_over.load(Ordering::Acquire) && self.current.load(Ordering::Acquire) == call
    }
}

/// A transaction over several calls. It is opened when a call first needs it.
#[derive(Debug)]
pub(crate) struct Ongoing<T: Transacted> {
    state: Arc<Mutex<State<T>>>,
    turn: Arc<Turn>,
    ends_at: Instant,
    /// Part of the savepoints' names: no guest can know it.
    secret: Arc<str>,
    timer: parking_lot::Mutex<Option<tokio::task::AbortHandle>>,
}

#[derive(Debug)]
struct State<T: Transacted> {
    kept: Kept<T>,
    /// The call whose savepoint is open.
    call: Option<u64>,
    /// The guest's own transaction, a savepoint inside of its call's.
    nested: Option<Weak<()>>,
    /// Whether a call that succeeded wrote something.
    has_work: bool,
}

#[derive(Debug)]
enum Kept<T> {
    Unopened,
    Open(T),
    /// Undone: by its time, by an error, by whoever went away in the middle of something.
    Lost,
}

/// The place of a transaction that was lent for a piece of work. Dropped empty, the transaction is lost.
#[derive(Debug)]
pub(crate) struct Loan<T: Transacted> {
    state: OwnedMutexGuard<State<T>>,
    secret: Arc<str>,
}

impl<T: Transacted> Loan<T> {
    /// Puts the transaction back for the next piece of work.
    pub(crate) fn give_back(mut self, transaction: T) {
        self.state.kept = Kept::Open(transaction);
    }

    /// The savepoint of one piece of work.
    pub(crate) fn work(&self) -> String {
        named("work", &self.secret)
    }
}

impl<T: Transacted> Ongoing<T> {
    /// A transaction that is not open yet, and ends at `ends_at` at the latest.
    pub(crate) fn new(turn: &Arc<Turn>, ends_at: Instant) -> Self {
        Self {
            state: Arc::new(Mutex::new(State { kept: Kept::Unopened, call: None, nested: None, has_work: false })),
            turn: Arc::clone(turn),
            ends_at,
            secret: Uuid::new_v4().simple().to_string().into(),
            timer: parking_lot::Mutex::default(),
        }
    }

    /// Lends the transaction to the call `call` for a write; `begin` opens it if nothing is open yet.
    pub(crate) async fn lend(
        &self,
        call: u64,
        begin: impl Future<Output = Result<T, StorageError>>,
        deadline: Instant,
    ) -> Result<(Loan<T>, T), StorageError> {
        let mut loan = self.lock(call, deadline).await?;
        if loan.state.has_nested() {
            return Err(StorageError::Limit(limit_codes::OPEN_TRANSACTIONS));
        }
        let transaction = match loan.state.take() {
            Kept::Open(transaction) => transaction,
            Kept::Unopened => match begin.await {
                Ok(transaction) => {
                    self.end_in_time();
                    transaction
                }
                Err(error) => {
                    loan.state.kept = Kept::Unopened;
                    return Err(error);
                }
            },
            Kept::Lost => return Err(StorageError::Ended),
        };
        let work = T::FAILS_TO_SAVEPOINT.then(|| loan.work());
        self.enter(loan, transaction, call, work, deadline).await
    }

    /// Lends the transaction to the call `call` for a read; `None` while nothing was written in it.
    pub(crate) async fn lend_if_open(
        &self,
        call: u64,
        deadline: Instant,
    ) -> Result<Option<(Loan<T>, T)>, StorageError> {
        let mut loan = self.lock(call, deadline).await?;
        match loan.state.take() {
            Kept::Open(transaction) => {
                let work = T::FAILS_TO_SAVEPOINT.then(|| loan.work());
                self.enter(loan, transaction, call, work, deadline).await.map(Some)
            }
            Kept::Unopened => {
                loan.state.kept = Kept::Unopened;
                Ok(None)
            }
            Kept::Lost => Err(StorageError::Ended),
        }
    }

    /// Opens the guest's own transaction: a savepoint inside of its call's.
    pub(crate) async fn nest(
        self: &Arc<Self>,
        call: u64,
        begin: impl Future<Output = Result<T, StorageError>>,
        deadline: Instant,
    ) -> Result<Nested<T>, StorageError> {
        let (mut loan, transaction) = self.lend(call, begin, deadline).await?;
        let mut statements = vec![format!("SAVEPOINT {}", self.own())];
        if T::FAILS_TO_SAVEPOINT {
            statements.insert(0, format!("RELEASE {}", loan.work()));
        }
        let transaction = transaction.control(statements, deadline).await?;
        let token = Arc::new(());
        loan.state.nested = Some(Arc::downgrade(&token));
        loan.give_back(transaction);
        Ok(Nested { ongoing: Arc::clone(self), call, token })
    }

    /// The first half of a call's end: what it left open is undone. Says whether its work can be kept.
    pub(crate) async fn check(&self, call: u64) -> Verdict {
        let mut loan = self.lock_whoever_runs().await;
        if loan.state.call != Some(call) {
            return Ok(());
        }
        let Kept::Open(mut transaction) = loan.state.take() else {
            return Err(StorageError::Ended);
        };
        let deadline = control_deadline();
        if loan.state.nested.take().is_some() {
            transaction = transaction.control(undo(&self.own()), deadline).await?;
        }
        let (transaction, verdict) = transaction.check(deadline).await?;
        loan.give_back(transaction);
        verdict
    }

    /// The second half of a call's end: its work stays, or is undone.
    pub(crate) async fn settle(&self, call: u64, is_kept: bool) -> Result<(), StorageError> {
        let mut loan = self.lock_whoever_runs().await;
        if loan.state.call != Some(call) {
            return Ok(());
        }
        loan.state.call = None;
        loan.state.nested = None;
        let transaction = match loan.state.take() {
            Kept::Open(transaction) if is_kept || loan.state.has_work => transaction,
            // Nothing of an earlier call is in it: the next call that writes begins anew, and holds nothing until then.
            Kept::Open(transaction) => {
                transaction.undo().await;
                loan.state.kept = Kept::Unopened;
                return Ok(());
            }
            Kept::Unopened | Kept::Lost => {
                if !loan.state.has_work {
                    loan.state.kept = Kept::Unopened;
                }
                return if is_kept { Err(StorageError::Ended) } else { Ok(()) };
            }
        };
        let savepoint = self.call();
        let statements = if is_kept { vec![format!("RELEASE {savepoint}")] } else { undo(&savepoint) };
        let transaction = transaction.control(statements, control_deadline()).await?;
        loan.state.has_work |= is_kept;
        loan.give_back(transaction);
        Ok(())
    }

    /// Whether something was kept that is lost.
    pub(crate) async fn is_lost(&self) -> bool {
        let loan = self.lock_whoever_runs().await;
        loan.state.has_work && matches!(loan.state.kept, Kept::Lost)
    }

    /// Undoes everything, for good.
    pub(crate) async fn end(&self) {
        let kept = self.lock_whoever_runs().await.state.take();
        if let Kept::Open(transaction) = kept {
            transaction.undo().await;
        }
    }

    /// Takes the transaction out to be committed, without what an interrupted call wrote; its time cannot end it any more.
    /// `None` if nothing is to be committed.
    pub(crate) async fn seal(&self) -> Result<Option<Sealed<T>>, StorageError> {
        let mut loan = self.lock_whoever_runs().await;
        let transaction = match loan.state.take() {
            Kept::Open(transaction) => transaction,
            Kept::Lost if loan.state.has_work => return Err(StorageError::Ended),
            Kept::Unopened | Kept::Lost => return Ok(None),
        };
        if !loan.state.has_work {
            transaction.undo().await;
            return Ok(None);
        }
        let savepoint = self.call();
        let mut statements = if loan.state.call.take().is_some() { undo(&savepoint) } else { Vec::new() };
        // Fails where the transaction that the host began is no more.
        statements.extend([format!("SAVEPOINT {savepoint}"), format!("RELEASE {savepoint}")]);
        let transaction = transaction.control(statements, control_deadline()).await?;
        Ok(Some(Sealed(Some(transaction))))
    }

    async fn lock(&self, call: u64, deadline: Instant) -> Result<Loan<T>, StorageError> {
        let Ok(loan) = tokio::time::timeout_at(deadline.into(), self.lock_whoever_runs()).await else {
            return Err(StorageError::Limit(limit_codes::DEADLINE));
        };
        // Looked at with the lock: nothing of a call begins after its end.
        if self.turn.is_of(call) && Instant::now() < self.ends_at { Ok(loan) } else { Err(StorageError::Ended) }
    }

    async fn lock_whoever_runs(&self) -> Loan<T> {
        Loan { state: Arc::clone(&self.state).lock_owned().await, secret: Arc::clone(&self.secret) }
    }

    /// Brings the transaction to where the call `call` can work: what was interrupted is undone first.
    async fn enter(
        &self,
        mut loan: Loan<T>,
        transaction: T,
        call: u64,
        work: Option<String>,
        deadline: Instant,
    ) -> Result<(Loan<T>, T), StorageError> {
        let (savepoint, mut statements) = (self.call(), Vec::new());
        let entered = loan.state.call.replace(call);
        if entered != Some(call) {
            if entered.is_some() {
                statements.extend(undo(&savepoint));
            }
            loan.state.nested = None;
            statements.push(format!("SAVEPOINT {savepoint}"));
        } else if loan.state.nested.is_some() && !loan.state.has_nested() {
            loan.state.nested = None;
            statements.extend(undo(&self.own()));
        }
        statements.extend(work.map(|work| format!("SAVEPOINT {work}")));
        if statements.is_empty() {
            return Ok((loan, transaction));
        }
        let transaction = transaction.control(statements, deadline).await?;
        Ok((loan, transaction))
    }

    fn end_in_time(&self) {
        let (state, turn, ends_at) = (Arc::clone(&self.state), Arc::clone(&self.turn), self.ends_at);
        let timer = tokio::spawn(async move {
            tokio::time::sleep_until(ends_at.into()).await;
            turn.close();
            let kept = state.lock().await.take();
            if let Kept::Open(transaction) = kept {
                transaction.undo().await;
            }
        });
        if let Some(earlier) = self.timer.lock().replace(timer.abort_handle()) {
            earlier.abort();
        }
    }

    fn call(&self) -> String {
        named("call", &self.secret)
    }

    fn own(&self) -> String {
        named("own", &self.secret)
    }
}

impl<T: Transacted> Drop for Ongoing<T> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.lock().take() {
            timer.abort();
        }
    }
}

impl<T: Transacted> State<T> {
    /// Takes the transaction out. What is not put back is lost.
    fn take(&mut self) -> Kept<T> {
        std::mem::replace(&mut self.kept, Kept::Lost)
    }

    fn has_nested(&self) -> bool {
        self.nested.as_ref().is_some_and(|token| token.strong_count() > 0)
    }
}

impl<T: Transacted> Drop for State<T> {
    fn drop(&mut self) {
        if let Kept::Open(transaction) = self.take() {
            transaction.close();
        }
    }
}

/// The guest's own transaction inside of a call. Dropping it undoes it, at the next piece of work or the end of the call.
#[derive(Debug)]
pub(crate) struct Nested<T: Transacted> {
    ongoing: Arc<Ongoing<T>>,
    call: u64,
    token: Arc<()>,
}

impl<T: Transacted> Nested<T> {
    /// Lends the transaction for a statement.
    pub(crate) async fn lend(&self, deadline: Instant) -> Result<(Loan<T>, T), StorageError> {
        let mut loan = self.ongoing.lock(self.call, deadline).await?;
        let own = Arc::downgrade(&self.token);
        if !loan.state.nested.as_ref().is_some_and(|token| token.ptr_eq(&own)) {
            return Err(StorageError::Ended);
        }
        match loan.state.take() {
            Kept::Open(transaction) => Ok((loan, transaction)),
            Kept::Unopened | Kept::Lost => Err(StorageError::Ended),
        }
    }

    /// Undoes it after an error; from then on it answers [`StorageError::Ended`], and its call goes on.
    pub(crate) async fn undo(&self, mut loan: Loan<T>, transaction: T) -> Result<(), StorageError> {
        loan.state.nested = None;
        let transaction = transaction.control(undo(&self.ongoing.own()), control_deadline()).await?;
        loan.give_back(transaction);
        Ok(())
    }

    /// Adds its work to that of its call.
    pub(crate) async fn commit(&self, deadline: Instant) -> Result<(), StorageError> {
        let (mut loan, transaction) = self.lend(deadline).await?;
        loan.state.nested = None;
        let release = vec![format!("RELEASE {}", self.ongoing.own())];
        let transaction = transaction.control(release, deadline).await?;
        loan.give_back(transaction);
        Ok(())
    }
}

/// A transaction on its way to its commit. Dropping it undoes it.
#[derive(Debug)]
pub(crate) struct Sealed<T: Transacted>(Option<T>);

impl<T: Transacted> Sealed<T> {
    /// Makes the work permanent.
    pub(crate) async fn commit(mut self) -> Result<(), StorageError> {
        match self.0.take() {
            Some(transaction) => transaction.commit(control_deadline()).await,
            None => Ok(()),
        }
    }
}

impl<T: Transacted> Drop for Sealed<T> {
    fn drop(&mut self) {
        if let Some(transaction) = self.0.take() {
            transaction.close();
        }
    }
}

fn named(what: &str, secret: &str) -> String {
    format!("\"__{what}_{secret}\"")
}

fn undo(savepoint: &str) -> Vec<String> {
    vec![format!("ROLLBACK TO {savepoint}"), format!("RELEASE {savepoint}")]
}

/// The end of a statement of the host that begins now: it must not fail for want of a call's time.
fn control_deadline() -> Instant {
    Instant::now() + limits::STATEMENT
}
