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
    "asana.yaml",
    "bitbucket.yaml",
    "clickup.yaml",
    "dhis2.yaml",
    "freshdesk.yaml",
    "github.yaml",
    "gitlab.yaml",
    "http.yaml",
    "intercom.yaml",
    "linear.yaml",
    "monday.yaml",
    "pipedrive.yaml",
    "raw.yaml",
    "salesforce.yaml",
    "sandbox.yaml",
    "trello.yaml",
}

/// Parsed at the first use. A built-in definition that could not be read would be missing here, and
/// fails a test long before.
pub fn builtin() -> impl Iterator<Item = &'static Definition> {
    static ALL: OnceLock<Vec<Definition>> = OnceLock::new();
    ALL.get_or_init(|| FILES.iter().filter_map(|(file, text)| crate::check(text, file).ok()).collect()).iter()
}
