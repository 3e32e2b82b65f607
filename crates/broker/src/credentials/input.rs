//! What people send, taken apart and checked as far as that goes without looking anything up.

use std::collections::BTreeMap;

use latchstring_model::entity::{valid_environment, valid_slug};
use latchstring_model::{FieldError, Timestamp};
use serde_json::{Map, Value};

use crate::connect_sessions::Connects;
use crate::consent::BroughtGrant;

/// How a new or changed set of values is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Verify {
    #[default]
    Required,
    /// Saved as `unverified`.
    Skip,
}

#[derive(Clone, Debug, Default)]
pub struct ShareInput {
    /// Slug or id.
    pub project: String,
    /// Made from the credential's name when missing.
    pub slug: Option<String>,
    /// Project environment → the credential's environment.
    pub grants: BTreeMap<String, String>,
}

#[derive(Default)]
pub struct NewCredential {
    pub name: String,
    pub connector: String,
    pub auth_method: String,
    /// Slug or id of the project that shall own it; a person's own otherwise.
    pub owner_project: Option<String>,
    pub external_id: Option<String>,
    pub oauth_client: Option<String>,
    pub note: Option<String>,
    pub acts_as: Option<String>,
    pub expires_on: Option<Timestamp>,
    /// By the credential's own environments.
    pub values: BTreeMap<String, Map<String, Value>>,
    /// Grants that exist already, by environment.
    pub token: BTreeMap<String, BroughtGrant>,
    pub shares: Vec<ShareInput>,
    pub verify: Verify,
    /// The connect session that is used up with it.
    pub connects: Option<Connects>,
}

/// What a change says; what it does not name stays. `Some(None)` clears.
#[derive(Default)]
pub struct CredentialChange {
    pub name: Option<String>,
    /// Another client, in a request of its own.
    pub oauth_client: Option<String>,
    pub note: Option<Option<String>>,
    pub acts_as: Option<Option<String>>,
    /// In every project that it is shared with.
    pub external_id: Option<Option<String>>,
    pub expires_on: Option<Option<Timestamp>>,
    /// In every project that it is shared with, where the share does not say its own.
    pub slug: Option<String>,
    /// Merged per field, null clears; an environment that is `None` is removed.
    pub values: BTreeMap<String, Option<Map<String, Value>>>,
    /// The whole list.
    pub shares: Option<Vec<ShareInput>>,
    pub verify: Verify,
}

impl CredentialChange {
    pub(super) fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let Some(name) = &self.name {
            check_line(name, "/name", &mut errors);
        }
        if let Some(Some(id)) = &self.external_id {
            check_line(id, "/external_id", &mut errors);
        }
        if let Some(note) = &self.note {
            check_note(note, "/note", &mut errors);
        }
        if let Some(Some(acts_as)) = &self.acts_as {
            check_line(acts_as, "/acts_as", &mut errors);
        }
        if let Some(slug) = &self.slug {
            check_slug(slug, "/slug", &mut errors);
        }
        check_environments(self.values.keys(), &mut errors);
        if let Some(shares) = &self.shares {
            check_shares(shares, &mut errors);
        }
        errors
    }
}

/// Longest name, note and external id, in characters.
const LONGEST: usize = 200;
const LONGEST_NOTE: usize = 4000;
/// Environments of one credential, and shares.
const MOST: usize = 100;

pub(super) fn check_line(text: &str, pointer: &str, errors: &mut Vec<FieldError>) {
    if text.trim().is_empty() {
        errors.push(FieldError::new(pointer, "is empty"));
    } else if text.chars().count() > LONGEST || text.chars().any(char::is_control) {
        errors.push(FieldError::new(pointer, format!("is one line of at most {LONGEST} characters")));
    }
}

pub(super) fn check_note(text: &Option<String>, pointer: &str, errors: &mut Vec<FieldError>) {
    if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_NOTE) {
        errors.push(FieldError::new(pointer, format!("has at most {LONGEST_NOTE} characters")));
    }
}

pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

pub(super) fn check_environments<'a>(
    names: impl ExactSizeIterator<Item = &'a String>,
    errors: &mut Vec<FieldError>,
) {
    if names.len() > MOST {
        errors.push(FieldError::new("/values", format!("at most {MOST} environments")));
    }
    for name in names {
        if !valid_environment(name) {
            errors.push(FieldError::new(
                format!("/values/{}", escape(name)),
                "an environment's name has lower-case letters, digits, hyphens and underscores, at most 63",
            ));
        }
    }
}

fn check_slug(slug: &str, pointer: &str, errors: &mut Vec<FieldError>) {
    if !valid_slug(slug) {
        errors.push(FieldError::new(
            pointer,
            "a slug has lower-case letters, digits and single hyphens between them, at most 63 characters",
        ));
    }
}

pub(super) fn check_shares(shares: &[ShareInput], errors: &mut Vec<FieldError>) {
    if shares.len() > MOST {
        errors.push(FieldError::new("/shares", format!("at most {MOST} shares")));
    }
    for (i, share) in shares.iter().enumerate() {
        if let Some(slug) = &share.slug {
            check_slug(slug, &format!("/shares/{i}/slug"), errors);
        }
        if shares[..i].iter().any(|other| other.project == share.project) {
            errors.push(FieldError::new(format!("/shares/{i}/project"), "the project is named twice"));
        }
    }
}

impl NewCredential {
    pub(super) fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check_line(&self.name, "/name", &mut errors);
        if let Some(id) = &self.external_id {
            check_line(id, "/external_id", &mut errors);
            if self.shares.is_empty() {
                errors.push(FieldError::new(
                    "/external_id",
                    "belongs to a share: name at least one project in `shares`",
                ));
            }
        }
        for (environment, brought) in &self.token {
            if self.values.contains_key(environment) {
                brought.check(environment, &mut errors);
            } else {
                errors.push(FieldError::new(
                    format!("/token/{}", escape(environment)),
                    "there are no `values` for that environment; write at least an empty object",
                ));
            }
        }
        check_note(&self.note, "/note", &mut errors);
        if let Some(acts_as) = &self.acts_as {
            check_line(acts_as, "/acts_as", &mut errors);
        }
        check_environments(self.values.keys(), &mut errors);
        if self.values.is_empty() {
            errors.push(FieldError::new("/values", "holds no environment: write {\"production\": {…}}"));
        }
        check_shares(&self.shares, &mut errors);
        errors
    }
}
