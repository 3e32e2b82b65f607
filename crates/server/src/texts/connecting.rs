//! The page on which an end user of somebody's product connects an account.

group! {
    Connecting {
        title: "Connect an account",
        title_of: "Connect {connector}",
        choose: "What do you want to connect?",
        choose_method: "How do you want to connect {connector}?",
        lead: "What you give here is kept sealed on this server and used for {origin} alone. It is shown to nobody, {origin} included.",
        other: "Choose another",
        send: "Check and connect",
        sign_in: "Continue and sign in",
        not_connected: "Nothing is connected yet",
        no_method: "This cannot be chosen here.",
        nothing: "There is nothing to choose any more. Go back to where you came from and begin again there.",
        done: "{connector} is connected",
        done_lead: "You can close this window and go back to {origin}.",
        close: "Close this window",
    }
}
