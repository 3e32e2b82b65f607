//! Credentials: the list, one of them, a new one.

group! {
    Credentials {
        title: "Credentials",

        verified: "Works",
        unverified: "Not checked",
        failing: "Failing",
        needs_authorization: "Sign-in needed",
        needs_reconnect: "Reconnect",
        disabled: "Disabled",
    }
}
