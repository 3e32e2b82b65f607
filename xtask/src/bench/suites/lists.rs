//! How long lists and searches take with many credentials in a thousand projects, on both databases.

use super::{Place, Subject, interleaved};
use crate::Done;
use crate::bench::results::Results;
use crate::bench::sides;
use crate::bench::sides::keeper::Server;
use crate::bench::sides::latchstring::{Home, Upstreams};
use crate::bench::wrk::Load;
use crate::postgres::Cluster;

pub const SQLITE: &str = "lists, SQLite";
pub const POSTGRES: &str = "lists, PostgreSQL";
pub const CONNECTIONS: u32 = 4;
const PROJECTS: u32 = 1_000;
/// As many share a name, a connector or a state.
const RARE: u32 = 500;

/// Name, and what is asked. All credentials have the same owner, so an owner's lists choose among all of them.
const ASKED: &[(&str, &str)] = &[
    ("an owner's, first page", "credentials"),
    ("an owner's, by a name that is rare", "credentials?q=payroll"),
    ("an owner's, by a name that one has", "credentials?q=payroll%200%20"),
    ("an owner's, by a name that none has", "credentials?q=no-such-name"),
    ("an owner's, by connector", "credentials?connector=openai"),
    ("an owner's, by a status that is rare", "credentials?status=disabled"),
    ("an owner's, by a status that none has", "credentials?status=needs_reconnect"),
    ("a project's, whole", "credentials?project=p-{}&limit=200"),
    ("a project's, by name", "credentials?project=p-{}&q=payroll"),
    ("a project's, by connector", "credentials?project=p-{}&connector=openai"),
    ("a project's, by owner", "credentials?project=p-{}&owner=bench@example.com"),
    ("a project's, by status", "credentials?project=p-{}&status=disabled"),
    ("projects, first page", "projects"),
];

/// The longest that a hundredth of the answers may take, in milliseconds.
pub const LONGEST: f64 = 50.0;

pub fn run(place: &Place<'_>, results: &mut Results) -> Done {
    let cluster = Cluster::start()?;
    for (group, name, database) in
        [(SQLITE, "lists-sqlite", None), (POSTGRES, "lists-postgres", Some(cluster.url.as_str()))]
    {
        measured(place, group, name, database, results)?;
    }
    Ok(())
}

fn measured(
    place: &Place<'_>,
    group: &str,
    name: &str,
    database: Option<&str>,
    results: &mut Results,
) -> Done {
    let many = place.options.credentials;
    // Nothing is called: where calls go does not matter.
    let nowhere = Upstreams { api: 9, sink: 9 };
    let home = Home::on(database, &place.tools.latchstring, place.folder, name, nowhere)?;
    let [port] = sides::free_ports()?;
    let filling = home.start(port)?;
    let projects = PROJECTS.min(many);
    println!("{group}: storing {many} credentials in {projects} projects through the API …");
    home.projects(port, projects)?;
    let took = home.fill(port, many, &|number| credential(number, projects))?;
    println!("{group}: stored in {:.0} s", took.as_secs_f64());
    for number in (0..many).filter(|number| number % RARE == 0) {
        home.disable(port, &format!("{} {number} of bench", first_name(number)))?;
    }
    drop(filling);
    // Started anew: a server that has just made them has them in memory.
    let server = home.start(port)?;
    let subjects: Vec<Subject<'_>> =
        ASKED.iter().map(|(name, path)| subject(name, path, &server, home.key(), projects)).collect();
    interleaved(place, group, CONNECTIONS, &subjects, results)
}

fn subject<'a>(name: &'static str, path: &str, server: &'a Server, key: &str, projects: u32) -> Subject<'a> {
    let path = format!("/api/v1/{path}");
    let load = if path.contains("{}") { Load::spread(path, key, projects) } else { Load::get(path, key) };
    Subject { name, server, load }
}

fn first_name(number: u32) -> &'static str {
    const NAMES: [&str; 6] = ["Billing", "Support desk", "Newsletter", "Shop", "Warehouse", "Reports"];
    if number.is_multiple_of(RARE) { "Payroll" } else { NAMES[number as usize % NAMES.len()] }
}

/// The body that makes one: named, of a connector, shared with one project.
fn credential(number: u32, projects: u32) -> String {
    let (connector, method, fields) = if number % RARE == 1 {
        ("openai", "api_key", format!(r#"{{"api_key":"bench-key-0123456789-{number}"}}"#))
    } else {
        let fields =
            format!(r#"{{"base_url":"https://api.example.org","token":"bench-0123456789-{number}"}}"#);
        ("http", "bearer", fields)
    };
    let (name, project) = (first_name(number), number % projects);
    format!(
        r#"{{"name":"{name} {number} of bench","connector":"{connector}","auth_method":"{method}","verify":"skip","values":{{"production":{fields}}},"shares":[{{"project":"p-{project}","grants":{{"production":"production"}}}}]}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_there() {
        let names: Vec<String> = (0..2_000).map(|number| credential(number, 100)).collect();
        let having = |part: &str| names.iter().filter(|body| body.contains(part)).count();
        assert_eq!((having("\"Payroll "), having("\"Payroll 0 "), having("openai")), (4, 1, 4));
        assert_eq!((having("no-such-name"), having("\"p-7\"")), (0, 20));
    }
}
