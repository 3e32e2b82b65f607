//! `latchstring oauth-clients`: which there are, with what a provider's form wants; or, for one, that alone, to be
//! copied or piped: `latchstring oauth-clients "Zoom of sales" | xclip`.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::client::{Open, Server, usage};
use super::{on_runtime, print, say};
use crate::Ending;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  export LATCHSTRING_URL=http://127.0.0.1:5282 LATCHSTRING_API_KEY=lst_…\n  latchstring oauth-clients\n  latchstring oauth-clients 'Zoom of the sales team'      the redirect URI alone, for the provider's form"
)]
pub struct OAuthClients {
    /// An OAuth client's id or name: its redirect URI is printed and nothing else
    client: Option<String>,
    /// Those that this project may use
    #[arg(long, env = "LATCHSTRING_PROJECT")]
    project: Option<String>,
    #[command(flatten)]
    server: Server,
}

pub fn run(wanted: OAuthClients) -> Ending {
    on_runtime(async move { show(wanted).await })
}

async fn show(wanted: OAuthClients) -> Result<Ending, Ending> {
    let key = wanted.server.key("a personal key with the scope manage")?.to_owned();
    let mut server = wanted.server.open().await?;
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = page(&mut server, &key, wanted.project.as_deref(), cursor.as_deref()).await?;
        all.extend(page["items"].as_array().into_iter().flatten().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    let text = |client: &Value, name: &str| client[name].as_str().unwrap_or_default().to_owned();
    let Some(named) = wanted.client else {
        for client in &all {
            let draft = if client["draft"] == true { ", a draft" } else { "" };
            print(&format!(
                "{}  ({}{draft})\n  id            {}\n  redirect URI  {}",
                text(client, "name"),
                text(client, "connector"),
                text(client, "id"),
                text(client, "redirect_uri")
            ));
        }
        if all.is_empty() {
            say("There are no OAuth clients here. A superuser makes them: POST /api/v1/oauth-clients.");
        }
        return Ok(Ending::Good);
    };
    let found: Vec<&Value> =
        all.iter().filter(|client| text(client, "id") == named || text(client, "name") == named).collect();
    match found.as_slice() {
        [client] => {
            print(&text(client, "redirect_uri"));
            Ok(Ending::Good)
        }
        [] => Err(usage(format!(
            "there is no OAuth client `{named}` among those that this key sees; without a name all are listed"
        ))),
        several => {
            let ids: Vec<String> = several.iter().map(|client| text(client, "id")).collect();
            Err(usage(format!(
                "several OAuth clients are called `{named}`; name one by its id: {}",
                ids.join(", ")
            )))
        }
    }
}

async fn page(
    server: &mut Open,
    key: &str,
    project: Option<&str>,
    cursor: Option<&str>,
) -> Result<Value, Ending> {
    let query = query(&[("limit", Some("200")), ("project", project), ("cursor", cursor)]);
    let request = Request::builder()
        .uri(format!("{}/api/v1/oauth-clients?{query}", server.at.path.trim_end_matches('/')))
        .header("host", server.at.origin.authority())
        .header("authorization", format!("Bearer {key}"))
        .header("user-agent", concat!("latchstring/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::new()))
        .map_err(|error| usage(format!("the list cannot be asked for: {error}")))?;
    let answer = server.send(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| usage(format!("the answer broke off: {error}")))?.to_bytes();
    let said: Value = serde_json::from_slice(&body)
        .map_err(|_| usage(format!("what answered {status} at {} is no Latchstring", server.at)))?;
    if status.is_success() {
        return Ok(said);
    }
    let text = |name: &str| said[name].as_str().unwrap_or_default();
    Err(usage(format!("{} {}", text("detail"), text("hint")).trim().to_owned()))
}

/// Names are ours; values are encoded whatever they are.
fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let given = given.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    given.collect::<Vec<_>>().join("&")
}
