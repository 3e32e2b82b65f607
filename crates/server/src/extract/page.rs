//! `?limit=&cursor=` in, `{"items": […], "next_cursor": …}` out.

use latchstring_model::{Code, Problem};
use serde::{Deserialize, Serialize};

use crate::problem::ApiError;

/// Items on a page when the caller does not say: 50. At most 200.
pub const DEFAULT_LIMIT: u32 = 50;
pub const MAX_LIMIT: u32 = 200;

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Items on the page, from 1 on (default 50); more than 200 are not given at once.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Page {
    pub fn limit(&self) -> Result<u32, ApiError> {
        match self.limit {
            None => Ok(DEFAULT_LIMIT),
            Some(0) => Err(Problem::new(Code::Invalid, "`limit` is a number from 1 on.")
                .hint("Leave `limit` out, or ask for at least one.")
                .into()),
            Some(limit) => Ok(limit.min(MAX_LIMIT)),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Hand it back as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}
