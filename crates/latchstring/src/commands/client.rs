//! A running server, asked by a command.

use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use latchstring_egress::{Configured, Egress, Wire};
use latchstring_model::address::Address;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::Ending;

/// Which server, and as whom.
#[derive(clap::Args, Clone)]
pub struct Server {
    /// The server
    #[arg(long, env = "LATCHSTRING_URL", default_value = "http://127.0.0.1:5282")]
    url: String,
    /// The key; better in the environment than in the shell's history
    #[arg(long, env = "LATCHSTRING_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// PEM file with further authorities, where the server's certificate is signed by one of your own
    #[arg(long, env = "LATCHSTRING_EXTRA_CA_FILE")]
    extra_ca_file: Option<PathBuf>,
}

/// A connection to it.
pub struct Open {
    pub at: Address,
    sender: SendRequest<Full<Bytes>>,
}

pub fn usage(text: impl Into<String>) -> Ending {
    Ending::Stopped(text.into())
}

fn everywhere() -> Vec<latchstring_egress::AllowRule> {
    ["0.0.0.0/0", "::/0"].iter().filter_map(|text| text.parse().ok()).collect()
}

impl Server {
    /// `who_makes`: whom to ask for a key, when there is none.
    pub fn key(&self, who_makes: &str) -> Result<&str, Ending> {
        self.api_key
            .as_deref()
            .ok_or_else(|| usage(format!("there is no key: set LATCHSTRING_API_KEY ({who_makes})")))
    }

    pub fn address(&self) -> Result<Address, Ending> {
        Address::parse(&self.url).map_err(|error| usage(format!("LATCHSTRING_URL: {error}")))
    }

    pub async fn open(&self) -> Result<Open, Ending> {
        let at = self.address()?;
        let extra_ca_pem = match &self.extra_ca_file {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|error| {
                usage(format!("LATCHSTRING_EXTRA_CA_FILE {} cannot be read: {error}", path.display()))
            })?),
        };
        // Loopback and private servers are what these commands are for: the operator names the host.
        let egress = Egress::new(latchstring_egress::Settings {
            allow: everywhere(),
            extra_ca_pem,
            ..latchstring_egress::Settings::default()
        })
        .map_err(|error| usage(error.to_string()))?;
        let permit = Configured::new(at.origin.clone());
        let wire = if at.origin.https { Wire::Tls } else { Wire::Clear };
        let stream = egress.connect(&permit, None, &at.origin, wire).await.map_err(|error| {
            usage(format!(
                "the server at {} cannot be reached: {}; is it running, and is LATCHSTRING_URL right?",
                at.origin,
                error.operator_reason()
            ))
        })?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| usage(format!("the server does not speak HTTP: {error}")))?;
        tokio::spawn(connection);
        Ok(Open { at, sender })
    }
}

impl Open {
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Ending> {
        let sent = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        sent.await.map_err(|error| usage(format!("the server did not answer: {error}")))
    }
}

/// What is sent along.
pub enum Body<'a> {
    None,
    Json(&'a Value),
    /// A connector's definition.
    Yaml(&'a str),
}

/// A success.
pub struct Said {
    pub body: Value,
    pub etag: Option<String>,
}

/// A refusal of the API: RFC 9457.
pub struct Refusal {
    pub status: u16,
    body: Value,
}

impl Refusal {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Pointers into what was sent, and what is wrong there.
    pub fn errors(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.filter_map(|error| Some((error["pointer"].as_str()?, error["detail"].as_str()?))).collect()
    }

    /// What else it says under a name of its own.
    pub fn more(&self, name: &str) -> &Value {
        &self.body[name]
    }

    /// What happened, and what to do next.
    pub fn text(&self) -> String {
        let text = |name: &str| self.body[name].as_str().unwrap_or_default();
        let mut all = text("detail").to_owned();
        for (pointer, detail) in self.errors() {
            // What stands in the detail already is not said twice.
            if !all.contains(detail) {
                all.push_str(&format!(" {}: {detail}.", pointer.trim_start_matches('/').replace('/', ".")));
            }
        }
        format!("{all} {}", text("hint")).trim().to_owned()
    }
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        usage(refusal.text())
    }
}

/// The API, asked one thing after the other.
pub struct Api {
    server: Server,
    key: String,
    open: Option<Open>,
}

/// Dots are written out: two of them are a part of their own kind.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// A part of a path: whatever stands in it is one part.
pub fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

impl Api {
    pub fn new(server: Server, who_makes: &str) -> Result<Self, Ending> {
        let key = server.key(who_makes)?.to_owned();
        Ok(Self { server, key, open: None })
    }

    /// Where it is, for people.
    pub fn place(&self) -> Result<String, Ending> {
        Ok(self.server.address()?.to_string())
    }

    /// Asks; the inner error is the API's refusal.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Body<'_>,
        if_match: Option<&str>,
    ) -> Result<Result<Said, Refusal>, Ending> {
        // A server closes what was idle for long, such as while somebody reads a plan.
        let mut kept = self.open.take();
        if let Some(open) = &mut kept
            && open.sender.ready().await.is_err()
        {
            kept = None;
        }
        let mut open = match kept {
            Some(open) => open,
            None => self.server.open().await?,
        };
        let (kind, bytes) = match body {
            Body::None => (None, Bytes::new()),
            Body::Json(json) => (Some("application/json"), Bytes::from(json.to_string())),
            Body::Yaml(text) => (Some("application/yaml"), Bytes::copy_from_slice(text.as_bytes())),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", open.at.path.trim_end_matches('/')))
            .header(header::HOST, open.at.origin.authority())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::USER_AGENT, concat!("latchstring/", env!("CARGO_PKG_VERSION")));
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(tag) = if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        let request = request
            .body(Full::new(bytes))
            .map_err(|error| usage(format!("{path} cannot be asked for: {error}")))?;
        let answer = open.send(request).await?;
        let status = answer.status();
        let etag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| usage(format!("the answer broke off: {error}")))?.to_bytes();
        let said = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body)
                .map_err(|_| usage(format!("what answered {status} at {} is no Latchstring", open.at)))?,
        };
        self.open = Some(open);
        Ok(match status.is_success() {
            true => Ok(Said { body: said, etag }),
            false => Err(Refusal { status: status.as_u16(), body: said }),
        })
    }

    /// What has to be there: a refusal ends the command.
    pub async fn get(&mut self, path: &str) -> Result<Said, Ending> {
        Ok(self.ask("GET", path, Body::None, None).await??)
    }

    /// All pages of a list. `path` may have a query.
    pub async fn list(&mut self, path: &str) -> Result<Result<Vec<Value>, Refusal>, Ending> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        let join = if path.contains('?') { '&' } else { '?' };
        loop {
            let page =
                match self.ask("GET", &format!("{path}{join}limit=200{cursor}"), Body::None, None).await? {
                    Ok(page) => page.body,
                    Err(refusal) => return Ok(Err(refusal)),
                };
            all.extend(page["items"].as_array().into_iter().flatten().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", part(next)),
                None => return Ok(Ok(all)),
            }
        }
    }
}
