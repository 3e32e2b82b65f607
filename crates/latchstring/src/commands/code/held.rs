//! What keeps `--prune` from removing an environment that `apply` has made: whatever somebody has put into it by hand
//! would go with it.

use serde_json::Value;

use super::state::{Present, There, text};
use super::thing::{Kind, shown};

/// Names that are told; of more, how many.
const TOLD: usize = 20;

fn grant(slug: &str) -> String {
    format!("the grant of credential {slug}")
}

/// What there is in it, by the name of the thing, that `apply` has not made.
pub fn by_hand(present: &Present, environment: &str) -> Vec<String> {
    let within = |name: &str| name.split_once('/').is_some_and(|(of, _)| of == environment);
    let mut found = Vec::new();
    for ((kind, name), there) in &present.things {
        match kind {
            Kind::Variable | Kind::Secret if within(name) && !present.is_marked(*kind, &there.id) => {
                found.push(format!("{} {name}", kind.word()));
            }
            // Whoever makes a key is a person: it is shown once.
            Kind::ServiceKey if there.body.get("environment").is_some_and(|of| of == environment) => {
                found.push(format!("{} {}", kind.word(), shown(name)));
            }
            // The grants of a credential are of whoever made it.
            Kind::Credential if granted(there, environment) && !present.is_marked(*kind, &there.id) => {
                found.push(grant(name));
            }
            _ => {}
        }
    }
    found
}

fn granted(there: &There, environment: &str) -> bool {
    there.body.get("grants").is_some_and(|grants| !grants[environment].is_null())
}

/// The same of what the server lists when it is asked to remove it, which may have come after the plan.
pub fn listed(present: &Present, environment: &str, list: &Value) -> Vec<String> {
    let here = list.as_array().into_iter().flatten().find(|one| one["name"] == environment);
    let names = |part: &str| -> Vec<String> {
        let all = here.and_then(|here| here[part].as_array()).into_iter().flatten();
        all.map(text).collect()
    };
    let mut found = Vec::new();
    for kind in [Kind::Variable, Kind::Secret] {
        let all = names(kind.section()).into_iter().map(|name| format!("{environment}/{name}"));
        let others = all.filter(|name| !present.is_marked(kind, name));
        found.extend(others.map(|name| format!("{} {name}", kind.word())));
    }
    found.extend(names("api_keys").iter().map(|name| format!("{} {name}", Kind::ServiceKey.word())));
    let by_apply = |slug: &String| {
        let there = present.things.get(&(Kind::Credential, slug.clone()));
        there.is_some_and(|there| present.is_marked(Kind::Credential, &there.id))
    };
    found.extend(names("credentials").iter().filter(|slug| !by_apply(slug)).map(|slug| grant(slug)));
    found
}

/// For people.
pub fn told(names: &[String]) -> String {
    let more = names.len().saturating_sub(TOLD);
    let first = names.get(..TOLD).unwrap_or(names).join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_counted() {
        let names = |count: usize| (0..count).map(|at| format!("n{at}")).collect::<Vec<_>>();
        assert_eq!(told(&names(2)), "n0, n1");
        assert!(told(&names(20)).ends_with(", n19"));
        assert!(told(&names(23)).ends_with(", n19 and 3 more"));
    }
}
