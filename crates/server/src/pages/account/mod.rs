//! One's own account: names, password, sessions, personal keys.

mod keys;
mod names;
mod password;
mod sessions;

use crate::pages::routes::Pages;
use crate::texts::T;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/account", names::show)
        .send("/account", "user.update", names::send)
        .show("/account/password", password::show)
        .send("/account/password", "password.set", password::send)
        .show("/account/sessions", sessions::show)
        .send("/account/sessions/end-others", "session.delete", sessions::end_others)
        .send("/account/sessions/{id}/end", "session.delete", sessions::end)
        .show("/account/keys", keys::show)
        .send("/account/keys", "key.create", keys::make)
        .send("/account/keys/{id}/end", "key.delete", keys::end)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tab {
    Names,
    Password,
    Sessions,
    Keys,
}

struct Link {
    path: &'static str,
    label: String,
    current: bool,
}

fn tabs(t: T, here: Tab) -> Vec<Link> {
    let a = &t.account;
    let link = |tab: Tab, path: &'static str, label: &crate::texts::Text| Link {
        path,
        label: label.to_string(),
        current: tab == here,
    };
    vec![
        link(Tab::Names, "/account", &a.names),
        link(Tab::Password, "/account/password", &a.password),
        link(Tab::Sessions, "/account/sessions", &a.sessions),
        link(Tab::Keys, "/account/keys", &a.keys),
    ]
}
