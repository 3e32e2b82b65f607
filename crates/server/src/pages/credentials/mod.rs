//! Credentials: those of a project and one's own, each of them, and how they are made.

mod actions;
mod call;
pub mod connect;
mod edit;
pub mod fields;
mod list;
mod names;
mod new;
mod show;

pub use edit::own;
pub use new::{day, sent};
pub use show::{Head, Sheet, Tab, Through};

use latchstring_model::{Code, Problem};

use crate::pages::routes::Pages;

/// Whether a slug is in the way, so that it is told beside its field. (An external id that is reserved comes without
/// another one that is free.)
fn about_the_slug(problem: &Problem) -> bool {
    match problem.code {
        Code::SlugTaken => true,
        Code::NameReserved => problem.extra.contains_key("suggestion"),
        _ => false,
    }
}

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/credentials", list::mine)
        .show("/projects/{project}/credentials", list::of_project)
        .with(new::pages)
        .with(show::pages)
        .with(edit::pages)
        .with(actions::pages)
        .with(connect::pages)
        .with(call::pages)
}
