//! Two projects driven by random operations, side by side on one server: whatever is made, edited, shared, called, given
//! away and deleted in one, nothing of it is ever in an answer to the people of the other.
//!
//! Every text that goes in carries a mark of its project: names, slugs, fields, secrets, notes, e-mail addresses. Every
//! answer of every request is searched for the marks of the other one, and for secrets of either. Calls go through
//! `/proxy` and through operations to an API that answers with its project's mark and repeats the secret that it was sent.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use latchstring_model::Entropy;
use latchstring_testkit::{SeededEntropy, figure, http, rounds};
use serde_json::{Value, json};

use crate::app::{Answer, Call, Db, Somebody, TestApp};
use crate::calling::World;
use crate::credentials_upstream::Upstream;

/// Operations of one run, over both projects.
const STEPS: usize = 10_000;
/// On PostgreSQL, where each is slower; it runs the same statements.
const STEPS_POSTGRES: usize = 1_000;

/// A server, and the API that both projects call.
struct Town {
    world: World,
    up: Upstream,
}

/// One of the two projects, with its own people.
struct Side {
    /// In everything that belongs to it.
    mark: &'static str,
    /// In every value that is secret.
    secret: &'static str,
    slug: &'static str,
    people: Vec<Somebody>,
    /// Comes and goes.
    guest: Somebody,
    credentials: Vec<String>,
    offers: Vec<String>,
    keys: Vec<String>,
    count: usize,
}

struct Dice(SeededEntropy);

impl Dice {
    fn roll(&self, sides: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_be_bytes(bytes) % sides as u64).unwrap()
    }

    fn one<'a, T>(&self, list: &'a [T]) -> Option<&'a T> {
        if list.is_empty() { None } else { list.get(self.roll(list.len())) }
    }
}

/// A connector of the project's own.
fn definition(mark: &str) -> String {
    format!(
        "id: api-{mark}
name: API of {mark}
allow_http: true
base_url: \"{{{{ base_url }}}}\"
auth_methods:
  token:
    label: Token
    fields:
      base_url: {{type: url}}
      token: {{type: text, secret: true}}
      test_path: {{type: text, optional: true}}
    scheme: {{type: bearer, token: \"{{{{ token }}}}\"}}
operations:
  data: {{get: /data}}
"
    )
}

impl Side {
    async fn new(town: &Town, mark: &'static str, secret: &'static str, slug: &'static str) -> Self {
        let mut people = Vec::new();
        for role in ["owner", "admin", "editor", "viewer"] {
            people.push(town.world.app.person(&format!("{role}-{mark}@example.org")).await);
        }
        let body = json!({"slug": slug, "name": format!("Project {mark}"), "environments": ["staging", "production"]});
        town.world.app.post("/api/v1/projects", body).key(&people[0].key).is(201).await;
        for (who, role) in people.iter().skip(1).zip(["admin", "editor", "viewer"]) {
            town.world.app.member(&people[0], slug, who, role).await;
        }
        let guest = town.world.app.person(&format!("guest-{mark}@example.org")).await;
        town.world.upload_as(&people[0], slug, &definition(mark)).is(201).await;
        // Every call of theirs ends here; the answer's headers repeat what they were signed with.
        town.up.json(
            &format!("/{mark}/data"),
            200,
            json!({"mine": format!("data of {mark}"), "sent": "{raw}"}),
        );
        Self {
            mark,
            secret,
            slug,
            people,
            guest,
            credentials: Vec::new(),
            offers: Vec::new(),
            keys: Vec::new(),
            count: 0,
        }
    }

    fn new_name(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.mark, self.count)
    }

    fn values(&self, town: &Town, dice: &Dice) -> Value {
        let number = dice.roll(1_000_000);
        json!({
            "base_url": format!("{}/{}", town.up.url, self.mark), "token": format!("{}-{number}", self.secret),
            "test_path": format!("/{}-{number}", self.mark),
        })
    }
}

/// What is sent.
enum Request<'a> {
    Api(Call<'a>),
    /// Through `/proxy`, over a socket: path and headers.
    Proxy(String, Vec<(&'static str, String)>),
}

impl Request<'_> {
    async fn send(self, town: &Town) -> Answer {
        match self {
            Self::Api(call) => call.send().await,
            Self::Proxy(path, headers) => {
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                as_answer(&town.world.proxy(&path, &headers).await)
            }
        }
    }
}

fn as_answer(answer: &http::Answer) -> Answer {
    let headers: HeaderMap = answer
        .headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    Answer { status: answer.status, headers, text: answer.text() }
}

/// A call of somebody's with a key of their own.
fn proxied<'a>(who: &Somebody, project: &str, environment: &str, credential: &str) -> Request<'a> {
    let headers = vec![
        ("authorization", format!("Bearer {}", who.key)),
        ("latchstring-project", project.to_owned()),
        ("latchstring-environment", environment.to_owned()),
    ];
    Request::Proxy(format!("{credential}/data"), headers)
}

/// One random operation of one side, as the request that it is.
fn step<'a>(town: &'a Town, side: &mut Side, other: &Side, dice: &Dice) -> Option<(Request<'a>, What)> {
    let app: &TestApp = &town.world.app;
    let who = dice.one(&side.people)?.clone();
    let project = format!("/api/v1/projects/{}", side.slug);
    let credential = dice.one(&side.credentials).cloned();
    let at = |rest: &str| credential.as_ref().map(|id| format!("/api/v1/credentials/{id}{rest}"));
    // Now and then somebody tries what is the others'.
    if dice.roll(8) == 0 {
        let theirs = dice.one(&other.credentials)?;
        let stranger = &who.key;
        let call = match dice.roll(12) {
            0 => app.get(&format!("/api/v1/credentials/{theirs}")),
            1 => app.get(&format!("/api/v1/credentials/{theirs}/versions")),
            2 => app.get(&format!("/api/v1/credentials/{theirs}/usage")),
            3 => app.patch(
                &format!("/api/v1/credentials/{theirs}"),
                json!({"note": format!("taken-{}", side.mark)}),
            ),
            4 => app.get(&format!("/api/v1/projects/{}/audit", other.slug)),
            5 => app.get(&format!("/api/v1/credentials?project={}", other.slug)),
            6 => app
                .post(&format!("/api/v1/credentials/{theirs}/verify"), json!({"environment": "production"})),
            7 => app.post(&format!("/api/v1/credentials/{theirs}/transfer"), json!({"email": who.email})),
            8 => {
                return Some((
                    proxied(&who, dice.one(&[side.slug, other.slug])?, "staging", theirs),
                    What::Foreign,
                ));
            }
            9 => {
                let bearer = format!("Bearer {}", dice.one(&side.keys)?);
                return Some((
                    Request::Proxy(format!("{theirs}/data"), vec![("authorization", bearer)]),
                    What::Foreign,
                ));
            }
            10 => {
                let path = format!("/api/v1/projects/{}/environments/staging/secrets", other.slug);
                app.get(&path)
            }
            _ => {
                let token = dice.one(&other.offers)?;
                app.post(&format!("/api/v1/transfers/{token}/accept"), json!({}))
            }
        };
        return Some((Request::Api(call.key(stranger)), What::Foreign));
    }
    let name = side.new_name();
    let environment = if dice.roll(2) == 0 { "staging" } else { "production" };
    let values = side.values(town, dice);
    let email = dice.one(&side.people)?.email.clone();
    let (connector, method) = match dice.roll(2) {
        0 => ("http".to_owned(), "bearer"),
        _ => (format!("api-{}", side.mark), "token"),
    };
    let call = match dice.roll(45) {
        0..=3 => {
            let mut body = json!({
                "name": name, "connector": connector, "auth_method": method, "verify": "skip",
                "note": format!("note {}", side.mark), "acts_as": format!("robot {}", side.mark),
                "values": {"production": values},
                "shares": [{"project": side.slug, "grants": {(environment): "production"}}],
            });
            if dice.roll(4) == 0 {
                body["owner_project"] = side.slug.into();
            }
            if dice.roll(3) == 0 {
                body["external_id"] = name.as_str().into();
            }
            return Some((Request::Api(app.post("/api/v1/credentials", body).key(&who.key)), What::Credential));
        }
        4 | 5 => app.patch(&at("")?, json!({"verify": "skip", "values": {"production": values}})),
        6 => app.patch(&at("")?, json!({"name": name, "slug": name})),
        7 => app.patch(&at("")?, json!({"verify": "skip", "shares": [{"project": side.slug, "grants": {(environment): "production"}}]})),
        8 => app.get(&at("")?),
        9 => app.get(&at("/versions")?),
        10 => app.get(&at("/usage")?),
        11 => app.post(&at("/versions/1/restore")?, json!({"verify": "skip"})),
        12 => app.post(&at(if dice.roll(2) == 0 { "/disable" } else { "/enable" })?, json!({})),
        13 => app.delete(&at("")?),
        14 => app.post(&at("/restore")?, json!({})),
        15 if dice.roll(3) == 0 => app.delete(&at("?purge=true")?),
        15 | 16 => app.post(&at("/verify")?, json!({"environment": "production"})),
        17 => {
            let call = app.post(&at("/transfer")?, json!({"email": email}));
            return Some((Request::Api(call.key(&who.key)), What::Offer));
        }
        18 => {
            let token = dice.one(&side.offers)?;
            app.post(&format!("/api/v1/transfers/{token}/accept"), json!({}))
        }
        19 => app.get("/api/v1/credentials"),
        20 => app.get(&format!("/api/v1/credentials?project={}", side.slug)),
        21 => app.get(&format!("{project}/audit{}", if dice.roll(2) == 0 { "" } else { "/export" })),
        22 => app.get("/api/v1/me/notices"),
        23 => app.get("/api/v1/me/transfers"),
        24 => app.put(
            &format!("{project}/environments/{environment}/variables/v{}", dice.roll(5)),
            json!({"value": format!("variable {}", side.mark)}),
        ),
        25 => app.get(&format!("{project}/environments/{environment}/variables")),
        26 => {
            let body = json!({"name": name, "connector": "http", "by": "{{ input.x }}", "default": credential?});
            app.post(&format!("{project}/keychains"), body)
        }
        27 => app.get(&format!("{project}/keychains")),
        28 => {
            let call = app.post(&format!("{project}/api-keys"), json!({"name": name, "environment": environment}));
            return Some((Request::Api(call.key(&who.key)), What::Key));
        }
        29..=34 => return Some((proxied(&who, side.slug, environment, &credential?), What::Call)),
        35 | 36 => {
            let bearer = format!("Bearer {}", dice.one(&side.keys)?);
            return Some((Request::Proxy(format!("{}/data", credential?), vec![("authorization", bearer)]), What::Call));
        }
        37..=39 => {
            let path = format!("{project}/environments/{environment}/credentials/{}/call/data", credential?);
            return Some((Request::Api(app.post(&path, json!({})).key(&who.key)), What::Call));
        }
        40 => {
            let path = format!("{project}/environments/{environment}/secrets/s{}", dice.roll(5));
            match dice.roll(3) {
                0 => app.delete(&path),
                _ => app.put(&path, json!({"value": format!("{}-{}", side.secret, dice.roll(1_000_000))})),
            }
        }
        41 => app.get(&format!("{project}/environments/{environment}/secrets")),
        42 => {
            let path = format!("{project}/members/{}", side.guest.email);
            match dice.roll(3) {
                0 => app.delete(&path),
                1 => app.get(&format!("{project}/members")),
                _ => app.put(&path, json!({"role": dice.one(&["viewer", "editor"])?})),
            }
        }
        43 => {
            // One that comes and goes with what is in it.
            let extra = format!("extra-{}", side.mark);
            match dice.roll(2) {
                0 => app.patch(&project, json!({"environments": ["staging", "production", extra]})),
                _ => app.patch(&project, json!({"environments": ["staging", "production"], "remove_environments": [extra]})),
            }
        }
        _ => {
            // With a service key: what it may not is as mute as the rest.
            let key = dice.one(&side.keys)?;
            let path = format!("{project}/environments/{environment}/credentials/{}/call/nothing", credential?);
            return Some((Request::Api(app.post(&path, json!({})).key(key)), What::Own));
        }
    };
    Some((Request::Api(call.key(&who.key)), What::Own))
}

/// What came of it is remembered.
enum What {
    Credential,
    Offer,
    Key,
    /// Of the API behind a credential of their own.
    Call,
    Own,
    Foreign,
}

fn keep(side: &mut Side, what: &What, answer: &Answer) {
    if answer.status != 201 {
        return;
    }
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    match what {
        What::Credential => side.credentials.push(text("id")),
        What::Offer => side.offers.push(text("token")),
        What::Key => side.keys.push(text("key")),
        What::Call | What::Own | What::Foreign => {}
    }
    // Old ones go: most of what is tried should be there.
    for list in [&mut side.credentials, &mut side.offers, &mut side.keys] {
        let surplus = list.len().saturating_sub(30);
        list.drain(..surplus);
    }
}

#[track_caller]
fn search(side: &Side, other: &Side, what: &What, answer: &Answer) {
    let headers = format!("{:?}", answer.headers);
    for text in [&answer.text, &headers] {
        assert!(!text.contains(other.mark), "{}'s people see {}: {text}", side.mark, other.mark);
        for secret in [side.secret, other.secret] {
            assert!(!text.contains(secret), "a secret is shown: {text}");
        }
    }
    if matches!(what, What::Foreign) {
        assert!(matches!(answer.status, 403 | 404), "{}: {}", answer.status, answer.text);
    }
    if matches!(what, What::Call) && answer.status == 200 {
        assert!(
            answer.text.contains(&format!("data of {}", side.mark)),
            "not their own data: {}",
            answer.text
        );
    }
    assert!(answer.status < 500 || answer.status == 503, "{} {}", answer.status, answer.text);
}

async fn run(db: Db, steps: usize, seed: u64) {
    let up = Upstream::start().await;
    let at = up.url.trim_start_matches("http://").parse().unwrap();
    let mut world = World::reaching(db, false, &[at]).await;
    world.run_jobs();
    let town = Town { world, up };
    let mut one = Side::new(&town, "aardvark", "hush-of-one", "one").await;
    let mut two = Side::new(&town, "zeppelin", "hush-of-two", "two").await;
    let dice = Dice(SeededEntropy::new(seed));
    let (mut done, mut good, mut foreign, mut called) = (0, 0, 0, 0);
    while done < steps {
        town.world.app.clock.advance_millis(50);
        let (first, second) = (step(&town, &mut one, &two, &dice), step(&town, &mut two, &one, &dice));
        // Side by side, so that what is cached or locked for one meets the other.
        let send = async |request: Option<(Request<'_>, What)>| match request {
            Some((request, what)) => Some((request.send(&town).await, what)),
            None => None,
        };
        let (first, second) = tokio::join!(send(first), send(second));
        for (answered, first) in [(first, true), (second, false)] {
            let Some((answer, what)) = answered else { continue };
            let (side, other) = if first { (&mut one, &two) } else { (&mut two, &one) };
            done += 1;
            good += usize::from(answer.status < 300);
            foreign += usize::from(matches!(what, What::Foreign));
            called += usize::from(matches!(what, What::Call) && answer.status == 200);
            search(side, other, &what, &answer);
            keep(side, &what, &answer);
        }
        if done % 500 < 2 {
            town.world.app.broker.deliver_notices().await.unwrap();
            town.world.app.broker.delete_due_credentials().await.unwrap();
        }
    }
    // It was no walk through refusals.
    assert!(good * 3 > done && foreign * 20 > done, "{good} of {done} went well, {foreign} were the others'");
    assert!(called * 50 > done, "{called} of {done} were calls that the API answered");
    let sent = town.up.seen("/aardvark/data").len() + town.up.seen("/zeppelin/data").len();
    assert!(sent >= called, "{called} answers to {sent} requests");
}

#[tokio::test]
async fn two_projects_never_see_each_other_sqlite() {
    let steps = rounds(STEPS, STEPS);
    run(Db::Sqlite, steps, 1).await;
    figure("random operations of two projects side by side, no field of one seen in the other", steps);
}

#[tokio::test]
async fn two_projects_never_see_each_other_postgres() {
    run(Db::Postgres, rounds(STEPS_POSTGRES, STEPS), 2).await;
}
