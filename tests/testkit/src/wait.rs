//! The one way in which a test waits for something that has no answer of its own: asked again, within a bound.
//! It waits for no fixed time.

use std::time::{Duration, Instant};

/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until the answer is `Some`; `what` is named if that never happens.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let until = Instant::now() + WAIT_MAX;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < until, "waited {WAIT_MAX:?} in vain for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
