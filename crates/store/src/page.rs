//! Pages of a list: after a cursor, at most 200 items.

use crate::error::Result;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it back to get what follows; `None` at the end.
    pub next_cursor: Option<String>,
}

/// Which page is wanted.
#[derive(Clone, Debug)]
pub struct Paging {
    pub(crate) cursor: Option<String>,
    pub(crate) limit: u32,
}

impl Paging {
    pub const DEFAULT_LIMIT: u32 = 50;
    pub const MAX_LIMIT: u32 = 200;

    /// A limit outside 1..=200 is brought inside.
    pub fn new(cursor: Option<String>, limit: Option<u32>) -> Self {
        Self { cursor, limit: limit.unwrap_or(Self::DEFAULT_LIMIT).clamp(1, Self::MAX_LIMIT) }
    }

    pub fn first() -> Self {
        Self::new(None, None)
    }

    /// One more than wanted, which tells whether anything follows.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Ids sort bytewise and are never empty: the empty text lies before all of them.
    pub(crate) fn after(&self) -> &str {
        self.cursor.as_deref().unwrap_or("")
    }

    pub(crate) fn page<T>(&self, mut items: Vec<T>, cursor: impl Fn(&T) -> String) -> Result<Page<T>> {
        let limit = self.limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if more { items.last().map(cursor) } else { None };
        Ok(Page { items, next_cursor })
    }
}
