//! Authorization code with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 9207), refresh tokens that are used once, and
//! userinfo: enough of a provider to see what consent looks like. The page signs nobody in: there is one person,
//! and whoever reaches this loopback port may be her.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use latchstring_model::Entropy;
use serde_json::json;

use crate::Sandbox;
use crate::demo::DEMO;
use crate::form;

/// Seconds that a code is good for.
const CODE_TTL: i64 = 60;
/// So many codes and refresh tokens are remembered at most.
const MOST: usize = 1_000;

/// What a person agreed to.
#[derive(Clone, Debug)]
pub struct Agreed {
    pub scopes: Vec<String>,
    redirect_uri: String,
    challenge: String,
    expires: i64,
}

#[derive(Default)]
pub struct Consents {
    codes: Mutex<HashMap<String, Agreed>>,
    /// Refresh token → scopes.
    refresh: Mutex<HashMap<String, Vec<String>>>,
}

pub fn random(prefix: &str, entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 24];
    entropy.fill(&mut bytes);
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn put<V>(into: &Mutex<HashMap<String, V>>, key: String, value: V) {
    let mut map = into.lock().unwrap_or_else(PoisonError::into_inner);
    if map.len() >= MOST {
        map.clear();
    }
    map.insert(key, value);
}

impl Consents {
    /// A code is good once, whatever comes of it.
    pub fn take(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        now: i64,
    ) -> Result<Vec<String>, &'static str> {
        let taken = self.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(code);
        let agreed =
            taken.filter(|agreed| agreed.expires > now).ok_or("the code is unknown, used or too old")?;
        if agreed.redirect_uri != redirect_uri {
            return Err("the code was given to another redirect_uri");
        }
        if URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) != agreed.challenge {
            return Err("the code_verifier does not fit");
        }
        Ok(agreed.scopes)
    }

    /// Used once: the next one takes its place.
    pub fn renew(&self, token: &str) -> Option<Vec<String>> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).remove(token)
    }

    pub fn keep(&self, scopes: &[String], entropy: &dyn Entropy) -> String {
        let token = random("sbr_", entropy);
        put(&self.refresh, token.clone(), scopes.to_vec());
        token
    }
}

/// The request that the page is shown for, checked.
struct Asked {
    redirect_uri: String,
    state: String,
    scopes: Vec<String>,
    challenge: String,
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

fn page(title: &str, body: &str) -> Response {
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} · Sandbox</title><body style=\"font: 1rem/1.5 sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem\">\
         <main><h1>{title}</h1>{body}</main></body></html>"
    );
    let mut response = Html(text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    response
}

/// A request that must not be answered by a redirect: where it would lead is part of what is wrong.
fn wrong(text: &str) -> Response {
    let mut response = page("This link is not right", &format!("<p>{}</p>", escape(text)));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// A loopback address: the sandbox's client belongs to whoever runs Latchstring beside it.
fn is_ours(redirect_uri: &str) -> bool {
    let rest = redirect_uri.strip_prefix("http://").or_else(|| redirect_uri.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let host = authority.strip_prefix('[').map_or_else(
        || authority.split(':').next().unwrap_or_default(),
        |rest| rest.split(']').next().unwrap_or_default(),
    );
    matches!(host, "127.0.0.1" | "localhost" | "::1") && !redirect_uri.chars().any(char::is_control)
}

fn read(query: &str) -> Result<Asked, String> {
    let params =
        form::read(query.as_bytes()).ok_or("The request cannot be read, or names a parameter twice.")?;
    let text = |name: &str| params.get(name).cloned().unwrap_or_default();
    if text("client_id") != DEMO.client_id {
        return Err(format!(
            "There is no client `{}`; the sandbox has {}.",
            text("client_id"),
            DEMO.client_id
        ));
    }
    if !is_ours(&text("redirect_uri")) {
        return Err("The sandbox sends people back to loopback addresses only.".into());
    }
    if text("response_type") != "code"
        || text("code_challenge_method") != "S256"
        || text("code_challenge").is_empty()
    {
        return Err("The sandbox wants response_type=code, and PKCE with S256.".into());
    }
    let scopes: Vec<String> = text("scope").split_whitespace().map(str::to_owned).collect();
    if let Some(unknown) = scopes.iter().find(|scope| !DEMO.scopes.contains(&scope.as_str())) {
        return Err(format!("There is no scope `{unknown}`; there are {}.", DEMO.scopes.join(" and ")));
    }
    Ok(Asked {
        redirect_uri: text("redirect_uri"),
        state: text("state"),
        scopes,
        challenge: text("code_challenge"),
    })
}

/// `GET /oauth/authorize`: may they?
pub async fn ask(RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let asked = match read(&query) {
        Ok(asked) => asked,
        Err(text) => return wrong(&text),
    };
    let boxes: String = asked
        .scopes
        .iter()
        .map(|scope| {
            let scope = escape(scope);
            format!("<p><label><input type=\"checkbox\" name=\"granted\" value=\"{scope}\" checked> {scope}</label></p>")
        })
        .collect();
    page(
        "Let Latchstring in?",
        &format!(
            "<p>You are <strong>{}</strong> here. <strong>{}</strong> asks for:</p>\
             <form method=\"post\" action=\"/oauth/authorize?{}\">{boxes}\
             <p><button name=\"answer\" value=\"allow\">Allow</button> <button name=\"answer\" value=\"deny\">Deny</button></p></form>",
            DEMO.subject,
            DEMO.client_id,
            escape(&query)
        ),
    )
}

/// `POST /oauth/authorize`: the person's answer.
pub async fn answer(State(sandbox): State<Arc<Sandbox>>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let asked = match read(&query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(text) => return wrong(&text),
    };
    // Checkboxes come with one name, several times.
    let text = String::from_utf8_lossy(&body);
    let pairs: Vec<(String, String)> = text
        .split('&')
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((form::decode(name)?, form::decode(value)?))
        })
        .collect();
    let ticked = |scope: &String| pairs.iter().any(|(name, value)| name == "granted" && value == scope);
    let granted: Vec<String> = asked.scopes.iter().filter(|scope| ticked(scope)).cloned().collect();
    let allowed = pairs.iter().any(|(name, value)| name == "answer" && value == "allow");
    let result = if allowed && !granted.is_empty() {
        let code = random("sbc_", sandbox.entropy.as_ref());
        let agreed = Agreed {
            scopes: granted,
            redirect_uri: asked.redirect_uri.clone(),
            challenge: asked.challenge,
            expires: sandbox.now() + CODE_TTL,
        };
        put(&sandbox.consents.codes, code.clone(), agreed);
        format!("code={code}")
    } else {
        "error=access_denied&error_description=The+person+said+no.".to_owned()
    };
    let join = if asked.redirect_uri.contains('?') { '&' } else { '?' };
    let issuer = encode(&sandbox.base_url);
    let back = format!("{}{join}{result}&state={}&iss={issuer}", asked.redirect_uri, encode(&asked.state));
    Redirect::to(&back).into_response()
}

/// `GET /oauth/userinfo` (OpenID Connect Core section 5.3).
pub async fn userinfo(State(sandbox): State<Arc<Sandbox>>, headers: HeaderMap) -> Response {
    let line = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = line.strip_prefix("Bearer ").unwrap_or_default();
    match sandbox.tokens.find(token, sandbox.now()) {
        Some(grant) => Json(json!({"sub": grant.subject, "email": grant.subject})).into_response(),
        None => {
            let mut response =
                (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_token"}))).into_response();
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"sandbox\", error=\"invalid_token\""),
            );
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_to_loopback_addresses_only() {
        for (uri, ours) in [
            ("http://127.0.0.1:5282/oauth/callback/x", true),
            ("http://localhost/x", true),
            ("https://[::1]:1/x", true),
            ("http://127.0.0.1.evil.example/x", false),
            ("http://evil.example/127.0.0.1", false),
            ("http://127.0.0.1@evil.example/", false),
            ("javascript:alert(1)", false),
            ("", false),
        ] {
            assert_eq!(is_ours(uri), ours, "{uri}");
        }
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
