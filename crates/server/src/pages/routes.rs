//! The routes of pages. Whoever adds a form says what a refused try is called in the audit trail: it cannot be
//! forgotten, because a form's route is not to be had without it.

use std::collections::HashMap;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{get, post};

use crate::App;

#[derive(Default)]
pub struct Pages {
    router: Router<App>,
    actions: HashMap<&'static str, &'static str>,
}

impl Pages {
    #[must_use]
    pub fn show<H: Handler<T, App>, T: 'static>(mut self, path: &'static str, handler: H) -> Self {
        self.router = self.router.route(path, get(handler));
        self
    }

    /// A form that is sent to `path`. `action`: `<thing>.<verb>` of the trail; empty where the use case records
    /// refusals itself, or where nothing is refused.
    #[must_use]
    pub fn send<H: Handler<T, App>, T: 'static>(
        mut self,
        path: &'static str,
        action: &'static str,
        handler: H,
    ) -> Self {
        self.router = self.router.route(path, post(handler));
        self.actions.insert(path, action);
        self
    }

    #[must_use]
    pub fn with(self, more: impl FnOnce(Self) -> Self) -> Self {
        more(self)
    }

    /// The router, and what refused forms are called, by path.
    pub fn split(self) -> (Router<App>, HashMap<&'static str, &'static str>) {
        (self.router, self.actions)
    }
}
