//! Coming in: sign-in, set-up, an invitation, and pages that end a way.

group! {
    Entrance {
        sign_in: "Sign in",
        sign_in_lead: "Programs call external APIs through this server. It adds the credential on the way out, and nobody who calls ever holds it.",
        email: "E-mail address",
        password: "Password",
        new_password: "New password",
        password_help: "At least 8 characters. A few words are easier to remember than signs.",
        signed_in: "You are signed in",
        signed_in_next: "Next you sign in at the provider whose account is to be connected.",
        go_on_provider: "Go on to the provider",

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
        welcome_lead: "You were invited as {email}. Choose a password, and you are in.",
        come_in: "Come in",
    }
}
