//! Two projects driven by random operations, side by side on one server: whatever is made, edited, shared, called, given
//! away and deleted in one, nothing of it is ever in an answer to the people of the other.
//!
//! Every text that goes in carries a mark of its project: names, slugs, fields, secrets, notes, e-mail addresses. Every
//! answer of every request is searched for the marks of the other one, and for secrets of either.

use latchstring_model::Entropy;
use latchstring_testkit::{SeededEntropy, figure, rounds};
use serde_json::{Value, json};

use crate::app::{Answer, Call, Db, Somebody, TestApp};
use crate::credentials_upstream::Shop;

/// Operations of one run, over both projects.
const STEPS: usize = 10_000;
/// On PostgreSQL, where each is slower; it runs the same statements.
const STEPS_POSTGRES: usize = 1_000;

/// One of the two projects, with its own people.
struct Side {
    /// In everything that belongs to it.
    mark: &'static str,
    /// In every value that is secret.
    secret: &'static str,
    slug: &'static str,
    people: Vec<Somebody>,
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

impl Side {
    async fn new(shop: &Shop, mark: &'static str, secret: &'static str, slug: &'static str) -> Self {
        let mut people = Vec::new();
        for role in ["owner", "admin", "editor", "viewer"] {
            people.push(shop.app.person(&format!("{role}-{mark}@example.org")).await);
        }
        let body = json!({"slug": slug, "name": format!("Project {mark}"), "environments": ["staging", "production"]});
        shop.app.post("/api/v1/projects", body).key(&people[0].key).is(201).await;
        for (who, role) in people.iter().skip(1).zip(["admin", "editor", "viewer"]) {
            shop.app.member(&people[0], slug, who, role).await;
        }
        Self {
            mark,
            secret,
            slug,
            people,
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

    fn values(&self, shop: &Shop, dice: &Dice) -> Value {
        let number = dice.roll(1_000_000);
        json!({
            "base_url": format!("{}/{}", shop.up.url, self.mark), "token": format!("{}-{number}", self.secret),
            "test_path": format!("/{}-{number}", self.mark),
        })
    }
}

/// One random operation of one side, as the call that it is.
fn step<'a>(shop: &'a Shop, side: &mut Side, other: &Side, dice: &Dice) -> Option<(Call<'a>, What)> {
    let app: &TestApp = &shop.app;
    let who = dice.one(&side.people)?.clone();
    let project = format!("/api/v1/projects/{}", side.slug);
    let credential = dice.one(&side.credentials).cloned();
    let at = |rest: &str| credential.as_ref().map(|id| format!("/api/v1/credentials/{id}{rest}"));
    // Now and then somebody tries what is the others'.
    if dice.roll(8) == 0 {
        let theirs = dice.one(&other.credentials)?;
        let stranger = &who.key;
        let call = match dice.roll(9) {
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
            _ => {
                let token = dice.one(&other.offers)?;
                app.post(&format!("/api/v1/transfers/{token}/accept"), json!({}))
            }
        };
        return Some((call.key(stranger), What::Foreign));
    }
    let name = side.new_name();
    let environment = if dice.roll(2) == 0 { "staging" } else { "production" };
    let values = side.values(shop, dice);
    let email = dice.one(&side.people)?.email.clone();
    let call = match dice.roll(30) {
        0..=3 => {
            let mut body = json!({
                "name": name, "connector": "http", "auth_method": "bearer", "verify": "skip",
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
            return Some((app.post("/api/v1/credentials", body).key(&who.key), What::Credential));
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
            return Some((call.key(&who.key), What::Offer));
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
            return Some((call.key(&who.key), What::Key));
        }
        _ => {
            // With a service key: what it may not is as mute as the rest.
            let key = dice.one(&side.keys)?;
            let path = format!("{project}/environments/{environment}/credentials/{}/call/nothing", credential?);
            return Some((app.post(&path, json!({})).key(key), What::Own));
        }
    };
    Some((call.key(&who.key), What::Own))
}

/// What came of it is remembered.
enum What {
    Credential,
    Offer,
    Key,
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
        What::Own | What::Foreign => {}
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
    assert!(answer.status < 500 || answer.status == 503, "{} {}", answer.status, answer.text);
}

async fn run(db: Db, steps: usize, seed: u64) {
    let shop = Shop::new(db).await;
    let mut one = Side::new(&shop, "aardvark", "hush-of-one", "one").await;
    let mut two = Side::new(&shop, "zeppelin", "hush-of-two", "two").await;
    let dice = Dice(SeededEntropy::new(seed));
    let (mut done, mut good, mut foreign) = (0, 0, 0);
    while done < steps {
        shop.app.clock.advance_millis(50);
        let (first, second) = (step(&shop, &mut one, &two, &dice), step(&shop, &mut two, &one, &dice));
        // Side by side, so that what is cached or locked for one meets the other.
        let send = async |call: Option<(Call<'_>, What)>| match call {
            Some((call, what)) => Some((call.send().await, what)),
            None => None,
        };
        let (first, second) = tokio::join!(send(first), send(second));
        for (answered, first) in [(first, true), (second, false)] {
            let Some((answer, what)) = answered else { continue };
            let (side, other) = if first { (&mut one, &two) } else { (&mut two, &one) };
            done += 1;
            good += usize::from(answer.status < 300);
            foreign += usize::from(matches!(what, What::Foreign));
            search(side, other, &what, &answer);
            keep(side, &what, &answer);
        }
        if done % 500 < 2 {
            shop.app.broker.deliver_notices().await.unwrap();
            shop.app.broker.delete_due_credentials().await.unwrap();
        }
    }
    // It was no walk through refusals.
    assert!(good * 3 > done && foreign * 20 > done, "{good} of {done} went well, {foreign} were the others'");
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
