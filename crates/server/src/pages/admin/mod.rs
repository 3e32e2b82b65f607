//! For superusers: people, OAuth clients, how the server is set up. Clients are seen by everybody who may use them.

mod client;
mod client_form;
mod clients;
mod instance;
mod people;

use crate::pages::routes::Pages;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/people", people::show)
        .send("/people", "invite.create", people::invite)
        .send("/people/{id}", "user.update", people::change)
        .send("/people/{id}/second-factor/remove", "second_factor.delete", people::remove_factor)
        .show("/instance", instance::show)
        .send("/instance", "instance.update", instance::send)
        .show("/oauth-clients", clients::show)
        .show("/oauth-clients/new", client::new)
        .send("/oauth-clients", "oauth_client.create", client::create)
        .show("/oauth-clients/{id}", client::show)
        .send("/oauth-clients/{id}", "oauth_client.update", client::send)
        .send("/oauth-clients/{id}/delete", "oauth_client.delete", client::delete)
}
