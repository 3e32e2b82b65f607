//! Credentials: those of a project and one's own, each of them, and how they are made.

pub mod fields;
mod list;
mod names;
mod new;

use crate::pages::routes::Pages;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/credentials", list::mine)
        .show("/projects/{project}/credentials", list::of_project)
        .with(new::pages)
}
