//! Places for work that goes on beside the turns of a job: so many in all, and so many of them for each of those
//! whom the work is for, so that one whose other side does not answer cannot hold them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Taken = Arc<Mutex<HashMap<String, usize>>>;

pub(crate) struct Places {
    all: Arc<Semaphore>,
    each: usize,
    taken: Taken,
}

/// Free again when it is dropped.
pub(crate) struct Place {
    whose: String,
    taken: Taken,
    _one: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// There is none for anybody.
    All,
    /// There is none for this one.
    Theirs,
}

impl Places {
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, taken: Taken::default() }
    }

    pub(crate) fn take(&self, whose: &str) -> Result<Place, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(whose).is_some_and(|count| *count >= self.each) {
            return Err(Full::Theirs);
        }
        let one = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Full::All)?;
        *taken.entry(whose.to_owned()).or_default() += 1;
        Ok(Place { whose: whose.to_owned(), taken: Arc::clone(&self.taken), _one: one })
    }

    pub(crate) fn are_full(&self) -> bool {
        self.all.available_permits() == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nobody_has_more_than_their_share() {
        let places = Places::new(3, 2);
        let held: Vec<Place> = ["a", "a", "b"].iter().map(|whose| places.take(whose).ok().unwrap()).collect();
        assert_eq!((places.take("a").err(), places.take("b").err()), (Some(Full::Theirs), Some(Full::All)));
        assert!(places.are_full());
        drop(held);
        assert!(!places.are_full() && places.taken.lock().unwrap().is_empty());
        let _first = places.take("a").ok().unwrap();
        assert!(places.take("a").is_ok() && places.take("b").is_ok());
    }
}
