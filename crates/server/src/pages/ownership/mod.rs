//! Who owns what: a credential handed over, what somebody left behind, keychains of a project, and what one is told.

mod accept;
mod keychain;
mod keychains;
mod left;
mod notices;
mod transfer;

use crate::pages::routes::Pages;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/credentials/{id}/transfer", transfer::show)
        .send("/credentials/{id}/transfer", "credential.transfer", transfer::send)
        .send("/credentials/{id}/transfer/cancel", "credential.transfer", transfer::cancel)
        .show("/transfers/{token}", accept::show)
        .send("/transfers/{token}", "credential.transfer", accept::send)
        .show("/notices", notices::show)
        .send("/notices/read", "", notices::read_all)
        .send("/notices/{id}/read", "", notices::read)
        .show("/projects/{project}/keychains", keychains::show)
        .send("/projects/{project}/keychains", "keychain.create", keychain::create)
        .show("/projects/{project}/keychains/new", keychain::new)
        .show("/projects/{project}/keychains/{keychain}", keychain::show)
        .send("/projects/{project}/keychains/{keychain}", "keychain.update", keychain::send)
        .send("/projects/{project}/keychains/{keychain}/delete", "keychain.delete", keychain::delete)
        .show("/people/{id}/credentials", left::show)
        .send("/people/{id}/credentials", "credential.transfer", left::give)
}
