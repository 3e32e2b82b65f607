//! One environment of a credential: how it stands, what it holds, what can be done.

use latchstring_broker::credentials::check::Report;
use latchstring_broker::credentials::versions::Version;
use latchstring_broker::credentials::view::EnvironmentView;
use latchstring_broker::definitions::{Field as Defined, FieldType};
use latchstring_model::Timestamp;
use latchstring_model::entity::Status;

use super::Sheet;
use super::token::Life;
use crate::pages::credentials::fields::{label_of, shown};
use crate::pages::frame::Visitor;
use crate::pages::go;
use crate::pages::ui::{Badge, Exchange, When};
use crate::texts::{Rich, T};

pub enum Shown {
    Text(String),
    /// Of several lines, such as a public certificate.
    Lines(String),
    /// Set, with when and by whom; never shown.
    Secret(Rich),
    /// Not set: what the connector has in its place.
    Default(String),
    Unset,
}

pub struct Value {
    pub label: String,
    pub shown: Shown,
}

/// What a check that was just made found out.
pub struct Checked {
    pub title: String,
    pub badge: Badge,
    pub text: String,
    pub hint: Option<String>,
    pub exchange: Option<Exchange>,
}

pub struct Card {
    pub name: String,
    /// As a part of a path.
    pub part: String,
    pub badge: Badge,
    pub how: String,
    pub detail: Option<String>,
    pub mend: Option<String>,
    pub last_check: Option<Rich>,
    pub values: Vec<Value>,
    pub token: Option<Life>,
    pub account: Option<String>,
    pub scopes: Vec<String>,
    pub sent_to: Vec<String>,
    pub used_in: Vec<String>,
    pub may_check: bool,
    /// `Sign in` or `Reconnect`.
    pub connect: Option<String>,
    pub certificate: bool,
    pub checked: Option<Checked>,
}

impl Checked {
    pub fn of(t: T, report: &Report) -> Self {
        let c = &t.credentials;
        let (title, badge) = match report.status {
            Status::Verified => (c.check_good, Badge::new("good", "check-circle", c.verified)),
            Status::Failing => (c.check_bad, Badge::new("bad", "cross-circle", c.failing)),
            status => (c.check_unclear, Badge::status(t, status)),
        };
        Self {
            title: title.to_string(),
            badge,
            text: report.explanation.clone(),
            hint: report.hint.clone(),
            exchange: Exchange::of(t, report.request.as_ref(), report.response.as_ref()),
        }
    }
}

/// When a secret field was last changed, and by whom.
pub fn set_when(
    t: T,
    versions: &[Version],
    environment: &str,
    field: &str,
    now: Timestamp,
    text: &crate::texts::Text,
) -> Option<Rich> {
    let found = versions.iter().find(|version| {
        version.environment == environment && version.changed_fields.iter().any(|changed| changed == field)
    })?;
    let who = found.set_by_email.as_deref().unwrap_or(&found.set_by);
    Some(text.rich().part("when", &When::near(t, found.set_at, now)).text("who", who))
}

fn how(t: T, status: Status) -> String {
    let c = &t.credentials;
    let text = match status {
        Status::Verified => c.how_verified,
        Status::Unverified => c.how_unverified,
        Status::Failing => c.how_failing,
        Status::NeedsAuthorization => c.how_needs_authorization,
        Status::NeedsReconnect => c.how_needs_reconnect,
        Status::Disabled => c.how_disabled,
    };
    text.to_string()
}

fn mend(t: T, sheet: &Sheet, owner: &str, status: Status) -> Option<String> {
    let c = &t.credentials;
    let text = match (status, sheet.view.owned) {
        (Status::Unverified, _) => c.mend_unverified.to_string(),
        (Status::Failing, true) => c.mend_failing.to_string(),
        (Status::NeedsAuthorization, true) => c.mend_needs_authorization.to_string(),
        (Status::NeedsReconnect, true) => c.mend_needs_reconnect.to_string(),
        (Status::Failing, false) => c.mend_failing_other.with("owner", owner).0,
        (Status::NeedsAuthorization | Status::NeedsReconnect, false) => {
            c.mend_connect_other.with("owner", owner).0
        }
        (Status::Verified | Status::Disabled, _) => return None,
    };
    Some(text)
}

fn value(t: T, field: &Defined, view: &EnvironmentView, secret: Option<Rich>) -> Value {
    let label = label_of(field);
    if view.secret_fields.contains(&field.name) {
        return Value {
            label,
            shown: Shown::Secret(secret.unwrap_or_else(|| t.credentials.secret_set.rich())),
        };
    }
    let stored = view.fields.as_ref().and_then(|fields| fields.get(&field.name));
    let shown = match stored {
        None => match field.default.as_ref().filter(|_| view.fields.is_some()) {
            Some(default) => Shown::Default(shown(default)),
            None => Shown::Unset,
        },
        Some(value) if matches!(field.ty, FieldType::Choice) => {
            let text = shown(value);
            let option = field.options.iter().find(|(known, _)| *known == text);
            Shown::Text(option.map_or(text, |(_, label)| label.clone()))
        }
        Some(value) if value.is_object() && value.get("literal").is_none() || value.is_array() => {
            Shown::Lines(serde_json::to_string_pretty(value).unwrap_or_default())
        }
        Some(value) => {
            let text = shown(value);
            if text.contains('\n') { Shown::Lines(text) } else { Shown::Text(text) }
        }
    };
    Value { label, shown }
}

fn values(
    visitor: &Visitor,
    sheet: &Sheet,
    name: &str,
    view: &EnvironmentView,
    versions: &[Version],
    now: Timestamp,
) -> Vec<Value> {
    let t = visitor.t;
    let secret = |field: &str| set_when(t, versions, name, field, now, &t.credentials.secret_set_when);
    let mut values = Vec::new();
    let mut known = Vec::new();
    for field in sheet.method().into_iter().flat_map(|method| &method.fields) {
        known.push(field.name.as_str());
        let one = value(t, field, view, secret(&field.name));
        // What is not set and may be left out is no news; others see only what is secret.
        let unset = matches!(one.shown, Shown::Unset);
        if unset && (field.optional || !field.visible_when.is_empty() || view.fields.is_none()) {
            continue;
        }
        values.push(one);
    }
    for field in view.secret_fields.iter().filter(|field| !known.contains(&field.as_str())) {
        let shown = Shown::Secret(secret(field).unwrap_or_else(|| t.credentials.secret_set.rich()));
        values.push(Value { label: field.clone(), shown });
    }
    values
}

/// `acme: production` for each environment of a project that gets these values.
fn used_in(sheet: &Sheet, name: &str) -> Vec<String> {
    let mut used = Vec::new();
    for share in &sheet.view.shares {
        for environment in share.grants.iter().filter(|(_, ours)| *ours == name).map(|(theirs, _)| theirs) {
            used.push(format!("{}: {environment}", share.project));
        }
    }
    used
}

pub fn card(
    visitor: &Visitor,
    sheet: &Sheet,
    name: &str,
    view: &EnvironmentView,
    versions: &[Version],
    now: Timestamp,
) -> Card {
    let (t, c) = (visitor.t, &visitor.t.credentials);
    let owned = sheet.view.owned;
    let alive = !sheet.view.disabled && sheet.view.deletes_at.is_none();
    let connect = (owned && alive && sheet.consents()).then(|| match view.status {
        Status::NeedsAuthorization => c.connect.to_string(),
        _ => c.reconnect.to_string(),
    });
    let makes_keys = |field: &Defined| field.generate.is_some() && view.secret_fields.contains(&field.name);
    Card {
        name: name.to_owned(),
        part: go::part(name),
        badge: Badge::status(t, view.status),
        how: how(t, view.status),
        detail: view.check_error.clone(),
        mend: mend(t, sheet, &sheet.owner(visitor), view.status).filter(|_| alive),
        last_check: view.checked_at.map(|at| Rich::of("{when}").part("when", &When::near(t, at, now))),
        values: values(visitor, sheet, name, view, versions, now),
        token: view.token.as_ref().map(|token| Life::of(t, token, now)),
        account: view.account.clone(),
        scopes: view.scopes.clone().unwrap_or_default(),
        sent_to: view.destinations.clone(),
        used_in: used_in(sheet, name),
        may_check: alive && view.status != Status::NeedsAuthorization,
        connect,
        certificate: owned && sheet.method().is_some_and(|method| method.fields.iter().any(makes_keys)),
        checked: None,
    }
}
