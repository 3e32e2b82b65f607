//! Coming in: sign-in, set-up, an invitation, and pages that end a way.

group! {
    Entrance {
        sign_in: "Sign in",
        sign_in_lead: "Programs call external APIs through this server. It adds the credential on the way out, and nobody who calls ever holds it.",
        email: "E-mail address",
        password: "Password",
        new_password: "New password",
        password_help: "At least 8 characters. A few words are easier to remember than signs.",
        people_only: "This page is for people who have signed in.",
        people_only_hint: "Sign in, in a browser. Programs use /api/v1 with a key.",
        signed_in: "You are signed in",
        signed_in_next: "Next you sign in at the provider whose account is to be connected.",
        go_on_provider: "Go on to the provider",

        with_provider: "Sign in with {provider}",
        or_password: "or with a password",
        forgotten: "Forgotten your password?",
        forgotten_lead: "A link to choose a new one comes by mail. It works once, for an hour.",
        forgotten_send: "Send the link",
        sent: "Look into your mail",
        sent_lead: "If that address has an account with a password here, a link is on its way. It works once, for an hour.",
        sent_none: "Nothing came? Whoever runs this server can print a link for you.",
        reset: "Choose a new password",
        reset_lead: "All your sessions end. For a day you cannot see, change, hand on or delete what you own, nor make keys; calls go on. A second factor stays.",
        reset_set: "Set the password",

        second_factor: "Second factor",
        code: "Code",
        code_help: "The six digits that your app shows now, or a recovery code.",
        code_send: "Go on",
        code_again: "Begin again",

        confirm: "Confirm that it is you",
        confirm_lead: "You are signed in as {email}. What you want to do wants a recent sign-in; afterwards do it again.",
        confirm_send: "Confirm",
        confirm_provider: "Confirm with {provider}",

        next_provider: "Next: {provider}",
        next_provider_lead: "You sign in there as yourself, and come back here.",
        go_on_to: "Go on to {provider}",

        not_set_up: "This server is not set up yet",
        not_set_up_help: "Whoever started it makes the first account, through the link that the server printed in its terminal. The link works once, for an hour; starting the server again prints a new one.",

        set_up: "Set up this server",
        set_up_lead: "You make the first account. It is a superuser: it can invite others and set up OAuth clients.",
        name: "Your name",
        name_help: "As others here shall see it.",
        project: "First project",
        project_help: "A project is the boundary of who sees what: a team, a product, a customer. It begins with the environments staging and production. Leave it empty to make one later.",
        project_example: "Acme",
        make_account: "Make the account",

        welcome: "Welcome",
        welcome_lead: "You were invited as {email}.",
        welcome_password: "Choose a password, and you are in.",
        welcome_provider: "Come in with {provider}",
        come_in: "Come in",
    }
}
