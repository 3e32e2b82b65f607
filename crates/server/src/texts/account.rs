//! One's own account.

group! {
    Account {
        title: "Account",
        key_title: "Your key “{name}”",
    }
}
