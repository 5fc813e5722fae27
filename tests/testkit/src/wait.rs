//! The one way in which a test waits for something that has no answer of its own: asked again, within a bound.
//! It waits for no fixed time.

use std::time::{Duration, Instant};

/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until the answer is `Some`; `what` is named if that never happens.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    eventually_within(WAIT_MAX, what, ask).await
}

/// Asks for at most `wait_max`: for work that is long by its nature.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    wait_max: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let until = Instant::now() + wait_max;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < until, "waited {wait_max:?} in vain for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
