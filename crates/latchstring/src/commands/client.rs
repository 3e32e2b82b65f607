//! A running server, asked by a command.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use latchstring_egress::{Configured, Egress, Wire};
use latchstring_model::address::Address;

use crate::Ending;

/// Which server, and as whom.
#[derive(clap::Args)]
pub struct Server {
    /// The server
    #[arg(long, env = "LATCHSTRING_URL", default_value = "http://127.0.0.1:5282")]
    url: String,
    /// The key; better in the environment than in the shell's history
    #[arg(long, env = "LATCHSTRING_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
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
        // Loopback and private servers are what these commands are for: the operator names the host.
        let egress = Egress::new(latchstring_egress::Settings {
            allow: everywhere(),
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
