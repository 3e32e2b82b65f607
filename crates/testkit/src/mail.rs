//! `aiosmtpd` (PyPI), a real mail server; tests/e2e/smtp_server.py says what its configuration can hold.

use serde_json::{Value, json};

use crate::app::Folder;
use crate::process::{Helper, python};

pub struct MailServer {
    helper: Helper,
    folder: Folder,
}

impl MailServer {
    /// In clear, without a login.
    pub fn start() -> Self {
        Self::with(&json!({}))
    }

    pub fn with(config: &Value) -> Self {
        let folder = Folder::new("mail");
        let mut config = config.clone();
        config["folder"] = json!(folder.path());
        let helper = Helper::start(python("smtp_server.py").arg(config.to_string()));
        Self { helper, folder }
    }

    pub fn port(&self) -> u16 {
        u16::try_from(self.helper.ready["port"].as_u64().expect("a port")).expect("a port")
    }

    /// Every mail that it took, oldest first.
    pub fn mails(&self) -> Vec<Value> {
        let mut paths: Vec<_> = std::fs::read_dir(self.folder.path())
            .expect("the folder of mails")
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        paths.sort();
        let read =
            |path| serde_json::from_slice(&std::fs::read(path).expect("a mail")).expect("a mail is JSON");
        paths.iter().map(read).collect()
    }
}
