//! How people come in: sign-in with a password or at a provider, the second factor, the set-up link, an invitation, a
//! forgotten password; and showing once more who one is.

mod code;
mod confirm;
mod forgotten;
mod invite;
pub mod provider;
mod reset;
mod setup;
mod sign_in;

use crate::pages::routes::Pages;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/setup/{token}", setup::show)
        .send("/setup/{token}", "", setup::send)
        .show("/sign-in", sign_in::show)
        .send("/sign-in", "", sign_in::send)
        .send("/sign-out", "session.delete", sign_in::leave)
        .show("/sign-in/code/{id}", code::show)
        .send("/sign-in/code/{id}", "", code::send)
        .show("/sign-in/provider", provider::begin)
        .show("/sign-in/provider/{token}", provider::open)
        .show("/sign-in/callback", provider::callback)
        .show("/invite/{token}", invite::show)
        .send("/invite/{token}", "", invite::send)
        .show("/invite/{token}/provider", invite::at_provider)
        .show("/forgotten", forgotten::show)
        .send("/forgotten", "", forgotten::send)
        .show("/reset/{token}", reset::show)
        .send("/reset/{token}", "", reset::send)
        .show("/confirm", confirm::show)
        .send("/confirm", "", confirm::send)
        .send("/confirm/provider", "", confirm::at_provider)
}
