//! `latchstring call CREDENTIAL METHOD PATH`: one call through a running server, for people and shell scripts.
//! The answer's body goes to standard output as it comes; the exit code is 0 for a 2xx or 3xx.

use std::io::{Read, Write};

use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};

use super::client::{Server, part, usage};
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
    /// Path (and query) below the API's base URL; "" for the base URL as it is written
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
    #[command(flatten)]
    server: Server,
    /// Print status and headers to standard error
    #[arg(long, short = 'i')]
    include: bool,
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
    let key = call.server.key("a project admin makes a service key")?;
    let server = call.server.address()?;
    let method = Method::from_bytes(call.method.to_ascii_uppercase().as_bytes())
        .map_err(|_| usage(format!("{} is no HTTP method", call.method)))?;
    // As it is given: what the API makes of two slashes, or of none, is its own.
    let slash = if call.path.is_empty() || call.path.starts_with(['/', '?']) { "" } else { "/" };
    let before = server.path.trim_end_matches('/');
    let path = format!("{before}/proxy/{}{slash}{}", part(&call.credential), call.path);
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
    let answer = call.server.open().await?.send(request).await?;
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
