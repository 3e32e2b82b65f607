//! `/projects/{project}/connectors`: the built-in ones, and a project's own with their editor.

mod edit;
mod list;

use crate::pages::routes::Pages;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/projects/{project}/connectors", list::show)
        .show("/projects/{project}/connectors/new", edit::new)
        .send("/projects/{project}/connectors", "connector.create", edit::create)
        .show("/projects/{project}/connectors/{id}", list::one)
        .show("/projects/{project}/connectors/{id}/edit", edit::show)
        .send("/projects/{project}/connectors/{id}/edit", "connector.update", edit::send)
        .send("/projects/{project}/connectors/{id}/delete", "connector.delete", edit::delete)
}
