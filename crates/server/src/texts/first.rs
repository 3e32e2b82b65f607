//! The short path from an empty project to a call that works.

group! {
    First {
        title: "Connect your first API",
        lead: "Three steps: choose an API, give its credential once, and call it with a key that holds nothing of it.",
        step_choose: "Choose",
        step_give: "Give the credential",
        step_call: "Call",
    }
}
