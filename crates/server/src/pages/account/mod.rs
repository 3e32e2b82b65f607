//! One's own account: names, password, second factor, linked identities, sessions, personal keys.

mod identities;
mod keys;
mod names;
mod password;
mod second_factor;
mod sessions;

use crate::App;
use crate::pages::frame::Visitor;
use crate::pages::frame::refused::Refused;
use crate::pages::routes::Pages;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/account", names::show)
        .send("/account", "user.update", names::send)
        .show("/account/password", password::show)
        .send("/account/password", "password.set", password::send)
        .show("/account/totp", second_factor::show)
        .send("/account/totp", "second_factor.offer", second_factor::offer)
        .send("/account/totp/confirm", "second_factor.create", second_factor::confirm)
        .send("/account/totp/codes", "second_factor.codes", second_factor::codes)
        .send("/account/totp/remove", "second_factor.delete", second_factor::remove)
        .show("/account/identities", identities::show)
        .send("/account/identities", "identity.create", identities::link)
        .send("/account/identities/{id}/unlink", "identity.delete", identities::unlink)
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
    SecondFactor,
    Identities,
    Sessions,
    Keys,
}

struct Link {
    path: &'static str,
    label: String,
    current: bool,
}

/// Identities only where there is a provider.
async fn tabs(app: &App, visitor: &Visitor, here: Tab) -> Result<Vec<Link>, Refused> {
    let a = &visitor.t.account;
    let link = |tab: Tab, path: &'static str, label: &crate::texts::Text| Link {
        path,
        label: label.to_string(),
        current: tab == here,
    };
    let mut tabs = vec![
        link(Tab::Names, "/account", &a.names),
        link(Tab::Password, "/account/password", &a.password),
        link(Tab::SecondFactor, "/account/totp", &a.factor),
        link(Tab::Sessions, "/account/sessions", &a.sessions),
        link(Tab::Keys, "/account/keys", &a.keys),
    ];
    if app.broker().ways_in().await?.provider.is_some() || here == Tab::Identities {
        tabs.insert(3, link(Tab::Identities, "/account/identities", &a.identities));
    }
    Ok(tabs)
}
