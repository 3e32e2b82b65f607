//! Golden cases of token endpoints' answers: `tests/data/token_answers.json`, one case a line, each
//! with the rule (or documented default) that decides it. Times count from the request, in seconds.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use latchstring_model::Timestamp;
use latchstring_schemes::oauth2::{ANSWER_LIMIT, AnswerRules, ErrorClass, OAuthError};
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::WireAnswer;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    decided_by: String,
    #[serde(default)]
    rules: AnswerRules,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default = "json", rename = "type")]
    media_type: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text as it is, anything else as JSON.
    body: Value,
    want: Map<String, Value>,
}

fn ok() -> u16 {
    200
}

fn json() -> String {
    "application/json".into()
}

fn sent_at() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap()
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../data/token_answers.json")).unwrap()
}

fn answer(case: &Case) -> WireAnswer {
    let mut headers = HeaderMap::new();
    if !case.media_type.is_empty() {
        headers.insert("content-type", HeaderValue::from_str(&case.media_type).unwrap());
    }
    for (name, value) in &case.headers {
        headers
            .insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let body = match &case.body {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    WireAnswer { status: case.status, headers, body: Bytes::from(body), truncated: false }
}

/// What was read, under the names that the cases use; only what the case asks about is compared.
fn shown(token: &TokenSet) -> Map<String, Value> {
    let seconds = |end: Option<Timestamp>| match end {
        Some(end) => Value::from((end.millis() - token.obtained_at.millis()) as f64 / 1_000.0),
        None => Value::Null,
    };
    let named: Map<String, Value> =
        token.named.iter().map(|(name, token)| (name.clone(), Value::Object(shown(token)))).collect();
    let fields = [
        ("access_token", Value::from(token.access_token.expose())),
        ("token_type", token.token_type.clone().into()),
        ("word", token.authorization_word().into()),
        ("refresh_token", token.refresh_token.as_ref().map(|t| t.expose()).into()),
        ("id_token", token.id_token.as_ref().map(|t| t.expose()).into()),
        ("scopes", token.scopes.clone().into()),
        ("life_s", seconds(token.expires_at)),
        ("grant_life_s", seconds(token.grant_expires_at)),
        ("metadata", Value::Object(token.metadata.expose().clone())),
        ("named", Value::Object(named)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn shown_error(error: &OAuthError) -> Map<String, Value> {
    let words = error.provider_words().unwrap_or_default();
    let fields = [
        ("error", serde_json::to_value(error.class).unwrap()),
        ("word", words.error.into()),
        ("description", words.description.into()),
        ("retry_after", error.retry_after_secs.into()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn differences(want: &Map<String, Value>, got: &Map<String, Value>) -> Vec<String> {
    let same = |want: &Value, got: &Value| match (want.as_f64(), got.as_f64()) {
        (Some(want), Some(got)) => (want - got).abs() < 0.001,
        _ => want == got,
    };
    let mut found = Vec::new();
    for (name, want) in want {
        match (want, got.get(name).unwrap_or(&Value::Null)) {
            (Value::Object(want), Value::Object(got)) if name == "named" => {
                if !want.keys().eq(got.keys()) {
                    found.push("other names".to_owned());
                }
                for (name, want) in want {
                    if let (Some(want), Some(got)) =
                        (want.as_object(), got.get(name).and_then(Value::as_object))
                    {
                        found.extend(differences(want, got));
                    }
                }
            }
            (want, got) if same(want, got) => {}
            (want, got) => found.push(format!("{name}: wanted {want}, got {got}")),
        }
    }
    found
}

#[test]
fn every_golden_case_is_read_as_decided() {
    let cases = cases();
    assert!(cases.len() >= 120);
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(!case.decided_by.is_empty());
        let mut want = case.want.clone();
        let says = want.shift_remove("says");
        let found = match case.rules.read(&answer(case), sent_at()) {
            Ok(token) if want.contains_key("error") => vec![format!("read as a token: {:?}", shown(&token))],
            Ok(token) => differences(&want, &shown(&token)),
            Err(error) => {
                let error = error.mask(&[]);
                let mut found = differences(&want, &shown_error(&error));
                if !want.contains_key("error") {
                    found.push(format!("refused: {error}"));
                }
                if let Some(says) = says.as_ref().and_then(Value::as_str)
                    && !error.to_string().contains(says)
                {
                    found.push(format!("does not say {says:?}: {error}"));
                }
                found
            }
        };
        if !found.is_empty() {
            wrong.push(format!("{} ({}): {}", case.name, case.decided_by, found.join("; ")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// What decides a case is a connector's key, which the case then sets, or a documented default: never which provider
/// it is.
#[test]
fn each_case_is_decided_by_a_key_or_a_default() {
    let raw: Vec<Value> = serde_json::from_str(include_str!("../data/token_answers.json")).unwrap();
    for case in &raw {
        let (name, decided_by) = (&case["name"], case["decided_by"].as_str().unwrap());
        let mut keys = decided_by.split([' ', ',']).filter_map(|word| word.strip_prefix("rules."));
        match decided_by.starts_with("rules") {
            true => assert!(
                keys.all(|key| case["rules"].get(key).is_some()) && case["rules"].is_object(),
                "{name}"
            ),
            false => assert!(decided_by.starts_with("default"), "{name}: {decided_by}"),
        }
    }
    // The code that reads answers names no provider of the catalog.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let files = |folder: &str| {
        let found = std::fs::read_dir(format!("{root}/{folder}")).unwrap();
        found.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    let providers: Vec<String> = files("connectors")
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().replace('_', ""))
        // Words of their own.
        .filter(|name| {
            !["http", "raw", "sandbox", "linear", "square", "box", "monday"].contains(&name.as_str())
        })
        .collect();
    assert!(providers.len() > 50);
    for path in files("crates/schemes/src/oauth2").into_iter().chain(files("crates/broker/src/tokens")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let code = code.to_lowercase().replace('_', "");
        for provider in &providers {
            assert!(!code.contains(provider.as_str()), "{} names {provider}", path.display());
        }
    }
}

/// Whatever comes, the error that is shown holds nothing of what was in the answer's other fields.
#[test]
fn errors_show_nothing_but_the_error_fields() {
    for case in cases() {
        let body =
            serde_json::json!({"error": "invalid_grant", "leak": "s3cret-of-the-answer", "access_token": ""});
        let body = Value::Object(match case.body {
            Value::Object(mut fields) => {
                fields.insert("leak".into(), "s3cret-of-the-answer".into());
                fields
            }
            _ => body.as_object().cloned().unwrap_or_default(),
        });
        let case = Case { body, status: 400, ..case };
        if let Err(error) = case.rules.read(&answer(&case), sent_at()) {
            let all = format!("{} {error:?} {}", error.clone().mask(&[]), error.to_problem());
            assert!(!all.contains("s3cret"), "{}: {all}", case.name);
        }
    }
}

#[test]
fn more_than_a_mebibyte_is_no_token() {
    let rules = AnswerRules::default();
    let body = |len: usize| {
        let start = r#"{"access_token":"at","padding":""#;
        format!("{start}{}\"}}", "x".repeat(len - start.len() - 2))
    };
    let read = |body: String, truncated: bool| {
        let answer =
            WireAnswer { status: 200, headers: HeaderMap::new(), body: Bytes::from(body), truncated };
        rules.read(&answer, sent_at()).map_err(|error| error.class)
    };
    assert!(read(body(ANSWER_LIMIT), false).is_ok());
    assert_eq!(read(body(ANSWER_LIMIT + 1), false).err(), Some(ErrorClass::NotAToken));
    assert_eq!(read(body(1_000), true).err(), Some(ErrorClass::NotAToken));
}

#[test]
fn bytes_that_are_no_text_are_no_token() {
    let body = Bytes::from_static(&[0x1f, 0x8b, 0x08, 0x00, 0xff]);
    let answer = WireAnswer { status: 200, headers: HeaderMap::new(), body, truncated: false };
    let error = AnswerRules::default().read(&answer, sent_at()).err().unwrap();
    assert_eq!(error.class, ErrorClass::NotAToken);
    assert!(error.to_string().contains("compressed"));
}

#[test]
fn a_misspelt_rule_is_refused() {
    assert!(serde_json::from_str::<AnswerRules>(r#"{"acess_token": "x"}"#).is_err());
    assert!(serde_json::from_str::<AnswerRules>(r#"{"expiry_format": "fortnights"}"#).is_err());
    let rules: AnswerRules = serde_json::from_str(r#"{"scope_separator": ","}"#).unwrap();
    let again: AnswerRules = serde_json::from_value(serde_json::to_value(&rules).unwrap()).unwrap();
    assert_eq!(rules, again);
}

/// Cut anywhere, a good answer never panics and never gives another token than the whole one.
#[test]
fn cut_and_garbled_answers_never_give_another_token() {
    let whole = r#"{"access_token":"at-0123456789","expires_in":3600,"scope":"a b","refresh_token":"rt"}"#;
    let read = |body: &[u8]| {
        let body = Bytes::copy_from_slice(body);
        let answer = WireAnswer { status: 200, headers: HeaderMap::new(), body, truncated: false };
        AnswerRules::default().read(&answer, sent_at())
    };
    for cut in 0..whole.len() {
        assert!(read(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..whole.len() {
        for byte in [0, b'"', b'{', b'}', b'\\', b'<', b'&', b'=', 0xff] {
            let mut garbled = whole.as_bytes().to_vec();
            garbled[at] = byte;
            drop(read(&garbled));
        }
    }
}
