//! How people come in: sign-in, the set-up link, an invitation.

mod invite;
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
        .show("/invite/{token}", invite::show)
        .send("/invite/{token}", "", invite::send)
}
