//! The built-in connectors, compiled in from the folder `connectors/` of the repository.

use std::sync::OnceLock;

use crate::definition::Definition;

macro_rules! catalog {
    ($($file:literal,)*) => {
        /// File name and text of every built-in definition; a test compares the list with the folder.
        pub const FILES: &[(&str, &str)] = &[
            $(($file, include_str!(concat!("../../../connectors/", $file))),)*
        ];
    };
}

catalog! {
    "airtable.yaml",
    "anthropic.yaml",
    "asana.yaml",
    "aws_s3.yaml",
    "bitbucket.yaml",
    "clickup.yaml",
    "commcare.yaml",
    "confluence.yaml",
    "dhis2.yaml",
    "freshdesk.yaml",
    "github.yaml",
    "gitlab.yaml",
    "google_drive.yaml",
    "google_sheets.yaml",
    "http.yaml",
    "hubspot.yaml",
    "intercom.yaml",
    "jira.yaml",
    "kobotoolbox.yaml",
    "linear.yaml",
    "mailchimp.yaml",
    "microsoft_graph.yaml",
    "monday.yaml",
    "notion.yaml",
    "openai.yaml",
    "openmrs.yaml",
    "pipedrive.yaml",
    "raw.yaml",
    "salesforce.yaml",
    "sandbox.yaml",
    "sendgrid.yaml",
    "shopify.yaml",
    "slack.yaml",
    "stripe.yaml",
    "telegram.yaml",
    "trello.yaml",
    "twilio.yaml",
    "weatherapi.yaml",
    "zendesk.yaml",
}

/// Parsed at the first use. A built-in definition that could not be read would be missing here, and
/// fails a test long before.
pub fn builtin() -> impl Iterator<Item = &'static Definition> {
    static ALL: OnceLock<Vec<Definition>> = OnceLock::new();
    ALL.get_or_init(|| FILES.iter().filter_map(|(file, text)| crate::check(text, file).ok()).collect()).iter()
}
