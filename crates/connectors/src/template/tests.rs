//! Tests of templates: what they give, what is refused, and that none of them can be made to explode.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::borrow::Cow;
use std::cell::Cell;

use latchstring_model::{Entropy, Timestamp};
use serde_json::{Value, json};

use super::*;

struct Zero;

impl Entropy for Zero {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

struct World {
    names: Value,
    asked: Cell<usize>,
}

impl World {
    fn new(names: Value) -> Self {
        Self { names, asked: Cell::new(0) }
    }
}

impl Env for World {
    fn root(&self, name: &str) -> Result<Val<'_>, Stop> {
        self.asked.set(self.asked.get() + 1);
        match self.names.get(name) {
            Some(value) => Ok(Val::from_json(value)),
            None => Err(Stop::Undefined(format!("there is no `{name}`"))),
        }
    }

    fn object(&self, _object: Object, attribute: &str) -> Result<Val<'_>, Stop> {
        self.root(attribute)
    }

    fn secret(&self, name: &str) -> Result<Val<'_>, Stop> {
        Ok(Val::own(format!("secret-{name}")))
    }

    fn variable(&self, name: &str) -> Result<Val<'_>, Stop> {
        Ok(Val::own(format!("variable-{name}")))
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        Ok(Timestamp(1_700_000_000_123))
    }

    fn entropy(&self) -> Result<&dyn Entropy, Stop> {
        Ok(&Zero)
    }
}

fn names() -> Value {
    json!({
        "name": "Ada", "empty": "", "nothing": null, "port": 8080, "on": true, "off": false, "half": 1.5,
        "list": ["a", "b", "c"], "map": {"k": "v", "deep": {"x": [1, 2]}}, "email": "ada@example.org",
    })
}

fn render(source: &str, world: &World) -> Result<Value, String> {
    let template = Template::parse(source).map_err(|error| error.to_string())?;
    let value = template.value(world).map_err(|error| error.to_string())?;
    value.to_json().ok_or_else(|| "no value".to_owned())
}

#[test]
fn what_templates_give() {
    let world = World::new(names());
    for (source, wanted) in [
        ("plain", json!("plain")),
        ("", json!("")),
        ("a {{ name }} b\n", json!("a Ada b\n")),
        ("{{ port }}", json!(8080)),
        ("{{ port }}/", json!("8080/")),
        ("{{ list }}", json!(["a", "b", "c"])),
        ("{{ nothing }}", json!(null)),
        ("{{ nothing | default('x') }}", json!("x")),
        ("{{ missing | default('x') }}", json!("x")),
        ("{{ empty | default('x', true) }}", json!("x")),
        ("{{ nothing or name }}", json!("Ada")),
        ("{{ 'a' if on else 'b' }}", json!("a")),
        ("{{ 'a' if off }}", json!(null)),
        ("{% if port > 80 %}high{% elif on %}x{% else %}low{% endif %}", json!("high")),
        ("{{ name ~ '-' ~ port ~ '-' ~ on }}", json!("Ada-8080-true")),
        ("{{ 'a' + 'b' }}{{ 1 + 2 }}{{ 3 - 5 }}", json!("ab3-2")),
        ("{{ map.deep.x[1] }} {{ map['k'] }} {{ list[-1] }}", json!("2 v c")),
        ("{{ 'b' in list }} {{ 'z' not in name }} {{ 'k' in map }}", json!("true true true")),
        ("{{ not on or off }}", json!(false)),
        ("{{ name is defined }} {{ nope is defined }} {{ nothing is none }}", json!("true false true")),
        ("{{ name is startingwith('A') and name is endingwith('a') }}", json!(true)),
        ("{{ 'a:b' | base64 }} {{ 'a?>' | base64url }} {{ 'YTpi' | b64decode }}", json!("YTpi YT8- a:b")),
        ("{{ 'a b/ü' | urlencode }}", json!("a%20b%2F%C3%BC")),
        ("{{ 'abc' | sha256 }}", json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")),
        (
            "{{ 'abc' | sha1 }} {{ 'abc' | md5 }}",
            json!("a9993e364706816aba3e25717850c26c9cd0d89d 900150983cd24fb0d6963f7d28e17f72"),
        ),
        // RFC 4231, test case 2.
        (
            "{{ 'what do ya want for nothing?' | hmac('Jefe') }}",
            json!("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        ),
        (
            "{{ 'what do ya want for nothing?' | hmac('Jefe', 'sha256', 'base64') }}",
            json!("W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="),
        ),
        ("{{ map | tojson }}", json!(r#"{"k":"v","deep":{"x":[1,2]}}"#)),
        ("{{ ('[1,2]' | fromjson)[0] }}", json!(1)),
        ("{{ name | upper }}{{ name | lower }}{{ ' x ' | trim }}", json!("ADAadax")),
        ("{{ 'a-b-c' | replace('-', '+') }}", json!("a+b+c")),
        ("{{ 'a,b' | split(',') | join('-') }}", json!("a-b")),
        ("{{ list | first }}{{ list | last }}{{ list | length }}{{ name | length }}", json!("ac33")),
        ("{{ ' 12 ' | int + 1 }}", json!(13)),
        ("{{ port | string }}", json!("8080")),
        ("{{ 'ab' | hex }}", json!("6162")),
        ("{{ map | path('deep.x[0]') }}", json!(1)),
        ("{{ {name: 1, 'b': [on]} }}", json!({"Ada": 1, "b": [true]})),
        ("{{ {'a': '1 2', 'b': port} | formencode }}", json!("a=1%202&b=8080")),
        ("{{ get_secret('x') }}/{{ get_variable('y') }}", json!("secret-x/variable-y")),
        ("{{ now() }}", json!(1_700_000_000)),
        ("{{ now(300) }} {{ now('-1h') }}", json!("1700000300 1699996400")),
        (
            "{{ now(0, 'rfc3339') }} {{ now(0, 'http') }}",
            json!("2023-11-14T22:13:20Z Tue, 14 Nov 2023 22:13:20 GMT"),
        ),
        (
            "{{ now(0, 'unix_ms') }} {{ now('1d', 'date') }} {{ now(0, 'basic') }}",
            json!("1700000000123 2023-11-15 20231114T221320Z"),
        ),
        ("{{ uuid() }}", json!("07070707-0707-4707-8707-070707070707")),
        ("{{ nonce(8) }}", json!("0707070707070707")),
        ("{# not shown #}{% raw %}{{ x }}{% endraw %}", json!("{{ x }}")),
        ("{{ user.email }}", json!("ada@example.org")),
    ] {
        assert_eq!(render(source, &world), Ok(wanted), "{source}");
    }
}

#[test]
fn what_is_missing_is_an_error_and_never_an_empty_text() {
    let world = World::new(names());
    for (source, says) in [
        ("{{ missing }}", "there is no `missing`"),
        ("{{ map.missing }}", "there is no `missing`"),
        ("x{{ nothing }}", "left out"),
        ("{{ nothing.more }}", "left out"),
        ("{{ list[7] }}", "no item 7"),
        ("x{{ list }}", "tojson"),
        ("{{ name.first }}", "asked of a text"),
        ("{{ name + 1 }}", "cannot add"),
        ("{{ name < 1 }}", "no order"),
        ("{{ 'x' | int }}", "not a whole number"),
        ("{{ map | lower }}", "needs a text"),
        ("{{ 'x' | hmac('k', 'sha3') }}", "sha512"),
        ("{{ now('tomorrow') }}", "offset"),
        ("{{ now(99999999999999) }}", "hundred years"),
        ("{{ 9223372036854775807 + 1 }}", "out of range"),
        ("{{ '%%%' | b64decode }}", "not base64"),
    ] {
        let error = render(source, &world).expect_err(source);
        assert!(error.contains(says), "{source}: {error}");
    }
}

#[test]
fn errors_hold_no_values() {
    let world = World::new(json!({"key": "tops3cret"}));
    for source in [
        "{{ key | int }}",
        "{{ key | fromjson }}",
        "{{ key + 1 }}",
        "{{ key.x }}",
        "{{ key | b64decode }}",
        "{{ 'x' | hmac('k', key) }}",
        "{{ now(key) }}",
        "{{ now(0, key) }}",
        "{{ key < 1 }}",
        "{{ key | float }}",
        "{{ key | bool }}",
        "{{ 'a' | sha256(key) }}",
    ] {
        let error = render(source, &world).expect_err(source);
        assert!(!error.contains("tops3cret"), "{source}: {error}");
    }
}

/// Refused before anything is rendered.
#[test]
fn bombs_that_are_not_part_of_the_language() {
    let numbers = ["9", "999999", "99999999999999999999"];
    let mut sources = Vec::new();
    for n in numbers {
        sources.push(format!("{{{{ 'a' * {n} }}}}"));
        sources.push(format!("{{{{ [0] * {n} }}}}"));
        sources.push(format!("{{{{ 10 ** {n} }}}}"));
        sources.push(format!("{{{{ range({n}) }}}}"));
        sources.push(format!("{{{{ range({n}) | list | join }}}}"));
        sources.push(format!("{{% for i in range({n}) %}}x{{% endfor %}}"));
        sources.push(format!("{{{{ '%{n}d' | format(1) }}}}"));
        sources.push(format!("{{{{ 'a' | center({n}) }}}}"));
        sources.push(format!("{{{{ 'a' | ljust({n}) }}}}"));
        sources.push(format!("{{{{ 'a' | indent({n}) }}}}"));
        sources.push(format!("{{{{ 'a'.zfill({n}) }}}}"));
        sources.push(format!("{{{{ 'a'.__mul__({n}) }}}}"));
        sources.push(format!("{{{{ lipsum({n}) }}}}"));
        sources.push(format!("{{{{ name[0:{n}] }}}}"));
    }
    for source in [
        "{% set a = 'a' %}",
        "{% set a %}x{% endset %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% import 'x' as y %}",
        "{% call f() %}x{% endcall %}",
        "{% filter upper %}x{% endfilter %}",
        "{% with a = 1 %}{{ a }}{% endwith %}",
        "{% autoescape true %}x{% endautoescape %}",
        "{% do f() %}",
        "{{ namespace(a=1) }}",
        "{{ dict(a=1) }}",
        "{{ cycler('a') }}",
        "{{ debug() }}",
        "{{ name | map('upper') }}",
        "{{ list | batch(2) }}",
        "{{ list | groupby('x') }}",
        "{{ list | sort }}",
        "{{ list | reverse }}",
        "{{ list | select }}",
        "{{ name | attr('x') }}",
        "{{ name | pprint }}",
        "{{ name | safe }}",
        "{{ 1 < 2 < 3 }}",
        "{{ 7 / 2 }}",
        "{{ 7 // 2 }}",
        "{{ 7 % 2 }}",
        "{{ get_secret(name) }}",
        "{{ get_secret('a' ~ 'b') }}",
        "{{ get_secret('a b') }}",
        "{{ get_secret() }}",
        "{{ get_secret }}",
        "{{ now }}",
        "{{ name.upper() }}",
        "{{ name | replace(*list) }}",
        "{{ name | default(value=1) }}",
        "{{ user['na' ~ 'me'] }}",
        "{{ user.password }}",
        "{{ 99999999999999999999 }}",
        "{{ 1e999 }}",
        "{{ name",
        "{% if name %}x",
        "{{ }}",
    ] {
        sources.push(source.to_owned());
    }
    sources.push(format!("{{{{ {}1 }}}}", "-".repeat(5000)));
    sources.push(format!("{{{{ {}on }}}}", "not ".repeat(3000)));
    sources.push(format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)));
    sources.push(format!("{{{{ {}1{} }}}}", "[".repeat(5000), "]".repeat(5000)));
    sources.push(format!("{{{{ {}1{} }}}}", "{'a':".repeat(2000), "}".repeat(2000)));
    sources.push(format!("{{{{ name{} }}}}", ".a".repeat(7000)));
    sources.push(format!("{{{{ name{} }}}}", " or name".repeat(1500)));
    sources.push(format!("{{{{ name{} }}}}", "|upper".repeat(2000)));
    sources.push(format!("{{{{ name{} }}}}", "[0]".repeat(3000)));
    sources.push(format!("{{{{ {}1 }}}}", "1 if on else ".repeat(900)));
    sources.push("{% if on %}".repeat(1000) + &"{% endif %}".repeat(1000));
    sources.push("x".repeat(MAX_SOURCE + 1));
    let world = World::new(names());
    assert!(sources.len() > 90);
    for source in &sources {
        let shown = &source[..source.len().min(80)];
        assert!(Template::parse(source).is_err(), "accepted: {shown}");
        assert_eq!(world.asked.get(), 0);
    }
}

/// In the language, but bounded: no result above 1 MiB, and the bytes handled on the way bounded too.
#[test]
fn bombs_that_are_bounded() {
    let big = "x".repeat(300 * 1024);
    let commas = ",".repeat(300 * 1024);
    let items = vec!["y".repeat(1000); 900];
    let world = World::new(json!({"big": big, "commas": commas, "items": items, "one": "x"}));
    let long = |part: &str, times: usize| vec![part; times].join(" ~ ");
    let mut sources = vec![
        "{{ big | replace('x', 'xxxxxxxxxx') }}".to_owned(),
        "{{ big | replace('x', big) }}".to_owned(),
        "{{ one | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') }}".to_owned(),
        "{{ commas | split(',') | join(big) }}".to_owned(),
        "{{ commas | split(',') | length }}".to_owned(),
        "{{ items | join(big) }}".to_owned(),
        "{{ items | join(items | join) }}".to_owned(),
        "{{ big | urlencode | urlencode | hex | hex | hex }}".to_owned(),
        "{{ big | base64 | base64 | base64 | base64 | base64 }}".to_owned(),
        "{{ big | hex | hex | hex }}".to_owned(),
        "{{ [big, big, big, big, big] | tojson }}".to_owned(),
        "{{ {'a': items, 'b': items, 'c': items} | tojson | tojson | tojson }}".to_owned(),
        "{{ {'a': items | join, 'b': items | join} | formencode }}".to_owned(),
        "{{ items | path('[]') | path('[]') | path('[]') | path('[]') | path('[]') | path('[]') | tojson }}".to_owned(),
        format!("{{{{ {} }}}}", long("big", 500)),
        format!("{{{{ ({}) | upper }}}}", long("one", 900)),
        "{{ big }}".repeat(1000),
        "{{ items | join }}".repeat(500),
        "{{ items | join }}".to_owned(),
        "{{ big ~ big }}".to_owned(),
        "{{ big | sha512 }}".to_owned(),
        "{{ big ~ big ~ big }}{{ big ~ big ~ big }}".to_owned(),
    ];
    // The same with every number of rounds: work must not grow with it.
    for rounds in [1, 10, 100] {
        sources.push(format!("{{{{ big{} }}}}", " | upper".repeat(rounds.min(20))));
        sources.push("{{ big | sha256 }}".repeat(rounds * 8));
        sources.push("{{ 'y' in big }}".repeat(rounds * 8));
        sources.push("{{ big == big }}".repeat(rounds * 8));
        sources.push("{% if big | length > 1 %}{{ big }}{% endif %}".repeat(rounds.min(30)));
    }
    let (mut refused, mut bounded) = (0, 0);
    for source in &sources {
        let shown = &source[..source.len().min(80)];
        let Ok(template) = Template::parse(source) else {
            refused += 1;
            continue;
        };
        let before = world.asked.get();
        match template.value(&world) {
            Ok(value) => {
                assert!(value.to_text().is_none_or(|text| text.len() <= MAX_OUTPUT), "{shown}");
                bounded += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains("bytes"), "{shown}: {error}");
                refused += 1;
            }
        }
        // Each look-up is one step: there are never more than there are words in the source.
        assert!(world.asked.get() - before <= MAX_TOKENS, "{shown}");
    }
    assert!(refused >= 20, "{refused} refused");
    assert!(bounded >= 5, "{bounded} bounded");
}

/// minijinja's own machine is the oracle: within the subset both give the same text.
#[test]
fn minijinja_agrees() {
    let world = World::new(names());
    let mut oracle = minijinja::Environment::new();
    oracle.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    oracle
        .set_syntax(minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap());
    let context = minijinja::Value::from(minijinja::value::Serde(names()));
    let operands =
        ["name", "port", "on", "off", "empty", "half", "'lit'", "3", "list[0]", "map.k", "map['deep'].x[1]"];
    let mut compared = 0;
    let mut compare = |source: String| {
        let expected = oracle.render_str(&source, &context);
        let got = Template::parse(&source).ok().and_then(|template| {
            template.value(&world).ok().and_then(|value| value.to_text().map(Cow::into_owned))
        });
        if let (Ok(expected), Some(got)) = (expected, got) {
            // On purpose: APIs want `true`, Jinja writes Python's `True`.
            let expected = expected.replace("True", "true").replace("False", "false");
            assert_eq!(got, expected, "{source}");
            compared += 1;
        }
    };
    for a in operands {
        for filter in [
            "upper",
            "lower",
            "trim",
            "string",
            "length",
            "urlencode",
            "tojson",
            "default('z')",
            "default('z', true)",
            "replace('a', 'b')",
            "first",
            "last",
            "int",
            "bool",
        ] {
            // Jinja's tojson escapes for HTML and its booleans are Python's: both on purpose not ours.
            if matches!(filter, "tojson" | "bool") || matches!(a, "on" | "off") {
                continue;
            }
            compare(format!("<{{{{ {a} | {filter} }}}}>"));
        }
        for test in ["defined", "none", "string", "boolean"] {
            compare(format!("{{{{ {a} is {test} }}}}{{{{ {a} is not {test} }}}}"));
        }
        for b in operands {
            for op in ["~", "==", "!=", "<", "<=", ">", ">=", "and", "or", "+", "-", "in", "not in"] {
                compare(format!("[{{{{ {a} {op} {b} }}}}]"));
            }
            compare(format!("{{{{ {a} if {b} else 'no' }}}}"));
            compare(format!("{{% if {a} %}}{{{{ {b} }}}}{{% else %}}-{{% endif %}}\n"));
        }
    }
    assert!(compared > 800, "only {compared} compared");
}

#[test]
fn a_template_knows_what_it_reads() {
    let template = Template::parse(
        "{{ a.b }}{% if c %}{{ get_secret('s') }}{{ user.email }}{{ now() }}{% endif %}{{ fields['in'] }}",
    )
    .unwrap();
    let known = template.known();
    for root in ["a", "c", "user", "fields", "in"] {
        assert!(known.reads(root), "{root}");
    }
    assert!(known.time && known.secrets.contains("s") && known.user.contains("email"));
    assert!(!known.reads("b"));
}

#[test]
fn parsing_never_panics_on_odd_bytes() {
    // Every prefix of a template that uses all there is.
    let whole = "{% if a == 'x' and not b %}{{ c | replace('a', \"b\") ~ d[0].e }}{% else %}{{ {'k': [1, -2.5e3]} | tojson }}{% endif %}{# c #}é{{ now(1, 'http') }}";
    for (end, _) in whole.char_indices() {
        let _ = Template::parse(&whole[..end]);
        let _ = Template::parse(&whole[end..]);
    }
}

/// What docs/templates.md says of itself.
struct Guide(World);

impl Env for Guide {
    fn root(&self, name: &str) -> Result<Val<'_>, Stop> {
        self.0.root(name)
    }

    fn object(&self, object: Object, attribute: &str) -> Result<Val<'_>, Stop> {
        self.0.object(object, attribute)
    }

    fn secret(&self, _: &str) -> Result<Val<'_>, Stop> {
        Ok(Val::own("s3cret".to_owned()))
    }

    fn variable(&self, _: &str) -> Result<Val<'_>, Stop> {
        Ok(Val::own("t-17".to_owned()))
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        Ok(Timestamp::parse_rfc3339("2026-01-31T12:00:00Z").unwrap())
    }

    fn entropy(&self) -> Result<&dyn Entropy, Stop> {
        Ok(&Zero)
    }
}

#[test]
fn the_examples_of_the_guide_are_true() {
    let world = Guide(World::new(json!({"name": "Ada", "region": "eu", "tags": ["a", "b"], "empty": null})));
    let mut tried = 0;
    for line in include_str!("../../../../docs/templates.md").lines().filter(|line| line.starts_with("| `")) {
        let line = line.replace("\\|", "\u{1}");
        let cells: Vec<String> =
            line.split('|').map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|")).collect();
        let (source, wanted) = (&cells[1], &cells[2]);
        let template = Template::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let value = template.value(&world).unwrap_or_else(|error| panic!("{source}: {error}"));
        let given = match value.to_json().expect("a value") {
            Value::String(text) => text,
            other => other.to_string(),
        };
        assert_eq!(given, *wanted, "{source}");
        tried += 1;
    }
    assert!(tried > 25, "{tried} examples");
}
