//! `latchstring call CREDENTIAL METHOD PATH`: one call through a running server, for people and shell scripts.
//! The answer's body goes to standard output as it comes; the exit code is 0 for a 2xx or 3xx.

use std::io::{Read, Write};

use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use latchstring_egress::{Configured, Egress, Wire};
use latchstring_model::address::Address;

use super::{on_runtime, say};
use crate::Ending;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  export LATCHSTRING_URL=http://127.0.0.1:5282 LATCHSTRING_API_KEY=lst_…\n  latchstring call sandbox GET /v1/people?limit=2\n\nWith a personal key also name --project and --environment."
)]
pub struct Call {
    /// The credential's slug in the project, or its id
    credential: String,
    /// HTTP method
    method: String,
    /// Path (and query) below the API's base URL
    path: String,
    /// A body, or @FILE, or @- for standard input
    #[arg(long, short = 'd', value_name = "BODY")]
    data: Option<String>,
    /// A further header, `name: value`
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,
    /// Project, for a personal key
    #[arg(long, env = "LATCHSTRING_PROJECT")]
    project: Option<String>,
    /// Environment, for a personal key
    #[arg(long, env = "LATCHSTRING_ENVIRONMENT")]
    environment: Option<String>,
    /// The server
    #[arg(long, env = "LATCHSTRING_URL", default_value = "http://127.0.0.1:5282")]
    url: String,
    /// The key; better in the environment than in the shell's history
    #[arg(long, env = "LATCHSTRING_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Print status and headers to standard error
    #[arg(long, short = 'i')]
    include: bool,
}

fn usage(text: impl Into<String>) -> Ending {
    Ending::Stopped(text.into())
}

pub fn run(call: Call) -> Ending {
    on_runtime(async move { make(call).await })
}

fn body(data: Option<&str>) -> Result<Vec<u8>, Ending> {
    match data {
        None => Ok(Vec::new()),
        Some("@-") => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|error| usage(format!("standard input cannot be read: {error}")))?;
            Ok(bytes)
        }
        Some(text) => match text.strip_prefix('@') {
            Some(file) => {
                std::fs::read(file).map_err(|error| usage(format!("{file} cannot be read: {error}")))
            }
            None => Ok(text.as_bytes().to_vec()),
        },
    }
}

async fn make(call: Call) -> Result<Ending, Ending> {
    let key = call.api_key.clone().ok_or_else(|| {
        usage("there is no key: set LATCHSTRING_API_KEY (a project admin makes a service key)")
    })?;
    let server = Address::parse(&call.url).map_err(|error| usage(format!("LATCHSTRING_URL: {error}")))?;
    let method = Method::from_bytes(call.method.to_ascii_uppercase().as_bytes())
        .map_err(|_| usage(format!("{} is no HTTP method", call.method)))?;
    let path = format!(
        "{}/proxy/{}/{}",
        server.path.trim_end_matches('/'),
        call.credential,
        call.path.trim_start_matches('/')
    );
    let mut request = Request::builder().method(method).uri(&path);
    let mut given = vec![
        ("host".to_owned(), server.origin.authority()),
        ("authorization".to_owned(), format!("Bearer {key}")),
        ("user-agent".to_owned(), concat!("latchstring/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    for (name, value) in
        [("latchstring-project", &call.project), ("latchstring-environment", &call.environment)]
    {
        given.extend(value.iter().map(|value| (name.to_owned(), value.clone())));
    }
    for header in &call.headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| usage(format!("{header} is no header; write `name: value`")))?;
        given.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    for (name, value) in given {
        let name = HeaderName::try_from(&name).map_err(|_| usage(format!("{name} is no header name")))?;
        let value = HeaderValue::try_from(&value)
            .map_err(|_| usage(format!("the value of {name} cannot stand in a header")))?;
        request = request.header(name, value);
    }
    let request = request
        .body(Full::new(bytes::Bytes::from(body(call.data.as_deref())?)))
        .map_err(|error| usage(format!("the path {path} cannot be asked for: {error}")))?;
    // Loopback and private servers are what this command is for: the operator names the host.
    let egress = Egress::new(latchstring_egress::Settings {
        allow: everywhere(),
        ..latchstring_egress::Settings::default()
    })
    .map_err(|error| usage(error.to_string()))?;
    let permit = Configured::new(server.origin.clone());
    let wire = if server.origin.https { Wire::Tls } else { Wire::Clear };
    let stream = egress.connect(&permit, None, &server.origin, wire).await.map_err(|error| {
        usage(format!(
            "the server at {} cannot be reached: {}; is it running, and is LATCHSTRING_URL right?",
            server.origin,
            error.operator_reason()
        ))
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| usage(format!("the server does not speak HTTP: {error}")))?;
    tokio::spawn(connection);
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| usage(format!("the server did not answer: {error}")))?;
    if call.include {
        say(&format!("HTTP {}", answer.status()));
        for (name, value) in answer.headers() {
            say(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
    }
    let status = answer.status();
    let mut body = answer.into_body();
    let mut out = std::io::stdout().lock();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| usage(format!("the answer broke off: {error}")))?;
        if let Some(data) = frame.data_ref()
            && (out.write_all(data).is_err() || out.flush().is_err())
        {
            // Whoever read has seen enough (`| head`).
            return Ok(Ending::Good);
        }
    }
    Ok(if status.is_success() || status.is_redirection() { Ending::Good } else { Ending::No })
}

fn everywhere() -> Vec<latchstring_egress::AllowRule> {
    ["0.0.0.0/0", "::/0"].iter().filter_map(|text| text.parse().ok()).collect()
}
