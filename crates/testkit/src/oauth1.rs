//! `oauthlib` (PyPI) as the other side of OAuth 1.0a: a judge of single requests, and a whole provider.

use serde_json::{Value, json};

use crate::http;
use crate::process::{Helper, ask, python};

/// What `oauthlib` says to requests; tests/e2e/oauth1_oauthlib.py has the members of a question and of an answer.
pub fn oauthlib(cases: &[Value]) -> Vec<Value> {
    let answers = ask(&mut python("oauth1_oauthlib.py"), &json!(cases));
    let answers = answers.as_array().expect("a list of judgements").clone();
    assert_eq!(answers.len(), cases.len(), "one judgement for each case");
    answers
}

/// A provider with its API, as tests/e2e/oauth1_server.py describes it.
pub struct OAuth1Provider {
    helper: Helper,
}

impl OAuth1Provider {
    pub const CONSUMER_KEY: &'static str = "latchstring";
    pub const CONSUMER_SECRET: &'static str = "the consumer's secret &=%";

    pub fn start() -> Self {
        Self::with(&json!({"consumer_secret": Self::CONSUMER_SECRET}))
    }

    /// `{"consumer_secret", "public_key": PEM, "settings": {…}}`.
    pub fn with(config: &Value) -> Self {
        Self { helper: Helper::start(python("oauth1_server.py").arg(config.to_string())) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.helper.said("url")
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url())
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        self.url().trim_start_matches("http://").to_owned()
    }

    pub fn set(&self, settings: &Value) {
        self.admin("settings", settings);
    }

    /// Requests since the start or the last reset, as `"POST /token" → 3`.
    pub fn count(&self, what: &str) -> u64 {
        http::get(&self.at("/admin/counts"), &[]).json()[what].as_u64().unwrap_or(0)
    }

    pub fn reset_counts(&self) {
        self.admin("counts", &json!({}));
    }

    /// Paths and `Authorization` headers, in order.
    pub fn seen(&self) -> Vec<Value> {
        http::get(&self.at("/admin/seen"), &[]).json().as_array().expect("a list").clone()
    }

    /// The person takes everything back.
    pub fn revoke_all(&self) {
        self.admin("revoke", &json!({}));
    }

    /// A token that is there already: `{access_token, token_secret}`.
    pub fn grant(&self) -> Value {
        self.admin("grant", &json!({}))
    }

    /// What the person's browser is sent back to after the provider's page.
    pub fn browse(&self, page: &str) -> String {
        let answer = http::get(page, &[]);
        assert_eq!(answer.status, 302, "{page}: {}", answer.text());
        answer.header("location").expect("a redirect").to_owned()
    }

    fn admin(&self, what: &str, body: &Value) -> Value {
        let answer = http::post_json(&self.at(&format!("/admin/{what}")), body);
        assert_eq!(answer.status, 200, "/admin/{what}: {}", answer.text());
        answer.json()
    }
}
