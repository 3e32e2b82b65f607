//! That no page is left out where every page is looked at.

use std::collections::BTreeSet;
use std::path::Path;

/// Each template of a page, and a look of [`super::every_page`] that shows it.
const SHOWN: &[(&str, &str)] = &[
    ("account/factor.html", "account-totp"),
    ("account/factor_again.html", "account-totp-again"),
    ("account/factor_offer.html", "account-totp-offer"),
    ("account/identities.html", "account-identities"),
    ("account/key_made.html", "account-key-made"),
    ("account/keys.html", "account-keys"),
    ("account/names.html", "account"),
    ("account/password.html", "account-password"),
    ("account/recovery_codes.html", "account-recovery-codes"),
    ("account/sessions.html", "account-sessions"),
    ("admin/client.html", "oauth-client"),
    ("admin/client_seen.html", "oauth-client-seen"),
    ("admin/clients.html", "oauth-clients"),
    ("admin/instance.html", "instance"),
    ("admin/invited.html", "invited"),
    ("admin/people.html", "people"),
    ("connecting/choose.html", "connect-choose"),
    ("connecting/done.html", "connect-done"),
    ("connecting/form.html", "connect-form"),
    ("consent_done.html", "consent-done"),
    ("consent_failed.html", "consent-failed"),
    ("credentials/activity.html", "credential-activity"),
    ("credentials/approve.html", "credential-approve"),
    ("credentials/call.html", "credential-call"),
    ("credentials/choose.html", "connector-choose"),
    ("credentials/connect.html", "credential-connect"),
    ("credentials/connect_go.html", "connect-go"),
    ("credentials/details.html", "credential-details"),
    ("credentials/device.html", "credential-device"),
    ("credentials/first.html", "credentials-empty"),
    ("credentials/form.html", "form-sandbox"),
    ("credentials/list.html", "credentials"),
    ("credentials/method.html", "method-choose"),
    ("credentials/overview.html", "credential"),
    ("credentials/sharing.html", "credential-sharing"),
    ("credentials/trail.html", "credential-audit"),
    ("credentials/values.html", "credential-values"),
    ("credentials/versions.html", "credential-versions"),
    ("docs/api.html", "docs-api"),
    ("docs/api_tag.html", "docs-api-part"),
    ("docs/connector.html", "docs-connector"),
    ("docs/connectors.html", "docs-connectors"),
    ("docs/index.html", "docs"),
    ("docs/text.html", "docs-guide"),
    ("entrance/code.html", "sign-in-code"),
    ("entrance/confirm.html", "confirm"),
    ("entrance/failed.html", "sign-in-provider-refused"),
    ("entrance/forgotten.html", "forgotten"),
    ("entrance/forgotten_sent.html", "forgotten-sent"),
    ("entrance/invite.html", "invite"),
    ("entrance/not_set_up.html", "not-set-up"),
    ("entrance/reset.html", "reset"),
    ("entrance/setup.html", "set-up"),
    ("entrance/sign_in.html", "sign-in"),
    ("entrance/signed_in.html", "signed-in"),
    ("entrance/to_provider.html", "to-provider"),
    ("own/edit.html", "own-connector-edit"),
    ("own/list.html", "connectors"),
    ("own/one.html", "own-connector"),
    ("ownership/accept.html", "transfer"),
    ("ownership/keychain.html", "keychain"),
    ("ownership/keychains.html", "keychains"),
    ("ownership/left.html", "left-behind"),
    ("ownership/notices.html", "notices"),
    ("ownership/offered.html", "transfer-offered"),
    ("ownership/transfer.html", "credential-transfer"),
    ("projects/list.html", "projects"),
    ("projects/new.html", "project-new"),
    ("projects/settings.html", "project-settings"),
    ("refused.html", "refused"),
    ("team/audit.html", "audit"),
    ("team/key_made.html", "key-made"),
    ("team/key_new.html", "key-new"),
    ("team/keys.html", "keys"),
    ("team/members.html", "members"),
    ("team/secrets.html", "secrets"),
    ("team/webhook.html", "webhook"),
    ("team/webhook_new.html", "webhook-new"),
    ("team/webhook_secret.html", "webhook-secret"),
    ("team/webhooks.html", "webhooks"),
];

/// What pages are made of, and no page by itself.
const FRAMES: [&str; 2] = ["frame.html", "lone.html"];

fn pages(folder: &Path, below: &str, into: &mut BTreeSet<String>) {
    for entry in folder.read_dir().expect("a folder of templates") {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).expect("an entry");
        let name = format!("{below}{}", name.to_str().expect("a plain name"));
        if path.is_dir() {
            pages(&path, &format!("{name}/"), into);
        } else if !FRAMES.contains(&name.as_str())
            && std::fs::read_to_string(&path).expect("a template").contains("{% extends ")
        {
            into.insert(name);
        }
    }
}

#[test]
fn every_template_of_a_page_has_a_look() {
    let mut found = BTreeSet::new();
    pages(&latchstring_testkit::root().join("crates/server/templates"), "", &mut found);
    assert!(found.len() > 70, "{found:?}");
    let known: BTreeSet<String> = SHOWN.iter().map(|(template, _)| (*template).to_owned()).collect();
    let new: Vec<&String> = found.difference(&known).collect();
    assert!(new.is_empty(), "look at these in every_page.rs, and say here by which look: {new:?}");
    let gone: Vec<&String> = known.difference(&found).collect();
    assert!(gone.is_empty(), "these are pages no more: {gone:?}");
    let looks = include_str!("every_page.rs");
    let named = |name: &str| {
        looks.contains(&format!("look(\"{name}\", ")) || looks.contains(&format!(", \"{name}\");"))
    };
    let unseen: Vec<&(&str, &str)> = SHOWN.iter().filter(|(_, look)| !named(look)).collect();
    assert!(unseen.is_empty(), "every_page.rs has no look of these names: {unseen:?}");
}
