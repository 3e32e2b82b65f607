//! Projects: all of one's own, a new one, one's settings.

mod list;
mod new;
mod settings;

use latchstring_model::entity::Role;

use crate::pages::routes::Pages;
use crate::texts::{T, Text};

pub use new::slug;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/projects", list::show)
        .send("/projects", "project.create", new::send)
        .show("/projects/new", new::show)
        .show("/projects/{project}", list::enter)
        .show("/projects/{project}/settings", settings::show)
        .send("/projects/{project}/settings", "project.update", settings::send)
        .send("/projects/{project}/delete", "project.delete", settings::delete)
}

pub fn role_text(t: T, role: Role) -> Text {
    match role {
        Role::Owner => t.common.role_owner,
        Role::Admin => t.common.role_admin,
        Role::Editor => t.common.role_editor,
        Role::Viewer => t.common.role_viewer,
    }
}
