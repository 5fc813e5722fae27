//! Many pieces of work, so many at once, each in a task of its own: a piece that holds a connection goes on while somebody
//! else waits for one. It knows nothing of the work.

use std::future::Future;

use tokio::task::JoinSet;

/// Work of which some runs and some waits. Dropping it ends what runs.
pub(crate) struct Fan<W, F: Future> {
    waiting: W,
    running: JoinSet<F::Output>,
}

impl<W, F> Fan<W, F>
where
    W: Iterator<Item = F>,
    F: Future<Output: Send + 'static> + Send + 'static,
{
    /// Begins `at_once` pieces, at least one.
    pub(crate) fn out(mut work: W, at_once: usize) -> Self {
        let mut running = JoinSet::new();
        for piece in work.by_ref().take(at_once.max(1)) {
            running.spawn(piece);
        }
        Self { waiting: work, running }
    }

    /// What the next piece that ends answers; `None` when all have ended. A piece that panicked answers nothing.
    pub(crate) async fn next(&mut self) -> Option<F::Output> {
        loop {
            let ended = self.running.join_next().await?;
            if let Some(piece) = self.waiting.next() {
                self.running.spawn(piece);
            }
            match ended {
                Ok(answer) => return Some(answer),
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a piece of work did not end"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_work_is_done_and_no_more_at_once_than_allowed() {
        let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let pieces = (0..50).map(|number| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                number
            }
        });

        let mut fan = Fan::out(pieces, 3);
        let mut done = Vec::new();
        while let Some(number) = fan.next().await {
            done.push(number);
        }

        done.sort_unstable();
        assert_eq!(done, (0..50).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 3);
    }

    #[tokio::test]
    async fn a_piece_that_panics_holds_up_no_other() {
        let pieces = (0..5).map(|number| async move {
            assert_ne!(number, 2, "the test wants this");
            number
        });

        let mut fan = Fan::out(pieces, 1);
        let mut done = Vec::new();
        while let Some(number) = fan.next().await {
            done.push(number);
        }

        assert_eq!(done, [0, 1, 3, 4]);
    }
}
