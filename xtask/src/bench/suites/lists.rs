//! How long lists and searches take with many credentials of a hundred people in a thousand projects, on both
//! databases.

use super::{Place, Subject, interleaved};
use crate::Done;
use crate::bench::results::Results;
use crate::bench::sides;
use crate::bench::sides::http::{self, Client};
use crate::bench::sides::keeper::Server;
use crate::bench::sides::latchstring::{Home, PASSWORD, Upstreams, WRITERS, at_once};
use crate::bench::wrk::Load;
use crate::postgres::Cluster;

pub const SQLITE: &str = "lists, SQLite";
pub const POSTGRES: &str = "lists, PostgreSQL";
pub const CONNECTIONS: u32 = 4;
pub const PAGES_SQLITE: &str = "pages, SQLite";
pub const PAGES_POSTGRES: &str = "pages, PostgreSQL";
/// A page is what one person waits for.
pub const PAGES_CONNECTIONS: u32 = 1;
pub const PROJECTS: u32 = 1_000;
pub const PEOPLE: u32 = 100;
/// As many people own what one project uses.
const OWNERS: u32 = 4;
/// Of as many in a project, one has a rare name, and one a rare connector.
const RARE: u32 = 100;
/// Which of everybody's projects has a credential that is disabled.
const DISABLED: u32 = 3;

/// Name, and what is asked; `{}` is the number of a project, who asks is the one who made it.
const ASKED: &[(&str, &str)] = &[
    ("a person's, first page", "credentials"),
    ("a person's, by a name that is rare", "credentials?q=payroll"),
    ("a person's, by a name that one has", "credentials?q=%20{}%20of"),
    ("a person's, by a name that none has", "credentials?q=no-such-name"),
    ("a person's, by connector", "credentials?connector=openai"),
    ("a person's, by a status that is rare", "credentials?status=disabled"),
    ("a person's, by a status that none has", "credentials?status=needs_reconnect"),
    ("a project's, first page", "credentials?project=p-{}"),
    ("a project's, all in one page", "credentials?project=p-{}&limit=200"),
    ("a project's, by name", "credentials?project=p-{}&q=payroll"),
    ("a project's, by connector", "credentials?project=p-{}&connector=openai"),
    ("a project's, by owner", "credentials?project=p-{}&owner=person-7@example.com"),
    ("a project's, by status", "credentials?project=p-{}&status=disabled"),
    ("projects, first page", "projects"),
];

/// Pages of the person whose number this is; `{}` is the id of a credential of theirs.
const READER: u32 = 7;
const PAGES: &[(&str, &str)] = &[
    ("projects", "/projects"),
    ("a new project", "/projects/new"),
    ("My credentials", "/credentials"),
    ("My credentials, by name", "/credentials?q=payroll"),
    ("My credentials, by a name that none has", "/credentials?q=no-such-name"),
    ("a new credential of one's own", "/credentials/new"),
    ("a project's credentials", "/projects/p-7/credentials"),
    ("a project's credentials, by name", "/projects/p-7/credentials?q=payroll"),
    ("a project's credentials, by status", "/projects/p-7/credentials?status=disabled"),
    ("a credential", "/credentials/{}?project=p-7"),
    ("a credential's call", "/credentials/{}/call?project=p-7"),
    ("a credential's details", "/credentials/{}/details?project=p-7"),
    ("a credential's values", "/credentials/{}/values/production?project=p-7"),
    ("a credential's versions", "/credentials/{}/versions?project=p-7"),
    ("a credential's sharing", "/credentials/{}/sharing?project=p-7"),
    ("a credential's hand-over", "/credentials/{}/transfer?project=p-7"),
    ("a credential's activity", "/credentials/{}/activity?project=p-7"),
    ("a credential's audit", "/credentials/{}/audit?project=p-7"),
    ("a new credential: which connector", "/projects/p-7/credentials/new"),
    ("a new credential: its form", "/projects/p-7/credentials/new?connector=openai"),
    ("a project's secrets and variables", "/projects/p-7/secrets"),
    ("a project's members", "/projects/p-7/members"),
    ("a project's keys", "/projects/p-7/keys"),
    ("a project's new key", "/projects/p-7/keys/new"),
    ("a project's keychains", "/projects/p-7/keychains"),
    ("a project's new keychain", "/projects/p-7/keychains/new"),
    ("a project's webhooks", "/projects/p-7/webhooks"),
    ("a project's new webhook", "/projects/p-7/webhooks/new"),
    ("a project's audit", "/projects/p-7/audit"),
    ("a project's settings", "/projects/p-7/settings"),
    ("all connectors", "/projects/p-7/connectors"),
    ("a connector", "/projects/p-7/connectors/openai"),
    ("a connector of one's own", "/projects/p-7/connectors/new"),
    ("OAuth clients", "/oauth-clients"),
    ("notices", "/notices"),
    ("account", "/account"),
    ("account: password", "/account/password"),
    ("account: second factor", "/account/totp"),
    ("account: sessions", "/account/sessions"),
    ("account: keys", "/account/keys"),
    ("docs", "/docs"),
    ("docs: all connectors", "/docs/connectors"),
    ("docs: a connector", "/docs/connectors/openai"),
    ("docs: the API", "/docs/api"),
    ("docs: errors", "/docs/errors"),
];

/// The longest that a hundredth of the answers may take, in milliseconds.
pub const LONGEST: f64 = 50.0;
pub const LONGEST_PAGE: f64 = 100.0;

pub fn run(place: &Place<'_>, results: &mut Results) -> Done {
    let cluster = Cluster::start()?;
    measured(place, (SQLITE, PAGES_SQLITE), "lists-sqlite", None, results)?;
    measured(place, (POSTGRES, PAGES_POSTGRES), "lists-postgres", Some(cluster.url.as_str()), results)
}

fn measured(
    place: &Place<'_>,
    (group, pages): (&str, &str),
    name: &str,
    database: Option<&str>,
    results: &mut Results,
) -> Done {
    let many = place.options.credentials;
    // Nothing is called: where calls go does not matter.
    let nowhere = Upstreams { api: 9, sink: 9 };
    let home = Home::on(database, &place.tools.latchstring, place.folder, name, nowhere)?;
    let keys = (0..PEOPLE).map(|person| home.person(&email(person), &[])).collect::<Done<Vec<_>>>()?;
    let [port] = sides::free_ports()?;
    let filling = home.start(port)?;
    let projects = PROJECTS.min(many);
    println!("{group}: storing {many} credentials in {projects} projects through the API …");
    each_person(port, &keys, &|api, person| {
        (person..projects).step_by(PEOPLE as usize).try_for_each(|project| make(api, project))
    })?;
    let took = each_person(port, &keys, &|api, person| {
        let theirs = (0..many).filter(|number| owner(*number) == person);
        theirs.into_iter().try_for_each(|number| {
            let made = api.post("/api/v1/credentials", &credential(number))?;
            if is_disabled(number) {
                let id = http::text_field(&made, "id")?;
                api.post(&format!("/api/v1/credentials/{id}/disable"), "{}")?;
            }
            Ok(())
        })
    })?;
    println!("{group}: stored in {:.0} s", took.as_secs_f64());
    drop(filling);
    // Started anew: a server that has just made them has them in memory.
    let server = home.start(port)?;
    let subjects: Vec<Subject<'_>> =
        ASKED.iter().map(|(name, path)| subject(name, path, &server, &keys, projects)).collect();
    interleaved(place, group, CONNECTIONS, &subjects, results)?;
    interleaved(place, pages, PAGES_CONNECTIONS, &pages_of_reader(port, &keys, &server)?, results)
}

fn pages_of_reader<'a>(port: u16, keys: &[String], server: &'a Server) -> Done<Vec<Subject<'a>>> {
    let key = keys.get(READER as usize).ok_or("nobody reads")?;
    let (_, theirs) = Client::new(port, key)?.send("GET", "/api/v1/credentials?project=p-7&limit=1", "")?;
    let id = http::text_field(&theirs, "id")?;
    let cookie = http::sign_in(port, &email(READER), PASSWORD)?;
    let page = |(name, path): &(&'static str, &str)| {
        Subject::new(name, server, Load::page(path.replace("{}", id), &cookie))
    };
    Ok(PAGES.iter().map(page).collect())
}

fn subject<'a>(
    name: &'static str,
    path: &str,
    server: &'a Server,
    keys: &[String],
    projects: u32,
) -> Subject<'a> {
    Subject::new(name, server, Load::spread_among(format!("/api/v1/{path}"), keys, projects))
}

/// Lets each person do their part, several at the same time.
fn each_person(
    port: u16,
    keys: &[String],
    work: &(dyn Fn(&mut Client, u32) -> Done + Sync),
) -> Done<std::time::Duration> {
    at_once(&|writer| {
        let people = (0..PEOPLE).zip(keys).filter(|(person, _)| person % WRITERS == writer);
        people.into_iter().try_for_each(|(person, key)| work(&mut Client::new(port, key)?, person))
    })
}

/// Makes a project with everybody who will share something with it.
fn make(api: &mut Client, project: u32) -> Done {
    let body =
        format!(r#"{{"slug":"p-{project}","name":"Project {project}","environments":["production"]}}"#);
    api.post("/api/v1/projects", &body)?;
    (1..OWNERS).try_for_each(|more| {
        let path = format!("/api/v1/projects/p-{project}/members/{}", email((project + more) % PEOPLE));
        match api.send("PUT", &path, r#"{"role":"editor"}"#)? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("PUT {path} answered {status}: {body}")),
        }
    })
}

fn email(person: u32) -> String {
    format!("person-{person}@example.com")
}

/// The project that uses a credential, and the how manieth of that project it is.
fn place(number: u32) -> (u32, u32) {
    (number % PROJECTS, number / PROJECTS)
}

fn owner(number: u32) -> u32 {
    let (project, nth) = place(number);
    (project + nth % OWNERS) % PEOPLE
}

/// Which of the hundred kinds it is: each project has one of each.
fn kind(number: u32) -> u32 {
    let (project, nth) = place(number);
    (nth + 13 * (project / PEOPLE)) % RARE
}

fn first_name(number: u32) -> &'static str {
    const NAMES: [&str; 6] = ["Billing", "Support desk", "Newsletter", "Shop", "Warehouse", "Reports"];
    if kind(number) == 0 { "Payroll" } else { NAMES[number as usize % NAMES.len()] }
}

fn is_disabled(number: u32) -> bool {
    let (project, _) = place(number);
    kind(number) == 2 && project / PEOPLE == DISABLED
}

/// The body that makes one: named, of a connector, shared with one project.
fn credential(number: u32) -> String {
    let (connector, method, fields) = if kind(number) == 1 {
        ("openai", "api_key", format!(r#"{{"api_key":"bench-key-0123456789-{number}"}}"#))
    } else {
        let fields =
            format!(r#"{{"base_url":"https://api.example.org","token":"bench-0123456789-{number}"}}"#);
        ("http", "bearer", fields)
    };
    let (name, (project, _)) = (first_name(number), place(number));
    format!(
        r#"{{"name":"{name} {number} of bench","connector":"{connector}","auth_method":"{method}","verify":"skip","values":{{"production":{fields}}},"shares":[{{"project":"p-{project}","grants":{{"production":"production"}}}}]}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_there() {
        let numbers = || 0..100_000;
        let bodies: Vec<String> = numbers().map(credential).collect();
        let having = |part: &str| bodies.iter().filter(|body| body.contains(part)).count();
        assert_eq!((having("\"Payroll "), having(" 7 of"), having("openai")), (1_000, 1, 1_000));
        assert_eq!((having("no-such-name"), having("\"p-7\"")), (0, 100));
        let owned = |person: u32, rare: &dyn Fn(u32) -> bool| {
            numbers().filter(|number| owner(*number) == person && rare(*number)).count()
        };
        assert_eq!(owned(7, &|_| true), 1_000);
        // Whoever asks for number n as the maker of project n finds it.
        assert!((0..PROJECTS).all(|number| owner(number) == number % PEOPLE));
        assert!(
            owned(7, &|number| kind(number) == 0) > 0 && numbers().filter(|n| is_disabled(*n)).count() == 100
        );
    }
}
