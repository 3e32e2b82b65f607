//! The examples of docs/auth, run as they stand: each `json` block with a connector is stored, each `http` block that
//! asks `/proxy/` is asked, and the `http` blocks behind it are what has to arrive at the API (and, where one is an
//! answer, what the API says to that). `…` stands for anything. A `json jwt` block is what the JWT in the request
//! before it says. A `yaml` block is a connector of the project, and a `json` block without a connector is an OAuth
//! client, which the credential behind it uses.
//!
//! The hosts `api.example.com` and `auth.example.com` are one server here, told apart by their paths.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchstring_testkit::jwt::KeyPair;
use latchstring_testkit::{TestApp, eventually};
use serde_json::{Value, json};

use crate::support::{Authority, Reply, Seen, Upstream, json_reply, localhost, reply, setup};

/// One fenced block, with the line that it begins on.
struct Block {
    line: usize,
    kind: String,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let body: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```")).collect();
        blocks.push(Block { line: at + 2, kind: kind.trim().to_owned(), text: body.join("\n") });
    }
    blocks
}

/// A message as a page shows it.
#[derive(Clone)]
struct Message {
    line: usize,
    first: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Message {
    fn read(block: &Block) -> Self {
        let (head, body) = block.text.split_once("\n\n").unwrap_or((&block.text, ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}"));
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        Self { line: block.line, first, headers, body: body.to_owned() }
    }

    fn words(&self) -> Vec<&str> {
        self.first.split(' ').collect()
    }

    fn answer(&self) -> Reply {
        let status = self.words()[1].parse().unwrap();
        let mut answer = reply(status, self.body.clone());
        for (name, value) in &self.headers {
            answer.headers_mut().append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                http::HeaderValue::from_str(value).unwrap(),
            );
        }
        answer
    }
}

/// Whether a text is as shown, where `…` stands for anything.
fn fits(shown: &str, seen: &str) -> bool {
    let pieces: Vec<&str> = shown.split('…').collect();
    let Some((first, rest)) = pieces.split_first() else { return false };
    let Some(mut left) = seen.strip_prefix(first) else { return false };
    for (number, piece) in rest.iter().enumerate() {
        if number + 1 == rest.len() {
            return left.len() >= piece.len() && left.ends_with(piece);
        }
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.is_empty()
}

fn same(shown: &Value, seen: &Value) -> bool {
    match (shown, seen) {
        (Value::String(shown), _) if shown == "…" => !seen.is_null(),
        (Value::Object(shown), Value::Object(seen)) => {
            shown.len() == seen.len()
                && shown.iter().all(|(name, value)| seen.get(name).is_some_and(|found| same(value, found)))
        }
        _ => shown == seen,
    }
}

/// What one call has to bring to the API.
struct Expected {
    request: Message,
    jwt: Option<Value>,
}

/// The API and its authorization server: answers as the guide says, in its order.
struct Api {
    upstream: Upstream,
    url: String,
    answers: Arc<Mutex<VecDeque<Reply>>>,
    authority: Authority,
}

impl Api {
    fn start(tls: bool) -> Self {
        let answers: Arc<Mutex<VecDeque<Reply>>> = Arc::default();
        let list = Arc::clone(&answers);
        let handler =
            move |_: &Seen| list.lock().unwrap().pop_front().unwrap_or_else(|| json_reply(&json!({})));
        let authority = Authority::new();
        let upstream = Upstream::with(tls.then(|| authority.server(&["http/1.1"], true)), handler);
        let url = if tls { localhost(&upstream) } else { upstream.url() };
        Self { upstream, url, answers, authority }
    }

    /// The values as the guide has them, with our server's address and real keys in place of what was left out.
    fn fill(&self, values: &mut Value) {
        let algorithm = values["algorithm"].as_str().unwrap_or("RS256").to_owned();
        let pair = self.authority.sign(&[], "a client");
        let certificate = values.get("certificate").is_some();
        for (name, value) in values.as_object_mut().expect("values are a map") {
            let Some(text) = value.as_str() else { continue };
            let filled = match name.as_str() {
                "base_url" | "token_url" | "login_url" | "device_authorization_url" => text
                    .replace("https://api.example.com", &self.url)
                    .replace("https://auth.example.com", &self.url),
                "certificate" => pair.0.clone(),
                "ca_certificate" => self.authority.pem.clone(),
                "private_key" if certificate => pair.1.clone(),
                "private_key" if text.contains('…') => KeyPair::generate(&algorithm).private_pem,
                _ => continue,
            };
            *value = json!(filled);
        }
    }
}

impl Api {
    /// A text with our server in place of the guide's hosts.
    fn at_home(&self, text: &str) -> String {
        let authority = self.url.split_once("://").unwrap().1;
        ["https://api.example.com", "https://auth.example.com"]
            .iter()
            .fold(text.to_owned(), |text, host| text.replace(host, &self.url))
            .replace("*.example.com", authority)
    }

    /// An OAuth client as the guide has it.
    fn client(&self, text: &str) -> Value {
        let mut client: Value = serde_json::from_str(&self.at_home(text)).unwrap();
        client["hosts"] = json!([self.url.split_once("://").unwrap().1]);
        client
    }
}

fn compare(place: &str, expected: &Expected, seen: &Seen) {
    let Expected { request, jwt } = expected;
    let words = request.words();
    assert_eq!(words.len(), 3, "{place}: {}", request.first);
    assert_eq!((words[0], words[1]), (seen.method.as_str(), seen.target.as_str()), "{place}");
    let mut left: Vec<(String, String)> = seen
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "host" | "content-length" | "transfer-encoding"))
        .cloned()
        .collect();
    for (name, shown) in request.headers.iter().filter(|(name, _)| name != "host") {
        let at = left.iter().position(|(found, value)| found == name && fits(shown, value));
        let Some(at) = at else { panic!("{place}: no {name}: {shown} in {:?}", seen.headers) };
        left.remove(at);
    }
    assert!(left.is_empty(), "{place}: the guide does not show {left:?}");
    let body = String::from_utf8_lossy(&seen.body);
    assert!(fits(&request.body, &body), "{place}: shown {:?}, sent {body:?}", request.body);
    if let Some(shown) = jwt {
        let authorization = seen.all("authorization").join(" ");
        let text = format!("{authorization} {body}");
        let token = text
            .split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
            .find(|word| word.starts_with("eyJ") && word.matches('.').count() == 2)
            .unwrap_or_else(|| panic!("{place}: no JWT in {text}"));
        let mut parts = token
            .split('.')
            .take(2)
            .map(|part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap());
        let said = json!({"header": parts.next(), "claims": parts.next()});
        assert!(same(shown, &said), "{place}: the JWT says {said}");
    }
}

/// Runs one guide; gives how many calls it had.
fn run(app: &TestApp, path: &Path) -> usize {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let api = Api::start(name == "mutual_tls");
    let blocks = blocks(&text);
    let prefix = format!("{}-", name.replace('_', "-"));
    let (mut at, mut calls, mut client) = (0, 0, None);
    while let Some(block) = blocks.get(at) {
        let place = format!("{name}.md:{}", block.line);
        at += 1;
        match block.kind.as_str() {
            "json" => {
                let mut credential: Value =
                    serde_json::from_str(&block.text).unwrap_or_else(|e| panic!("{place}: {e}"));
                if credential.get("connector").is_none() {
                    let made = app.done("POST", "/oauth-clients", &api.client(&block.text), 201);
                    client = Some(made["id"].clone());
                    continue;
                }
                if credential.get("oauth_client").is_some() {
                    credential["oauth_client"] =
                        client.clone().unwrap_or_else(|| panic!("{place}: no client above"));
                }
                let environments =
                    credential["values"].as_object_mut().unwrap_or_else(|| panic!("{place}: no values"));
                environments.values_mut().for_each(|values| api.fill(values));
                // The guides share one server, and each has its own names.
                let slug = &mut credential["shares"][0]["slug"];
                *slug =
                    json!(format!("{prefix}{}", slug.as_str().unwrap_or_else(|| panic!("{place}: no slug"))));
                app.done("POST", "/credentials", &credential, 201);
            }
            "yaml" => {
                // The servers here speak plain http on a loopback port.
                let yaml = api.at_home(&block.text).replace("\nbase_url:", "\nallow_http: true\nbase_url:");
                let bearer = format!("Bearer {}", app.manage_key());
                let headers = [("authorization", bearer.as_str()), ("content-type", "application/yaml")];
                let url = app.at("/api/v1/projects/acme/connectors");
                let made = latchstring_testkit::http::request("POST", &url, &headers, yaml.as_bytes());
                assert_eq!(made.status, 201, "{place}: {}", made.text());
            }
            "http" => {
                let ask = Message::read(block);
                let words = ask.words();
                let target = words[1].strip_prefix("/proxy/").unwrap_or_else(|| {
                    panic!("{place}: an example begins with what the caller asks, not {}", ask.first)
                });
                let mut expected: Vec<Expected> = Vec::new();
                let mut answers = VecDeque::new();
                while let Some(block) = blocks.get(at) {
                    match block.kind.as_str() {
                        "json jwt" => {
                            expected.last_mut().unwrap().jwt =
                                Some(serde_json::from_str(&block.text).unwrap());
                        }
                        "http" => {
                            let message = Message::read(block);
                            if message.first.starts_with("HTTP/") {
                                answers.push_back(message.answer());
                            } else if message.first.contains(" /proxy/") {
                                break;
                            } else {
                                expected.push(Expected { request: message, jwt: None });
                            }
                        }
                        _ => break,
                    }
                    at += 1;
                }
                assert!(!expected.is_empty(), "{place}: the API gets nothing");
                *api.answers.lock().unwrap() = answers;
                let before = api.upstream.count();
                let sent: Vec<(&str, &str)> = ask
                    .headers
                    .iter()
                    .filter(|(name, _)| name != "authorization")
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                let answer = app.call(words[0], &format!("{prefix}{target}"), &sent, ask.body.as_bytes());
                assert_eq!(answer.status, 200, "{place}: {}", answer.text());
                assert!(api.answers.lock().unwrap().is_empty(), "{place}: an answer was never asked for");
                let seen = api.upstream.seen().split_off(before);
                assert_eq!(seen.len(), expected.len(), "{place}: {seen:?}");
                for (expected, seen) in expected.iter().zip(&seen) {
                    compare(&format!("{name}.md:{}", expected.request.line), expected, seen);
                }
                calls += 1;
            }
            "" | "sh" | "text" => {}
            other => panic!("{place}: what is a block of {other}?"),
        }
    }
    calls
}

fn folder() -> PathBuf {
    latchstring_testkit::root().join("docs/auth")
}

#[test]
fn every_example_of_the_guides_is_what_is_sent() {
    let app = setup().set("LATCHSTRING_BACKGROUND_REFRESH", "off").start();
    let mut guides: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "md") && !path.ends_with("README.md"))
        .collect();
    guides.sort();
    assert!(guides.len() >= 18, "{guides:?}");
    for guide in guides {
        assert!(run(&app, &guide) > 0, "{}: no example", guide.display());
    }
    app.stop();
}

/// Fields that every method of `http` has; the folder's README tells of them.
const COMMON: [&str; 4] = ["base_url", "test_path", "headers", "query"];

#[test]
fn every_method_has_a_guide_that_names_all_its_fields() {
    let app = crate::support::app();
    let http = eventually("the connector", || Some(app.done("GET", "/connectors/http", &Value::Null, 200)));
    let index = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for method in http["auth_methods"].as_array().unwrap() {
        let kind = method["type"].as_str().unwrap();
        let guide = fs::read_to_string(folder().join(format!("{kind}.md")))
            .unwrap_or_else(|_| panic!("docs/auth/{kind}.md is missing"));
        assert!(index.contains(&format!("]({kind}.md)")), "{kind} is not in docs/auth/README.md");
        let names = method["fields"]["properties"].as_object().unwrap().keys();
        let untold = names
            .filter(|name| !COMMON.contains(&name.as_str()) && !guide.contains(&format!("`{name}`")))
            .cloned()
            .collect::<Vec<_>>();
        if !untold.is_empty() {
            missing.insert(kind.to_owned(), untold);
        }
    }
    assert!(missing.is_empty(), "fields that a guide does not tell of: {missing:?}");
}

#[test]
fn what_is_shown_is_compared() {
    assert!(fits("a…c", "abc") && fits("…", "") && fits("abc", "abc") && fits("a…c…", "abcd"));
    assert!(!fits("a…c", "ab") && !fits("abc", "abcd") && !fits("a…c", "bc") && !fits("ab…b", "ab"));
    assert!(same(&json!({"iat": "…", "a": 1}), &json!({"iat": 5, "a": 1})));
    assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": 2})) && !same(&json!({"a": "…"}), &json!({})));
}
