//! Projects: the list, a new one, settings.

group! {
    Projects {
        title: "Projects",
        lead: "A project is the boundary of who sees what. It has members with roles, and environments such as staging and production.",
        none: "You are in no project yet",
        none_help: "Make one, and you are its owner. Or ask somebody to add {email} to theirs.",
        new: "New project",
        name: "Name",
        name_example: "Billing",
        slug: "Short name",
        slug_help: "Stands in addresses and in the header of calls. Left empty, it is made from the name.",
        slug_change_help: "Stands in addresses and in the header of calls.",
        slug_hint: "Lower-case letters, digits and single hyphens between them.",
        slug_example: "billing",
        environments: "Environments",
        environments_help: "One per line, in the order in which they are shown. Each has its own values of a credential, and its own secrets.",
        second_factor: "Its people need a second factor",
        second_factor_help: "Who has none sees the project and nothing in it until they have set one up. Keys of theirs rest as well.",
        make: "Make the project",

        settings: "Settings of {project}",
        settings_lead: "Name, short name and environments. Programs name the project by its short name: tell them before you change it.",
        environments_warning: "What is left out is removed. Where something would go with it you are asked first.",
        would_go: "With {environment} would go: {what}.",
        remove: "Remove it with all of that: {environments}",
        remove_help: "Secrets and variables are wiped, grants withdrawn, and service keys end. This cannot be undone.",
        removed: "Gone with {environment}: {what}.",
        nothing_removed: "nothing",
        delete_title: "Delete the project",
        delete_help: "With its secrets, variables, service keys, webhooks and connectors, and every share of a credential. The credentials themselves belong to their owners and stay. This cannot be undone.",
        delete_confirm: "Type {slug} to confirm",
        delete: "Delete the project",
        delete_mismatch: "That is not the project's short name",
        owners_only: "Only an owner can delete the project.",
        admins_only: "You see these settings and cannot change them: that takes an admin. Your role here is {role}.",
    }
}
