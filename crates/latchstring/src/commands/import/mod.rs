//! `latchstring import`: credentials of n8n, of a `.env` file or of OpenFn, taken over. First a report of what becomes
//! what, and what does not and why; then they are stored as any are. What they hold is never shown.

mod source;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use latchstring_connectors::{AuthMethod, Definition, builtin, literally};
use serde_json::{Map, Value, json};

use self::source::Theirs;
use self::table::{Table, Way};
use super::client::{Api, Body, Server, part, usage};
use super::code::asked;
use super::{on_runtime, print, say};
use crate::Ending;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// `n8n export:credentials --all --decrypted --output=FILE`
    #[value(name = "n8n")]
    N8n,
    /// A `.env` file: variables by the names that providers give them
    Env,
    /// A credential map, state.json, project.yaml or one credential's body
    Openfn,
}

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  latchstring import n8n credentials.json --dry-run      what becomes what; needs no server\n  export LATCHSTRING_URL=http://127.0.0.1:5282 LATCHSTRING_API_KEY=lst_…\n  latchstring import n8n credentials.json --project acme --grant production\n\nWhat is missing is given with --set 'Name of it.base_url=https://api.example.com'. docs/import.md has the rest."
)]
pub struct Import {
    /// Where it is from
    from: From,
    /// The export
    file: PathBuf,
    /// Only report what would become what; exit 1 when something would not
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Print the report as JSON
    #[arg(long, requires = "dry_run")]
    json: bool,
    /// Store them without asking
    #[arg(long)]
    yes: bool,
    /// Store them without asking their APIs first
    #[arg(long)]
    unverified: bool,
    /// Share them with this project (slug or id)
    #[arg(long)]
    project: Option<String>,
    /// An environment of the project that may use them; repeat it for several
    #[arg(long, value_name = "ENVIRONMENT", requires = "project")]
    grant: Vec<String>,
    /// The project owns them, and its owners and admins may edit them
    #[arg(long, requires = "project")]
    team: bool,
    /// What the set of values is called in them
    #[arg(long, value_name = "NAME", default_value = "production")]
    environment: String,
    /// A field that the export does not have and that is not secret; repeat it for several
    #[arg(long, value_name = "NAME.FIELD=VALUE")]
    set: Vec<String>,
    /// What a credential of OpenFn is for: an adaptor's name, such as dhis2; repeat it for several
    #[arg(long = "type", value_name = "NAME=ADAPTOR")]
    kinds: Vec<String>,
    /// Only this one; repeat it for several
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    #[command(flatten)]
    server: Server,
}

pub fn run(import: Import) -> Ending {
    on_runtime(Box::pin(take_over(import)))
}

/// What becomes of one of theirs.
enum Outcome {
    Becomes {
        connector: String,
        method: String,
        values: Map<String, Value>,
        /// Their fields that are not taken along.
        behind: Vec<String>,
    },
    Not(String),
}

struct Item {
    name: String,
    kind: String,
    outcome: Outcome,
}

/// From `--set`: (name, field) → value.
type Given = BTreeMap<(String, String), String>;

fn given(all: &[String]) -> Result<Given, Ending> {
    let mut given = Given::new();
    for one in all {
        let parts = one.split_once('=').and_then(|(place, value)| Some((place.rsplit_once('.')?, value)));
        let ((name, field), value) = parts.ok_or_else(|| {
            usage(format!(
                "--set is NAME.FIELD=VALUE, as in 'My API.base_url=https://api.example.com', and not {one}"
            ))
        })?;
        given.insert((name.to_owned(), field.to_owned()), value.to_owned());
    }
    Ok(given)
}

fn method_of(target: &str) -> Option<(&'static Definition, &'static AuthMethod)> {
    let (connector, method) = target.split_once('/')?;
    let definition = builtin().find(|one| one.id == connector)?;
    Some((definition, definition.auth_methods.iter().find(|one| one.id == method)?))
}

/// Fields that a method cannot be without.
fn missing(method: &AuthMethod, values: &Map<String, Value>) -> Vec<String> {
    let needed = method.fields.iter().filter(|field| {
        !field.optional
            && field.default.is_none()
            && field.visible_when.is_empty()
            && !values.contains_key(&field.name)
    });
    needed.map(|field| field.name.clone()).collect()
}

fn signed_in(target: Option<&str>) -> String {
    let then = match target {
        Some(target) => format!("have an OAuth client for it, store it with {target}, and connect"),
        None => "have an OAuth client for it, store it with http/oauth2_authorization_code (or a connector of its own), and connect".to_owned(),
    };
    format!(
        "somebody signed in at the provider for it, and what was granted there is not taken along: {then} (docs/oauth-clients.md)"
    )
}

/// The first way that holds and is whole; else what the first that holds lacks.
fn decide(ways: &[Way], theirs: &Theirs, given: &Given) -> Outcome {
    if let Some(why) = &theirs.not {
        return Outcome::Not(why.clone());
    }
    let mut lacks = None;
    for way in ways.iter().filter(|way| way.holds(&theirs.fields)) {
        if let Some(why) = &way.why {
            return Outcome::Not(why.clone());
        }
        if way.connect.is_some() {
            return Outcome::Not(signed_in(way.connect.as_deref()));
        }
        let Some((definition, method)) = way.to.as_deref().and_then(method_of) else { continue };
        let mut taken = way.take(&theirs.fields);
        for ((_, field), value) in given.iter().filter(|((name, _), _)| *name == theirs.name) {
            match method.field(field) {
                Some(known) if known.secret => {
                    return Outcome::Not(format!(
                        "`{field}` is secret and does not come from the command line, where others see it: put it into the export"
                    ));
                }
                Some(_) => {
                    taken.values.insert(field.clone(), value.as_str().into());
                }
                None => {
                    return Outcome::Not(format!(
                        "{}/{} has no field `{field}`, which --set names",
                        definition.id, method.id
                    ));
                }
            }
        }
        let missing = missing(method, &taken.values);
        if missing.is_empty() {
            let behind = theirs.fields.iter().filter(|(name, value)| {
                !taken.used.contains(*name)
                    && !matches!(value, Value::Null | Value::Bool(false))
                    && *value != ""
            });
            return Outcome::Becomes {
                connector: definition.id.clone(),
                method: method.id.clone(),
                behind: behind.map(|(name, _)| name.clone()).collect(),
                // A text with `{{` in it would be a template here; there it was a text.
                values: taken.values.iter().map(|(name, value)| (name.clone(), literally(value))).collect(),
            };
        }
        lacks.get_or_insert_with(|| {
            let secret = missing.iter().any(|name| method.field(name).is_some_and(|field| field.secret));
            let how = match secret {
                true => "it is not in the export".to_owned(),
                false => format!("give it with --set '{}.{}=…'", theirs.name, missing.join("=… and ")),
            };
            format!("{}/{} needs {}: {how}", definition.id, method.id, missing.join(", "))
        });
    }
    Outcome::Not(lacks.unwrap_or_else(|| "no way to take it over fits what it holds".to_owned()))
}

fn n8n(source: &str, table: &Table, given: &Given) -> Result<Vec<Item>, String> {
    let item = |theirs: Theirs| {
        let kind = theirs.kind.clone().unwrap_or_default();
        let outcome = match (&theirs.not, table.n8n(&kind)) {
            (_, Some(ways)) => decide(ways, &theirs, given),
            (Some(why), _) => Outcome::Not(why.clone()),
            (None, None) if kind.ends_with("OAuth2Api") || kind.ends_with("OAuth1Api") => Outcome::Not(signed_in(None)),
            (None, None) => Outcome::Not(
                "there is no connector for this type: upload one (docs/connectors.md), or store it with a method of http".to_owned(),
            ),
        };
        Item { name: theirs.name, kind, outcome }
    };
    Ok(source::n8n(source)?.into_iter().map(item).collect())
}

fn openfn(
    source: &str,
    stem: &str,
    table: &Table,
    given: &Given,
    kinds: &[String],
) -> Result<Vec<Item>, String> {
    let mut said = BTreeMap::new();
    for one in kinds {
        let (name, kind) = one
            .split_once('=')
            .ok_or_else(|| format!("--type is NAME=ADAPTOR, as in 'Main=dhis2', and not {one}"))?;
        if table.openfn(kind).is_none() {
            let known: Vec<&str> = table.adaptors().collect();
            return Err(format!(
                "--type: `{kind}` is no adaptor that has a connector; there are {}",
                known.join(", ")
            ));
        }
        said.insert(name.to_owned(), kind.to_owned());
    }
    let item = |theirs: Theirs| {
        let whole = |kind: &String| {
            let ways = table.openfn(kind)?;
            let fits = matches!(decide(ways, &theirs, given), Outcome::Becomes { .. })
                || ways.iter().any(|way| way.connect.is_some());
            fits.then(|| kind.clone())
        };
        let named = theirs.name.to_lowercase();
        let guessed = named.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned);
        let known = said
            .get(&theirs.name)
            .cloned()
            .or_else(|| theirs.kind.clone().filter(|kind| table.openfn(kind).is_some()));
        // A name is a guess, and counts only where all fits; the report shows what it was taken for.
        let kind = known
            .or_else(|| guessed.into_iter().find_map(|word| whole(&word)))
            .unwrap_or_else(|| "*".to_owned());
        let granted = ["refresh_token", "access_token"].iter().all(|name| theirs.fields.contains_key(*name));
        let outcome = match table.openfn(&kind) {
            Some(ways) if granted && ways.iter().all(|way| way.connect.is_none()) => {
                Outcome::Not(signed_in(None))
            }
            Some(ways) => decide(ways, &theirs, given),
            None => Outcome::Not("no way to take it over fits what it holds".to_owned()),
        };
        let kind = if kind == "*" { "any JSON".to_owned() } else { kind };
        Item { name: theirs.name, kind, outcome }
    };
    Ok(source::openfn(source, stem)?.into_iter().map(item).collect())
}

/// Also gives the variables that nothing was made of.
fn env(source: &str, table: &Table, given: &Given) -> Result<(Vec<Item>, Vec<String>), String> {
    let all = source::env(source)?;
    let fields: Map<String, Value> =
        all.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let (mut items, mut used) = (Vec::new(), BTreeSet::new());
    for way in &table.env {
        let Some((definition, method)) = way.to.as_deref().and_then(method_of) else { continue };
        let taken = way.take(&fields);
        let secret = taken.values.keys().any(|ours| method.field(ours).is_some_and(|field| field.secret));
        // One provider's variables make one credential, by the first way that fits.
        if !secret || taken.used.iter().any(|name| used.contains(name)) {
            continue;
        }
        let own: Map<String, Value> =
            taken.used.iter().filter_map(|name| Some((name.clone(), fields.get(name)?.clone()))).collect();
        let theirs = Theirs { name: definition.name.clone(), kind: None, fields: own, not: None };
        let reference =
            theirs.fields.iter().find(|(_, value)| value.as_str().is_some_and(|text| text.contains("${")));
        let outcome = match reference {
            Some((name, _)) => {
                Outcome::Not(format!("{name} names another variable (`${{…}}`): put the value itself there"))
            }
            None => decide(std::slice::from_ref(way), &theirs, given),
        };
        used.extend(taken.used.iter().cloned());
        items.push(Item { name: theirs.name, kind: taken.used.join(", "), outcome });
    }
    let rest = all.keys().filter(|name| !used.contains(*name)).cloned().collect();
    Ok((items, rest))
}

fn report(items: &[Item], rest: &[String]) {
    for item in items {
        match &item.outcome {
            Outcome::Becomes { connector, method, values, behind } => {
                let mut names: Vec<&str> = values.keys().map(String::as_str).collect();
                names.sort_unstable();
                print(&format!(
                    "+ {} ({}) becomes {connector}/{method} with {}",
                    item.name,
                    item.kind,
                    names.join(", ")
                ));
                if !behind.is_empty() {
                    print(&format!("    not taken along: {}", behind.join(", ")));
                }
            }
            Outcome::Not(why) => print(&format!("! {} ({}): {why}", item.name, item.kind)),
        }
    }
    if !rest.is_empty() {
        print(&format!(
            "! of no connector: {}; what a template reads is set as the project's secret or variable (docs/as-code.md)",
            rest.join(", ")
        ));
    }
    let becomes = items.iter().filter(|item| matches!(item.outcome, Outcome::Becomes { .. })).count();
    print(&format!("{becomes} of {} can be taken over.", items.len()));
}

/// The report for programs. Names of fields, and never what is in them.
fn as_json(items: &[Item], rest: &[String]) -> Value {
    let one = |item: &Item| match &item.outcome {
        Outcome::Becomes { connector, method, values, behind } => {
            let mut names: Vec<&str> = values.keys().map(String::as_str).collect();
            names.sort_unstable();
            json!({
                "name": item.name, "type": item.kind, "connector": connector, "auth_method": method,
                "fields": names, "not_taken": behind,
            })
        }
        Outcome::Not(why) => json!({"name": item.name, "type": item.kind, "refused": why}),
    };
    json!({"items": items.iter().map(one).collect::<Vec<_>>(), "of_no_connector": rest})
}

async fn take_over(import: Import) -> Result<Ending, Ending> {
    let file = import.file.display().to_string();
    let source = std::fs::read_to_string(&import.file)
        .map_err(|error| usage(format!("{file} cannot be read: {error}")))?;
    let table =
        Table::read().map_err(|error| usage(format!("the table of types cannot be read: {error}")))?;
    let given = given(&import.set)?;
    let stem = import.file.file_stem().unwrap_or(Path::new("credential").as_os_str()).to_string_lossy();
    let read = match import.from {
        From::N8n => n8n(&source, &table, &given).map(|items| (items, Vec::new())),
        From::Openfn => {
            openfn(&source, &stem, &table, &given, &import.kinds).map(|items| (items, Vec::new()))
        }
        From::Env => env(&source, &table, &given),
    };
    let (mut items, rest) = read.map_err(|error| usage(format!("{file}: {error}")))?;
    for name in import.only.iter().chain(given.keys().map(|(name, _)| name)) {
        if !items.iter().any(|item| item.name == *name) {
            let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
            return Err(usage(format!("{file} has no credential `{name}`; it has {}", names.join(", "))));
        }
    }
    items.retain(|item| import.only.is_empty() || import.only.contains(&item.name));
    match import.json {
        true => print(&as_json(&items, &rest).to_string()),
        false => report(&items, &rest),
    }
    let all = items.iter().all(|item| matches!(item.outcome, Outcome::Becomes { .. }));
    if import.dry_run || !items.iter().any(|item| matches!(item.outcome, Outcome::Becomes { .. })) {
        return Ok(if all { Ending::Good } else { Ending::No });
    }
    if !import.yes {
        if !std::io::stdin().is_terminal() {
            return Err(usage(
                "nobody can be asked here, and nothing was stored: repeat it with --yes (or --dry-run, to look only)",
            ));
        }
        if !asked("Store them?")? {
            say("Nothing was stored.");
            return Ok(Ending::No);
        }
    }
    let stored = store(&import, items).await?;
    Ok(if all && stored { Ending::Good } else { Ending::No })
}

/// Whether all were stored. One that is refused keeps none of the others.
async fn store(import: &Import, items: Vec<Item>) -> Result<bool, Ending> {
    let who = "a personal key with the scope manage; with --team also a service account of the project";
    let mut api = Api::new(import.server.clone(), who)?;
    // Before anything is stored: does the project have these environments?
    if let Some(project) = &import.project {
        let there = api.get(&format!("/projects/{}", part(project))).await?.body;
        for name in &import.grant {
            let known = there["environments"].as_array();
            if !known.is_some_and(|known| known.iter().any(|one| one == name.as_str())) {
                return Err(usage(format!(
                    "the project {project} has no environment `{name}`, and nothing was stored"
                )));
            }
        }
    }
    let owner = import.project.as_ref().filter(|_| import.team);
    let of = owner.map(|owner| format!("?owner={}", part(owner))).unwrap_or_default();
    let there = api.list(&format!("/credentials{of}")).await??;
    let (mut stored, mut all) = (0, true);
    for item in items {
        let Outcome::Becomes { connector, method, values, .. } = item.outcome else { continue };
        if there.iter().any(|one| one["name"] == item.name.as_str() && one["connector"] == connector.as_str())
        {
            print(&format!(
                "there  {} ({connector}): one of this name is there already, and is left",
                item.name
            ));
            continue;
        }
        let grants: Map<String, Value> =
            import.grant.iter().map(|name| (name.clone(), import.environment.as_str().into())).collect();
        let shares: Vec<Value> =
            import.project.iter().map(|project| json!({"project": project, "grants": grants})).collect();
        let body = json!({
            "name": item.name, "connector": connector, "auth_method": method, "owner_project": owner,
            "values": {import.environment.as_str(): values}, "shares": shares,
            "verify": if import.unverified { "skip" } else { "required" },
        });
        match api.ask("POST", "/credentials", Body::Json(&body), None).await? {
            Ok(said) => {
                stored += 1;
                let status =
                    said.body["environments"][&import.environment]["status"].as_str().unwrap_or_default();
                print(&format!("stored {} as {connector}/{method}: {status}", item.name));
            }
            Err(refusal) => {
                all = false;
                print(&format!("not    {}: {}", item.name, refusal.text()));
            }
        }
    }
    print(&format!("{stored} stored."));
    if !all {
        say(
            "latchstring: what was refused can be put right and imported again: what is stored already is left. --unverified stores without asking.",
        );
    }
    Ok(all)
}
