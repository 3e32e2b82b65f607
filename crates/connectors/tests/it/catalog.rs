//! The built-in definitions.

use latchstring_connectors::{FILES, builtin, check};
use latchstring_schemes::Scheme;
use serde_json::json;

use crate::world::World;

#[test]
fn every_file_of_the_folder_is_compiled_in_and_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../connectors");
    let mut there = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect::<Vec<_>>();
    there.sort();
    let mut listed = FILES.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    listed.sort();
    assert_eq!(listed, there, "src/catalog.rs lists the files of connectors/");
    let mut ids = std::collections::BTreeSet::new();
    for (file, text) in FILES {
        match check(text, file) {
            Ok(definition) => {
                assert_eq!(format!("{}.yaml", definition.id), *file, "a file is named after its id");
                assert!(ids.insert(definition.id));
            }
            Err(problems) => {
                let all = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
                panic!("{}", all.join("\n"));
            }
        }
    }
    assert_eq!(builtin().count(), FILES.len());
}

#[test]
fn http_renders_an_api_key() {
    let http = builtin().find(|definition| definition.id == "http").unwrap();
    let values = json!({
        "base_url": "https://api.example.com/v1/", "key": "X-Key", "value": "s3cret-value", "test_path": "/me",
        "headers": {"Accept": "application/json", "X-Env": "{{ environment }}"},
    });
    let resolved =
        World::new().resolve(http, "api_key", values).map_err(|error| error.to_string()).ok().unwrap();
    assert_eq!(resolved.base_url.as_ref().unwrap().expose(), "https://api.example.com/v1");
    assert!(matches!(resolved.scheme, Scheme::ApiKey(_)));
    let headers =
        resolved.headers.sent.iter().map(|h| (h.name.as_str(), h.value.expose())).collect::<Vec<_>>();
    assert_eq!(headers, [("Accept", "application/json"), ("X-Env", "production")]);
    assert_eq!(resolved.destinations[0].pin.prefix, "/v1/");
    assert!(resolved.uses.environment && !resolved.uses.user && resolved.token_uses.only_values());
    assert!(resolved.mask.iter().any(|secret| secret.expose() == "s3cret-value"));
    assert!(resolved.verify.is_some());
}
