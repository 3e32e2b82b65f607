//! Back from the provider.

group! {
    Consent {
        connected: "Connected",
        connected_to: "{credential} ({environment}) is connected to the account {account}.",
        connected_plain: "{credential} ({environment}) is connected.",
        missing: "These scopes were asked for and not granted: {scopes}. Calls that need them will be refused. To add them, start the sign-in again and leave every box ticked at the provider.",
        not_checked: "Whether it works could not be checked: {note} It was saved unverified; check it later.",
        nothing_to_check: "There is no request to check it with, so it was saved unverified.",
        granted: "Granted: {scopes}",
        go_on: "Go on",
        close: "You can close this page.",
        as_it_was: "What was connected before is as it was.",
        again: "Try again",
    }
}
