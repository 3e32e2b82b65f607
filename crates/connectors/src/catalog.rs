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
    "auth0.yaml",
    "aws_s3.yaml",
    "bitbucket.yaml",
    "box.yaml",
    "brevo.yaml",
    "calendly.yaml",
    "clickup.yaml",
    "cloudflare.yaml",
    "cohere.yaml",
    "commcare.yaml",
    "confluence.yaml",
    "datadog.yaml",
    "dhis2.yaml",
    "digitalocean.yaml",
    "discord.yaml",
    "dropbox.yaml",
    "elasticsearch.yaml",
    "fhir.yaml",
    "freshdesk.yaml",
    "github.yaml",
    "gitlab.yaml",
    "google_drive.yaml",
    "google_sheets.yaml",
    "grafana.yaml",
    "http.yaml",
    "hubspot.yaml",
    "huggingface.yaml",
    "intercom.yaml",
    "jira.yaml",
    "kobotoolbox.yaml",
    "linear.yaml",
    "mailchimp.yaml",
    "mailgun.yaml",
    "microsoft_graph.yaml",
    "mistral.yaml",
    "monday.yaml",
    "nextcloud.yaml",
    "notion.yaml",
    "odk_central.yaml",
    "okta.yaml",
    "openai.yaml",
    "openmrs.yaml",
    "pagerduty.yaml",
    "paypal.yaml",
    "pipedrive.yaml",
    "postmark.yaml",
    "quickbooks.yaml",
    "raw.yaml",
    "salesforce.yaml",
    "sandbox.yaml",
    "sendgrid.yaml",
    "sentry.yaml",
    "shopify.yaml",
    "slack.yaml",
    "snowflake.yaml",
    "square.yaml",
    "stripe.yaml",
    "surveymonkey.yaml",
    "telegram.yaml",
    "trello.yaml",
    "twilio.yaml",
    "typeform.yaml",
    "weatherapi.yaml",
    "wordpress.yaml",
    "xero.yaml",
    "zendesk.yaml",
    "zoho_crm.yaml",
    "zoom.yaml",
}

/// Parsed at the first use. A built-in definition that could not be read would be missing here, and
/// fails a test long before.
pub fn builtin() -> impl Iterator<Item = &'static Definition> {
    static ALL: OnceLock<Vec<Definition>> = OnceLock::new();
    ALL.get_or_init(|| FILES.iter().filter_map(|(file, text)| crate::check(text, file).ok()).collect()).iter()
}

/// Where the sandbox's definition says that it is: beside the default listen address.
const SANDBOX_AT: &str = "http://127.0.0.1:5283";

/// The sandbox's definition with the address at which it really listens as the fields' default.
pub fn sandbox_at(base_url: &str) -> Option<Definition> {
    let (file, text) = FILES.iter().find(|(file, _)| *file == "sandbox.yaml")?;
    crate::check(&text.replace(SANDBOX_AT, base_url), file).ok()
}
