//! Which statements a piece of work runs: what looks the same from outside must also cost the same inside, and that
//! is counted rather than timed.

use std::sync::{Arc, Mutex, PoisonError};

type Names = Arc<Mutex<Vec<&'static str>>>;

tokio::task_local! {
    static RUN: Names;
}

/// Runs it; what came of it, and the names of the statements that were run within its task, in order.
pub async fn counted<T>(work: impl Future<Output = T>) -> (T, Vec<&'static str>) {
    let names = Names::default();
    let done = RUN.scope(Arc::clone(&names), work).await;
    let taken = std::mem::take(&mut *names.lock().unwrap_or_else(PoisonError::into_inner));
    (done, taken)
}

/// Costs a look at a variable of the task where nobody counts.
pub(crate) fn note(name: &'static str) {
    // Outside of `counted` there is nothing to note it in.
    let _ = RUN.try_with(|names| names.lock().unwrap_or_else(PoisonError::into_inner).push(name));
}
