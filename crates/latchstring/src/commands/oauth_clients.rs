//! `latchstring oauth-clients`: which there are, with what a provider's form wants; or, for one, that alone, to be
//! copied or piped: `latchstring oauth-clients "Zoom of sales" | xclip`.

use serde_json::Value;

use super::client::{Api, Server, part, usage};
use super::{on_runtime, print, say};
use crate::Ending;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  export LATCHSTRING_URL=http://127.0.0.1:5282 LATCHSTRING_API_KEY=lst_…\n  latchstring oauth-clients\n  latchstring oauth-clients 'Zoom of the sales team'      the redirect URI alone, for the provider's form\n  latchstring oauth-clients --json | jq -r '.[].redirect_uri'"
)]
pub struct OAuthClients {
    /// An OAuth client's id or name: its redirect URI is printed and nothing else
    client: Option<String>,
    /// Those that this project may use
    #[arg(long, env = "LATCHSTRING_PROJECT")]
    project: Option<String>,
    /// Print what the API says of them, as JSON: a list, or the one that is named
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub fn run(wanted: OAuthClients) -> Ending {
    on_runtime(async move { show(wanted).await })
}

async fn show(wanted: OAuthClients) -> Result<Ending, Ending> {
    let mut api = Api::new(wanted.server, "a personal key with the scope manage")?;
    let of = wanted.project.map(|project| format!("?project={}", part(&project))).unwrap_or_default();
    let all = api.list(&format!("/oauth-clients{of}")).await??;
    let text = |client: &Value, name: &str| client[name].as_str().unwrap_or_default().to_owned();
    let Some(named) = wanted.client else {
        if wanted.json {
            print(&Value::Array(all).to_string());
            return Ok(Ending::Good);
        }
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
            print(&if wanted.json { client.to_string() } else { text(client, "redirect_uri") });
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
