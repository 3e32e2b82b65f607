//! axe-core on the page as it is shown: WCAG 2.2 AA and its good practices.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::Browser;

const SCRIPT: &str = "tests/e2e/node_modules/axe-core/axe.min.js";

const RUN: &str = "
const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: arguments[0]})
  .then((found) => done({
    checked: found.passes.length,
    wrong: found.violations.map((one) => one.id + ': ' + one.help + '\\n' + one.nodes.map((node) => '    ' + node.html + '\\n      ' + node.failureSummary).join('\\n')),
  }), (error) => done({checked: 0, wrong: [String(error)]}));
";

/// Rules that colours decide; all the others look at what is the same in every theme.
const OF_COLOURS: [&str; 2] = ["color-contrast", "link-in-text-block"];

fn source() -> &'static str {
    static SOURCE: OnceLock<String> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let path = latchstring_testkit::root().join(SCRIPT);
        std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask setup`", path.display()))
    })
}

impl Browser {
    /// What is not accessible about the page, in words.
    pub fn barriers(&self) -> Vec<String> {
        let rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
        self.barriers_by(&json!(rules), 10)
    }

    /// What can be another in another theme, on a page whose barriers were looked for.
    pub fn barriers_of_colour(&self) -> Vec<String> {
        self.barriers_by(&json!({"type": "rule", "values": OF_COLOURS}), 1)
    }

    fn barriers_by(&self, rules: &Value, least: u64) -> Vec<String> {
        // Through the driver, which no policy of the page binds; once for what is loaded.
        if self.js("return typeof axe") != "object" {
            self.js(source());
        }
        let found = self.js_async_with(RUN, vec![rules.clone()]);
        let checked = found["checked"].as_u64().unwrap_or(0);
        let wrong = found["wrong"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut wrong: Vec<String> = wrong.map(str::to_owned).collect();
        if checked < least {
            wrong.push(format!("axe-core looked at {checked} rules only"));
        }
        wrong
    }

    #[track_caller]
    pub fn has_no_barriers(&self) {
        let barriers = self.barriers();
        assert!(barriers.is_empty(), "{}:\n{}", self.url(), barriers.join("\n"));
    }
}
