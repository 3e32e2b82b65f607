//! One mail handed in (RFC 5321), with STARTTLS (RFC 3207) and AUTH PLAIN or LOGIN (RFC 4954).
//!
//! The last byte decides: before it nothing has been accepted, after it everything may have been. `hand_over` is
//! asked right before, and what goes wrong afterwards is [`MailError::Unknown`].

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchstring_egress::{Egress, Stream};
use latchstring_model::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::message::Message;
use super::{MailSettings, Tls, is_address};

/// For all until the mail is handed over; less than the lease of a delivery.
const PREPARE: Duration = Duration::from_secs(45);
/// For one command and its answer.
const COMMAND: Duration = Duration::from_secs(30);
/// For the answer to the whole mail.
const ACCEPT: Duration = Duration::from_secs(180);
/// Bytes of one answer.
const LONGEST: usize = 32 * 1024;
/// Characters of a server's words that are kept.
const SHOWN: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    #[error("the mail server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the mail server answered {status} to {command}: {text}")]
    Refused { status: u16, command: &'static str, text: String, permanent: bool },
    #[error("the mail server offers no STARTTLS, and LATCHSTRING_SMTP_URL asks for TLS")]
    NoTls,
    #[error("the mail server offers neither AUTH PLAIN nor AUTH LOGIN")]
    NoAuth,
    #[error("the session with the mail server broke off: {0}")]
    Broken(String),
    #[error("{0}")]
    Address(&'static str),
    #[error("another server has taken this mail over")]
    NotOurs,
    #[error("the mail was handed over and no answer came ({0}); it is not sent again")]
    Unknown(String),
}

impl MailError {
    pub fn status(&self) -> Option<u16> {
        match self {
            MailError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    fn text(&self) -> String {
        let text = self.lines.join(" ");
        text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
    }

    /// An extension's parameters, when the server has it.
    fn extension(&self, name: &str) -> Option<&str> {
        self.lines.iter().skip(1).find_map(|line| {
            let (word, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
            word.eq_ignore_ascii_case(name).then_some(rest)
        })
    }
}

struct Session {
    stream: Stream,
    /// Read and not yet looked at.
    ahead: Vec<u8>,
}

fn broken(error: impl std::fmt::Display) -> MailError {
    MailError::Broken(error.to_string())
}

impl Session {
    async fn line(&mut self) -> Result<String, MailError> {
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.ahead.len() > LONGEST {
                return Err(broken("its answer has no end"));
            }
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk).await.map_err(broken)? {
                0 => return Err(broken("it hung up")),
                count => self.ahead.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
        }
    }

    async fn reply(&mut self) -> Result<Reply, MailError> {
        let mut reply = Reply { code: 0, lines: Vec::new() };
        let mut read = 0;
        loop {
            let line = self.line().await?;
            read += line.len();
            let code = line
                .get(..3)
                .and_then(|code| code.parse().ok())
                .ok_or_else(|| broken("it does not speak SMTP"))?;
            reply.code = code;
            reply.lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(reply);
            }
            if read > LONGEST {
                return Err(broken("its answer has no end"));
            }
        }
    }

    /// Sends a line and reads the answer, which has to be one of these.
    async fn command(&mut self, name: &'static str, line: &str, wanted: &[u16]) -> Result<Reply, MailError> {
        let exchange = async {
            self.stream.write_all(line.as_bytes()).await.map_err(broken)?;
            self.stream.write_all(b"\r\n").await.map_err(broken)?;
            self.stream.flush().await.map_err(broken)?;
            self.reply().await
        };
        let reply = timeout(COMMAND, exchange)
            .await
            .map_err(|_| broken("it did not answer within half a minute"))??;
        judged(name, reply, wanted)
    }

    async fn hello(&mut self, name: &str) -> Result<Reply, MailError> {
        self.command("EHLO", &format!("EHLO {name}"), &[250]).await
    }

    async fn login(&mut self, hello: &Reply, user: &str, password: &SecretString) -> Result<(), MailError> {
        let offered = hello.extension("AUTH").ok_or(MailError::NoAuth)?.to_ascii_uppercase();
        let offers = |name: &str| offered.split_ascii_whitespace().any(|word| word == name);
        if offers("PLAIN") {
            let line = SecretString::new(STANDARD.encode(format!("\0{user}\0{}", password.expose())));
            let line = SecretString::new(format!("AUTH PLAIN {}", line.expose()));
            self.command("AUTH", line.expose(), &[235]).await?;
        } else if offers("LOGIN") {
            self.command("AUTH", "AUTH LOGIN", &[334]).await?;
            self.command("AUTH", &STANDARD.encode(user), &[334]).await?;
            let line = SecretString::new(STANDARD.encode(password.expose()));
            self.command("AUTH", line.expose(), &[235]).await?;
        } else {
            return Err(MailError::NoAuth);
        }
        Ok(())
    }
}

fn judged(command: &'static str, reply: Reply, wanted: &[u16]) -> Result<Reply, MailError> {
    if wanted.contains(&reply.code) {
        return Ok(reply);
    }
    // A refused login, sender or greeting is the operator's to mend; the mail waits for that.
    let permanent = reply.code >= 500 && matches!(command, "RCPT" | "DATA");
    Err(MailError::Refused { status: reply.code, command, text: reply.text(), permanent })
}

/// Hands one mail in; the status with which it was accepted. `hand_over` says whether it may be sent.
pub(in crate::notices) async fn send(
    egress: &Egress,
    settings: &MailSettings,
    message: &Message<'_>,
    hand_over: impl Future<Output = Option<()>>,
) -> Result<u16, MailError> {
    if !is_address(message.to) {
        return Err(MailError::Address("the recipient's address cannot be written in a mail"));
    }
    let mut session = timeout(PREPARE, prepared(egress, settings, message))
        .await
        .map_err(|_| broken("it took too long over its answers"))??;
    hand_over.await.ok_or(MailError::NotOurs)?;
    let unknown = |error: &dyn std::fmt::Display| MailError::Unknown(error.to_string());
    let end = async {
        session.stream.write_all(b".\r\n").await.map_err(broken)?;
        session.stream.flush().await.map_err(broken)?;
        session.reply().await
    };
    let reply = match timeout(ACCEPT, end).await {
        Ok(Ok(reply)) => judged("DATA", reply, &[250])?,
        Ok(Err(error)) => return Err(unknown(&error)),
        Err(_) => return Err(unknown(&"no answer within three minutes")),
    };
    // It is accepted, however this goes.
    drop(session.command("QUIT", "QUIT", &[221]).await);
    Ok(reply.code)
}

/// All but the mail's end.
async fn prepared(
    egress: &Egress,
    settings: &MailSettings,
    message: &Message<'_>,
) -> Result<Session, MailError> {
    let origin = settings.server.origin();
    let stream = egress
        .connect(&settings.server, None, origin, settings.wire())
        .await
        .map_err(|error| MailError::Unreachable(error.operator_reason().to_string()))?;
    let mut session = Session { stream, ahead: Vec::new() };
    let greeting = timeout(COMMAND, session.reply()).await.map_err(|_| broken("it did not greet"))??;
    judged("the connection", greeting, &[220])?;
    let mut hello = session.hello(&settings.hello).await?;
    if matches!(settings.tls, Tls::Required | Tls::WhenOffered) {
        if hello.extension("STARTTLS").is_some() {
            session.command("STARTTLS", "STARTTLS", &[220]).await?;
            // What came before TLS and would be read after it was put there by somebody else.
            if !session.ahead.is_empty() {
                return Err(broken("it sent more than it may before TLS"));
            }
            let stream = egress
                .start_tls(session.stream, None, origin)
                .await
                .map_err(|error| MailError::Unreachable(error.operator_reason().to_string()))?;
            session = Session { stream, ahead: Vec::new() };
            hello = session.hello(&settings.hello).await?;
        } else if settings.tls == Tls::Required {
            return Err(MailError::NoTls);
        }
    }
    if let Some((user, password)) = &settings.login {
        session.login(&hello, user, password).await?;
    }
    let foreign = !message.to.is_ascii() || !settings.from.is_ascii();
    if foreign && hello.extension("SMTPUTF8").is_none() {
        return Err(MailError::Address("the address is not ASCII, and the mail server takes no other"));
    }
    let more = if foreign { " SMTPUTF8" } else { "" };
    session.command("MAIL", &format!("MAIL FROM:<{}>{more}", settings.from), &[250]).await?;
    session.command("RCPT", &format!("RCPT TO:<{}>", message.to), &[250, 251]).await?;
    session.command("DATA", "DATA", &[354]).await?;
    let bytes = message.bytes(&settings.from_name, &settings.from);
    session.stream.write_all(&stuffed(&bytes)).await.map_err(broken)?;
    session.stream.flush().await.map_err(broken)?;
    Ok(session)
}

/// RFC 5321 section 4.5.2: a line that begins with a dot gets another. Ends with a line end.
fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dots_are_doubled() {
        assert_eq!(stuffed(b"a\r\n.b\r\n..\r\n"), b"a\r\n..b\r\n...\r\n");
        assert_eq!(stuffed(b"a"), b"a\r\n");
    }

    #[test]
    fn extensions_are_read() {
        let lines =
            ["mail.example.com at your service", "SIZE 10", "auth=LOGIN", "AUTH PLAIN LOGIN", "STARTTLS"];
        let reply = Reply { code: 250, lines: lines.map(str::to_owned).to_vec() };
        assert_eq!(reply.extension("starttls"), Some(""));
        assert_eq!(reply.extension("AUTH"), Some("LOGIN"));
        assert_eq!(reply.extension("mail.example.com"), None, "the first line is a greeting");
    }

    #[test]
    fn only_a_refused_mail_is_given_up() {
        let refused =
            |command, code| judged(command, Reply { code, lines: vec!["no".into()] }, &[250]).err().unwrap();
        assert!(matches!(refused("RCPT", 550), MailError::Refused { permanent: true, .. }));
        assert!(matches!(refused("RCPT", 450), MailError::Refused { permanent: false, .. }));
        assert!(matches!(refused("AUTH", 535), MailError::Refused { permanent: false, .. }));
    }
}
