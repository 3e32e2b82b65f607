//! A definition asked something of the person's own, and what of its headers anybody may see.

use http::Method;

use crate::definition::{AuthMethod, Definition, Entries, Expect, FixedSet, RequestSpec, Target};
use crate::template::Template;

fn literals<'t>(of: impl Iterator<Item = &'t Template>) -> impl Iterator<Item = String> {
    of.filter_map(|template| template.as_literal().map(str::to_owned))
}

impl Definition {
    /// The same API, where values of one method are tried with GET at a path below the base URL, taken as it stands.
    #[must_use]
    pub fn asking(&self, method: &str, path: &str) -> Self {
        let mut own = self.clone();
        own.verify = Some(RequestSpec {
            method: Method::GET,
            target: Target::Path(Template::literal(path)),
            query: Entries::default(),
            headers: Entries::default(),
            body: None,
            expect: Expect::default(),
            account: None,
        });
        for one in own.auth_methods.iter_mut().filter(|one| one.id == method) {
            one.verify = None;
        }
        own
    }

    /// Values of headers that stand in the definition itself, the same for everybody.
    pub fn literal_headers(&self, method: &AuthMethod) -> impl Iterator<Item = String> {
        let of_set =
            |set: &FixedSet| literals(set.each.iter().map(|(_, template, _)| template)).collect::<Vec<_>>();
        let mut found = of_set(&self.headers);
        found.extend(of_set(&method.headers));
        if let Some(Entries::Each(each)) =
            method.verify.as_ref().or(self.verify.as_ref()).map(|verify| &verify.headers)
        {
            found.extend(literals(each.iter().map(|(_, template)| template)));
        }
        found.into_iter()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn a_path_is_asked_as_it_stands() {
        let source = "id: one\nname: One\nhosts: [api.example.com]\nbase_url: https://api.example.com\nheaders: {x-version: \"7\", x-key: \"{{ key }}\"}\n\
                      auth_methods:\n  key:\n    label: Key\n    fields: {key: {type: text, secret: true}}\n    \
                      scheme: {type: bearer, token: \"{{ key }}\"}\n    verify: {get: /own}\nverify: {get: /me}\n";
        let definition = crate::check(source, "test").unwrap();
        let asking = definition.asking("key", "/{{ key }}");
        let method = asking.method("key").unwrap();
        assert!(method.verify.is_none());
        assert_eq!(asking.verify.as_ref().unwrap().literal_path(), Some("/{{ key }}"), "no template");
        assert_eq!(
            definition.verify.as_ref().unwrap().literal_path(),
            Some("/me"),
            "the one that is stored stays"
        );
        assert_eq!(definition.literal_headers(method).collect::<Vec<_>>(), ["7"]);
    }
}
