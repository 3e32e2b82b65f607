//! Mail to people: plain text, over the mail server that the operator named.
//!
//! | `LATCHSTRING_SMTP_URL` | port | TLS |
//! | --- | --- | --- |
//! | `smtps://host` | 465 | from the first byte |
//! | `smtp://host` | 587 | STARTTLS when the server offers it; with a user name it has to |
//! | `smtp://host?tls=required` | 587 | STARTTLS, or nothing is sent |
//! | `smtp://host?tls=never` | 587 | none, with a password in clear too: for a server on this machine |
//!
//! The session is ours (RFC 5321), over a stream that egress gave: a mail library brings its own STARTTLS, and
//! with it its own sockets and its own idea of whom to trust.

pub mod message;
pub mod smtp;
pub mod words;

use latchstring_egress::{Configured, Wire};
use latchstring_model::SecretString;
use latchstring_model::address::Address;
use percent_encoding::percent_decode_str;

/// What the session has to be before anything is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    FromTheStart,
    /// By STARTTLS, or nothing is sent.
    Required,
    /// By STARTTLS, when the server offers it.
    WhenOffered,
    Never,
}

/// Where mail is handed in, and in whose name.
pub struct MailSettings {
    pub server: Configured,
    pub tls: Tls,
    pub login: Option<(String, SecretString)>,
    /// The address alone.
    pub from: String,
    /// As it stands in the header.
    pub from_name: String,
    /// How this server calls itself (RFC 5321 section 4.1.1.1).
    pub hello: String,
}

impl MailSettings {
    /// Reads both settings. Errors name what is wrong and never the value, which may hold a password.
    pub fn read(smtp_url: &str, from: &str, public_url: &str) -> Result<Self, MailSettingsError> {
        let url = url::Url::parse(smtp_url.trim()).map_err(|_| MailSettingsError::Url)?;
        let (port, mut tls) = match url.scheme() {
            "smtps" => (465, Tls::FromTheStart),
            "smtp" => (587, Tls::WhenOffered),
            _ => return Err(MailSettingsError::Url),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MailSettingsError::Url)?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(MailSettingsError::Url);
        }
        let port = url.port().unwrap_or(port);
        // Read as a host of https is, so that there is one spelling.
        let origin =
            Address::parse(&format!("https://{host}:{port}/")).map_err(|_| MailSettingsError::Url)?.origin;
        let decoded = |text: &str| {
            percent_decode_str(text)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| MailSettingsError::Url)
        };
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return Err(MailSettingsError::Login),
            (user, Some(password)) => Some((decoded(user)?, SecretString::new(decoded(password)?))),
        };
        if login.is_some() && tls == Tls::WhenOffered {
            tls = Tls::Required;
        }
        for (name, value) in url.query_pairs() {
            tls = match (name.as_ref(), value.as_ref(), tls) {
                ("tls", "required", Tls::WhenOffered | Tls::Required) => Tls::Required,
                ("tls", "never", Tls::WhenOffered | Tls::Required) => Tls::Never,
                ("tls", "required", Tls::FromTheStart) => Tls::FromTheStart,
                _ => return Err(MailSettingsError::Tls),
            };
        }
        let (from_name, from) = mailbox(from).ok_or(MailSettingsError::From)?;
        let own = Address::parse(public_url).map(|address| address.origin.host).unwrap_or_default();
        Ok(Self { server: Configured::new(origin), tls, login, from, from_name, hello: hello(&own) })
    }

    pub(super) fn wire(&self) -> Wire {
        match self.tls {
            Tls::FromTheStart => Wire::Tls,
            Tls::Required | Tls::WhenOffered => Wire::StartTls,
            Tls::Never => Wire::Clear,
        }
    }

    /// For message ids.
    pub(super) fn hello_host(&self) -> &str {
        self.hello.trim_start_matches("[IPv6:").trim_matches(['[', ']'])
    }
}

/// Why the mail settings stop the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailSettingsError {
    #[error(
        "LATCHSTRING_SMTP_URL cannot be understood: write smtps://host, smtp://host:587 or smtps://user:password@host, with signs other than letters and digits percent-encoded"
    )]
    Url,
    #[error(
        "LATCHSTRING_SMTP_URL has a user name without a password, or the other way round: write smtps://user:password@host"
    )]
    Login,
    #[error(
        "LATCHSTRING_SMTP_URL cannot be understood: behind the `?` only tls=required or tls=never may stand, and tls=never only with smtp://"
    )]
    Tls,
    #[error(
        "LATCHSTRING_MAIL_FROM cannot be understood: write an address such as latchstring@example.com, or Latchstring <latchstring@example.com>"
    )]
    From,
}

/// `ada@example.com`, or `Ada <ada@example.com>`.
fn mailbox(text: &str) -> Option<(String, String)> {
    let text = text.trim();
    let (name, address) = match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"').trim(), address.trim()),
        None => ("Latchstring", text),
    };
    if name.chars().any(char::is_control) || !is_address(address) {
        return None;
    }
    Some((name.to_owned(), address.to_owned()))
}

/// What can stand in a command of SMTP without ending it.
pub(crate) fn is_address(text: &str) -> bool {
    text.len() <= 254
        && text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !text.chars().any(|c| {
            c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\\' | ',' | ';' | '(' | ')')
        })
}

/// RFC 5321 section 4.1.3 for addresses; a name that is none calls itself by its loopback address.
fn hello(host: &str) -> String {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        format!("[IPv6:{v6}]")
    } else if host.parse::<std::net::Ipv4Addr>().is_ok() {
        format!("[{host}]")
    } else if host.is_empty()
        || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    {
        "[127.0.0.1]".to_owned()
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(url: &str) -> Result<MailSettings, MailSettingsError> {
        MailSettings::read(url, "Latchstring <l@example.com>", "https://creds.example.com")
    }

    #[test]
    fn urls_of_mail_servers() {
        let good = |url: &str| read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        for (url, port, tls) in [
            ("smtps://mail.example.com", 465, Tls::FromTheStart),
            ("smtp://mail.example.com", 587, Tls::WhenOffered),
            ("smtp://mail.example.com:25/", 25, Tls::WhenOffered),
            ("smtp://u:p@mail.example.com", 587, Tls::Required),
            ("smtp://mail.example.com?tls=required", 587, Tls::Required),
            ("smtp://u:p@127.0.0.1:2525?tls=never", 2525, Tls::Never),
            ("smtp://[::1]:2525", 2525, Tls::WhenOffered),
        ] {
            let settings = good(url);
            assert_eq!((settings.server.origin().port, settings.tls), (port, tls), "{url}");
        }
        let login = good("smtps://ada%40example.com:p%2Fw@mail.example.com").login.unwrap();
        assert_eq!((login.0.as_str(), login.1.expose()), ("ada@example.com", "p/w"));
        assert_eq!(good("smtps://mail.example.com").hello, "creds.example.com");
        for (url, error) in [
            ("mail.example.com", MailSettingsError::Url),
            ("http://mail.example.com", MailSettingsError::Url),
            ("smtp://", MailSettingsError::Url),
            ("smtp://mail.example.com/queue", MailSettingsError::Url),
            ("smtps://user@mail.example.com", MailSettingsError::Login),
            ("smtps://mail.example.com?tls=never", MailSettingsError::Tls),
            ("smtp://mail.example.com?starttls=yes", MailSettingsError::Tls),
        ] {
            assert_eq!(read(url).err(), Some(error), "{url}");
        }
    }

    #[test]
    fn senders() {
        assert_eq!(mailbox("a@b.c").unwrap(), ("Latchstring".into(), "a@b.c".into()));
        assert_eq!(mailbox("\"The Broker\" <a@b.c>").unwrap(), ("The Broker".into(), "a@b.c".into()));
        for bad in ["", "a", "a@", "@b", "A <a@b.c", "a@b.c>\r\nRCPT TO:<x@y.z", "a b@c.d", "A <a@b\n.c>"] {
            assert_eq!(mailbox(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_server_says_who_it_is() {
        assert_eq!(hello("creds.example.com"), "creds.example.com");
        assert_eq!(hello("127.0.0.1"), "[127.0.0.1]");
        assert_eq!(hello("[::1]"), "[IPv6:::1]");
        assert_eq!(hello("a b"), "[127.0.0.1]");
    }
}
