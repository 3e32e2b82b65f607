//! A token endpoint's answer, read as the world sends it (RFC 6749 §5, and [`AnswerRules`] for the rest).

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use latchstring_model::{SecretString, Timestamp};
use serde_json::{Map, Value};

use super::ANSWER_LIMIT;
use super::authorize::form_decode;
use super::date::parse_date;
use super::error::{ErrorClass, OAuthError};
use super::grant::DeviceAuthorization;
use super::json_path::{Path, Paths, plain};
use super::rules::{AnswerForm, AnswerRules, ExpiryFormat, NamedToken, ScopeSeparator};
use crate::token::{Metadata, TokenSet};
use crate::wire::WireAnswer;

/// An end further away than this says nothing: providers write it for "never" or by mistake.
const FAR_MS: i64 = 10 * 366 * 24 * 3600 * 1000;

/// Longer waits than a day are not kept: a provider that says so is tried again tomorrow.
const LONGEST_WAIT_SECS: u32 = 24 * 3600;

impl AnswerRules {
    /// What an answer means. `sent_at` is from before the request was sent.
    pub fn read(&self, answer: &WireAnswer, sent_at: Timestamp) -> Result<TokenSet, OAuthError> {
        let ok = (200..300).contains(&answer.status);
        let body = match self.parse(answer) {
            Ok(body) => body,
            Err(error) if ok => return Err(error.status(answer.status)),
            Err(_) => Value::Null,
        };
        if ok
            && (!self.error_wins || self.error.find(&body).and_then(truthy).is_none())
            && self.succeeded(&body)
            && let Some(token) = self.token(&body, sent_at)
        {
            return Ok(token);
        }
        Err(self.error(answer, &body, sent_at))
    }

    /// RFC 8628 §3.2.
    pub(super) fn read_device(
        &self,
        answer: &WireAnswer,
        sent_at: Timestamp,
    ) -> Result<DeviceAuthorization, OAuthError> {
        let body = match self.parse(answer) {
            Ok(body) => body,
            Err(error) if answer.status == 200 => return Err(error.status(answer.status)),
            Err(_) => Value::Null,
        };
        let text = |name: &str| body.get(name).and_then(plain);
        let number = |name: &str| {
            body.get(name).and_then(number).map(|n| n as i64).filter(|n| (1..=86_400).contains(n))
        };
        let found = (
            text("device_code"),
            text("user_code"),
            text("verification_uri").or_else(|| text("verification_url")),
        );
        match found {
            (Some(device_code), Some(user_code), Some(verification_uri))
                if (200..300).contains(&answer.status) =>
            {
                Ok(DeviceAuthorization {
                    device_code: device_code.into(),
                    user_code,
                    verification_uri,
                    verification_uri_complete: text("verification_uri_complete"),
                    expires_at: sent_at.plus_secs(number("expires_in").unwrap_or(600)),
                    interval_secs: number("interval").unwrap_or(5),
                })
            }
            _ => Err(self.error(answer, &body, sent_at)),
        }
    }

    fn parse(&self, answer: &WireAnswer) -> Result<Value, OAuthError> {
        let not = |what: &str| Err(OAuthError::new(ErrorClass::NotAToken).what(what));
        if answer.truncated || answer.body.len() > ANSWER_LIMIT {
            return not("the token endpoint's answer is longer than 1 MiB, which no token is");
        }
        let Ok(text) = std::str::from_utf8(&answer.body) else {
            return not(
                "the token endpoint's answer is not text; it may be compressed or in another character set",
            );
        };
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return not("the token endpoint answered without a body");
        }
        match self.form {
            AnswerForm::Text => return Ok(Value::from(text)),
            AnswerForm::Form => return Ok(form(text)),
            AnswerForm::Auto | AnswerForm::Json => {}
        }
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            // Some gateways send the JSON once more as a JSON text.
            if let Some(inner) =
                value.as_str().and_then(|t| serde_json::from_str::<Value>(t).ok()).filter(Value::is_object)
            {
                return Ok(inner);
            }
            if value.is_object() || value.is_array() {
                return Ok(value);
            }
        }
        if looks_like_markup(answer, text) {
            return not("the token endpoint answered with a web page");
        }
        if self.form == AnswerForm::Auto && looks_like_form(text) {
            return Ok(form(text));
        }
        match text.starts_with(['{', '[']) {
            true => Err(OAuthError::new(ErrorClass::Ambiguous)
                .what("the token endpoint's answer is damaged JSON; it may have been cut off on the way")),
            false => not("the token endpoint's answer is neither JSON nor form-encoded"),
        }
    }

    fn succeeded(&self, body: &Value) -> bool {
        self.success.iter().all(|rule| rule.path.find(body) == Some(&rule.equals))
    }

    fn token(&self, body: &Value, sent_at: Timestamp) -> Option<TokenSet> {
        let text = match (self.form, body) {
            (AnswerForm::Text, Value::String(text)) => Some(text.clone()),
            _ => self.access_token.text(body),
        };
        let mut named = std::collections::BTreeMap::new();
        for (name, rules) in &self.named {
            match rules.read(body, &self.scope_separator, sent_at) {
                Some(token) => {
                    named.insert(name.clone(), token);
                }
                None if rules.required => return None,
                None => {}
            }
        }
        let mut token = TokenSet::new(text.filter(|text| is_token(text))?, sent_at);
        token.token_type = self.token_type.text(body);
        token.refresh_token = self.refresh_token.text(body).map(SecretString::from);
        token.id_token = self.id_token.text(body).map(SecretString::from);
        token.scopes = scopes(&self.scope, &self.scope_separator, body);
        let said = end(&self.expiry, self.expiry_format, body, token.access_token.expose(), sent_at);
        token.expires_at = if self.expiry_format == ExpiryFormat::Never {
            None
        } else {
            capped(said, self.ttl, sent_at).or_else(|| self.default_ttl.map(|secs| sent_at.plus_secs(secs)))
        };
        token.grant_expires_at = end(&self.grant_expiry, self.grant_expiry_format, body, "", sent_at);
        token.metadata = self.metadata(body);
        token.named = named;
        Some(token)
    }

    fn metadata(&self, body: &Value) -> Metadata {
        let Value::Object(fields) = body else { return Metadata::default() };
        let Some(wanted) = &self.metadata else {
            let used: BTreeSet<&str> = self.used().collect();
            let rest =
                fields.iter().filter(|(name, value)| !used.contains(name.as_str()) && !value.is_null());
            return Metadata::new(rest.map(|(name, value)| (name.clone(), value.clone())).collect());
        };
        let found = wanted.iter().filter_map(|(name, path)| Some((name.clone(), path.find(body)?.clone())));
        Metadata::new(found.filter(|(_, value)| !value.is_null()).collect())
    }

    /// Top-level fields that have a meaning of their own and therefore are not metadata.
    fn used(&self) -> impl Iterator<Item = &str> {
        const ALWAYS: [&str; 6] =
            ["access_token", "refresh_token", "id_token", "token_type", "expires_in", "error_description"];
        let own = [
            &self.access_token,
            &self.token_type,
            &self.refresh_token,
            &self.id_token,
            &self.scope,
            &self.expiry,
            &self.grant_expiry,
        ];
        let named = self.named.values().flat_map(|n| [&n.access_token, &n.refresh_token]);
        ALWAYS.into_iter().chain(own.into_iter().chain(named).flat_map(Paths::iter).map(Path::head))
    }

    fn error(&self, answer: &WireAnswer, body: &Value, sent_at: Timestamp) -> OAuthError {
        let word =
            self.error.iter().filter_map(|path| path.find(body)).filter_map(truthy).find_map(plain_or_true);
        let description = self.error_description.text(body).filter(|text| Some(text) != word.as_ref());
        let ok = (200..300).contains(&answer.status);
        let said_error = word.is_some() || !self.succeeded(body);
        let class = self.class(answer.status, word.as_deref(), description.as_deref(), said_error);
        let error = OAuthError::new(class)
            .status(answer.status)
            .words(word, description)
            .retry_after(retry_after(answer, sent_at));
        match class {
            ErrorClass::NotAToken if ok => error.what(self.without_token(body)),
            ErrorClass::NotAToken if (300..400).contains(&answer.status) => {
                error.what("the token endpoint redirected; redirects are not followed, because they would take the secrets along")
            }
            _ => error,
        }
    }

    fn class(
        &self,
        status: u16,
        word: Option<&str>,
        description: Option<&str>,
        said_error: bool,
    ) -> ErrorClass {
        let own = |text: &str| {
            let found = self.errors.iter().find(|(known, _)| known.eq_ignore_ascii_case(text));
            found.map(|(_, class)| *class)
        };
        // The connector knows best, then the pace of the server, then the word.
        if let Some(class) = word.and_then(own) {
            return class;
        }
        if let Some(text) = description {
            let lower = text.to_lowercase();
            let found = self.errors.iter().find(|(known, _)| lower.contains(&known.to_lowercase()));
            if let Some((_, class)) = found {
                return *class;
            }
        }
        if matches!(status, 408 | 425 | 429 | 500..=599) {
            return ErrorClass::Transient;
        }
        let class = word.map(|w| w.to_ascii_lowercase()).and_then(|word| known(&word));
        match (class, status) {
            (Some(class), _) => class,
            (None, 200..=299) if !said_error => ErrorClass::NotAToken,
            (None, 300..=399) => ErrorClass::NotAToken,
            (None, 401) => ErrorClass::WrongClient,
            (None, 404 | 405) if word.is_none() => ErrorClass::NotAToken,
            (None, 400..=499 | 200..=299) => ErrorClass::Rejected,
            _ => ErrorClass::NotAToken,
        }
    }

    /// Which fields were there: their names help to write the connector's rules.
    fn without_token(&self, body: &Value) -> String {
        let harmless = |name: &&String| {
            name.len() <= 40
                && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-' || b == b'.')
        };
        let names: Vec<&str> = match body {
            Value::Object(fields) => fields.keys().filter(harmless).take(8).map(String::as_str).collect(),
            _ => Vec::new(),
        };
        let wanted = self.access_token.iter().next().map_or("access_token", Path::as_str);
        match names.is_empty() {
            true => format!("the token endpoint's answer has no {wanted}"),
            false => format!("the token endpoint's answer has no {wanted}; it has {}", names.join(", ")),
        }
    }
}

impl NamedToken {
    fn read(&self, body: &Value, separator: &ScopeSeparator, sent_at: Timestamp) -> Option<TokenSet> {
        let mut token = TokenSet::new(self.access_token.text(body).filter(|text| is_token(text))?, sent_at);
        token.token_type = self.token_type.text(body);
        token.refresh_token = self.refresh_token.text(body).map(SecretString::from);
        token.scopes = scopes(&self.scope, separator, body);
        if self.expiry_format != ExpiryFormat::Never {
            let said = end(&self.expiry, self.expiry_format, body, token.access_token.expose(), sent_at);
            token.expires_at = capped(said, self.ttl, sent_at);
        }
        Some(token)
    }
}

/// The words of RFC 6749 §5.2, 8628 §3.5, OpenID Connect Core §3.1.2.6, and near spellings that
/// several providers share.
fn known(word: &str) -> Option<ErrorClass> {
    Some(match word {
        "invalid_grant"
        | "invalid_refresh_token"
        | "bad_refresh_token"
        | "token_revoked"
        | "token_expired"
        | "expired_token"
        | "access_denied"
        | "interaction_required"
        | "login_required"
        | "consent_required"
        | "bad_verification_code" => ErrorClass::DeadGrant,
        "invalid_client"
        | "unauthorized_client"
        | "invalid_client_id"
        | "invalid_client_secret"
        | "bad_client_secret"
        | "incorrect_client_credentials"
        | "invalid_client_credentials" => ErrorClass::WrongClient,
        "temporarily_unavailable"
        | "server_error"
        | "service_unavailable"
        | "internal_error"
        | "internal_server_error"
        | "rate_limited"
        | "ratelimited"
        | "rate_limit_exceeded"
        | "too_many_requests"
        | "request_timeout" => ErrorClass::Transient,
        "authorization_pending" => ErrorClass::Pending,
        "slow_down" => ErrorClass::SlowDown,
        "invalid_scope"
        | "invalid_request"
        | "unsupported_grant_type"
        | "unsupported_token_type"
        | "invalid_target"
        | "redirect_uri_mismatch" => ErrorClass::Rejected,
        _ => return None,
    })
}

/// `null`, `false`, `0` and empty texts, lists and objects in an error field mean "no error".
fn truthy(value: &Value) -> Option<&Value> {
    let empty = match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty() || text == "0",
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    };
    (!empty).then_some(value)
}

fn plain_or_true(value: &Value) -> Option<String> {
    match value {
        Value::Bool(true) => Some("error".to_owned()),
        Value::Array(items) => items.iter().find_map(plain),
        other => plain(other),
    }
}

/// A token is one printable word: what `Authorization` can carry.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
        && !matches!(text, "null" | "undefined" | "None" | "nil")
}

fn looks_like_markup(answer: &WireAnswer, text: &str) -> bool {
    let html =
        answer.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|t| t.contains("html"));
    text.starts_with('<') || (html && !looks_like_form(text))
}

fn looks_like_form(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '{' | '}');
    text.chars().all(plain)
        && text.split('&').next().and_then(|pair| pair.split_once('=')).is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.[]%".contains(&b))
        })
}

/// A doubled parameter is a malformed answer (RFC 6749 §3.2); the first counts.
fn form(text: &str) -> Value {
    let mut fields = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        fields.entry(form_decode(name)).or_insert_with(|| form_decode(value).into());
    }
    Value::Object(fields)
}

fn scopes(paths: &Paths, separator: &ScopeSeparator, body: &Value) -> Option<Vec<String>> {
    let list: Vec<String> = match paths.find(body)? {
        Value::Array(items) => items.iter().filter_map(plain).collect(),
        Value::String(text) => match separator {
            ScopeSeparator::Exactly(exact) => text.split(exact.as_str()).map(str::to_owned).collect(),
            ScopeSeparator::Auto if text.trim().contains(char::is_whitespace) => {
                text.split_whitespace().map(|word| word.trim_matches(',').to_owned()).collect()
            }
            ScopeSeparator::Auto => text.split(',').map(str::to_owned).collect(),
        },
        // {"read": true, "write": false}
        Value::Object(fields) => {
            fields.iter().filter(|(_, on)| on.as_bool() == Some(true)).map(|(name, _)| name.clone()).collect()
        }
        _ => return None,
    };
    let mut kept: Vec<String> = Vec::new();
    for scope in list {
        let scope = scope.trim();
        if !scope.is_empty() && !kept.iter().any(|k| k == scope) {
            kept.push(scope.to_owned());
        }
    }
    (!kept.is_empty()).then_some(kept)
}

/// `3600`, `3600.0`, `"3600"`, `" 3600 "`, `"3600s"`.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let text = text.trim();
            text.strip_suffix('s').unwrap_or(text).trim().parse::<f64>().ok()
        }
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// The end that the answer names, or nothing if it says nothing usable.
fn end(
    paths: &Paths,
    format: ExpiryFormat,
    body: &Value,
    token: &str,
    sent_at: Timestamp,
) -> Option<Timestamp> {
    let relative = |per_unit: f64| {
        let life = number(paths.find(body)?)? * per_unit;
        // In range, so the cast is exact enough: whole milliseconds.
        (life > 0.0 && life <= FAR_MS as f64).then(|| sent_at.plus_millis(life as i64))
    };
    let absolute = |per_unit: f64| {
        let at = number(paths.find(body)?)? * per_unit;
        (at > 0.0 && at < 9e15).then_some(Timestamp(at as i64))
    };
    let at = match format {
        ExpiryFormat::Seconds => relative(1_000.0),
        ExpiryFormat::Minutes => relative(60_000.0),
        ExpiryFormat::Milliseconds => relative(1.0),
        ExpiryFormat::Epoch => absolute(1_000.0),
        ExpiryFormat::EpochMs => absolute(1.0),
        ExpiryFormat::Date => parse_date(paths.find(body)?.as_str()?),
        ExpiryFormat::JwtExp => jwt_end(token, sent_at),
        ExpiryFormat::Constant | ExpiryFormat::Never => None,
    }?;
    (at > sent_at && at <= sent_at.plus_millis(FAR_MS)).then_some(at)
}

/// `exp`, but never longer than `exp - iat` from now: our clock may be behind the provider's.
fn jwt_end(token: &str, sent_at: Timestamp) -> Option<Timestamp> {
    let payload = token.split('.').nth(1)?;
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?).ok()?;
    let seconds =
        |name: &str| claims.get(name).and_then(number).filter(|n| *n > 0.0 && *n < 9e12).map(|n| n as i64);
    let end = Timestamp::from_secs(seconds("exp")?);
    match seconds("iat") {
        Some(issued) => Some(end.min(sent_at.plus_secs(end.secs().saturating_sub(issued)))),
        None => Some(end),
    }
}

fn capped(said: Option<Timestamp>, ttl: Option<i64>, sent_at: Timestamp) -> Option<Timestamp> {
    match (said, ttl.map(|secs| sent_at.plus_secs(secs))) {
        (Some(said), Some(cap)) => Some(said.min(cap)),
        (said, cap) => said.or(cap),
    }
}

/// RFC 9110 §10.2.3: seconds, or a date, which is measured against the answer's own `Date` where it has one.
fn retry_after(answer: &WireAnswer, sent_at: Timestamp) -> Option<u32> {
    let text = |name| answer.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let wait = text(RETRY_AFTER)?.trim();
    let secs = match wait.parse::<f64>() {
        Ok(secs) if secs.is_finite() => secs.ceil() as i64,
        Ok(_) => return None,
        Err(_) => {
            let here = text(DATE).and_then(parse_date).unwrap_or(sent_at);
            parse_date(wait)?.secs().saturating_sub(here.secs())
        }
    };
    u32::try_from(secs.max(0)).ok().map(|secs| secs.min(LONGEST_WAIT_SECS)).or(Some(LONGEST_WAIT_SECS))
}
