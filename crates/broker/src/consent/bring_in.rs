//! A grant that somebody has already, from another program or from the provider's own pages: brought along when the
//! credential is made, used once before anything is saved.
//!
//! The access token is tried as it is. Where there is none, where it has ended, or where the connector's base URL
//! comes out of a token answer, the refresh token is used once, which spends it with providers that rotate: what
//! came back is what is saved.

use std::sync::Arc;

use latchstring_connectors::{AuthMethod, SchemeType, Values};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Pin, Problem, SecretString, Timestamp};
use latchstring_schemes::token::{Metadata, TokenSet};
use serde_json::{Map, Value};

use crate::Broker;
use crate::credentials::attempt::{Attempt, Outcome, Place, contexts};
use crate::credentials::input::escape;
use crate::credentials::verify::Granted;
use crate::road::materials::Materials;
use crate::tokens::{TokenSource, one_that_renders};

/// What somebody has of a grant.
#[derive(Clone, Default)]
pub struct BroughtGrant {
    pub access_token: Option<SecretString>,
    /// Of OAuth 1.0a.
    pub token_secret: Option<SecretString>,
    pub refresh_token: Option<SecretString>,
    pub token_type: Option<String>,
    pub expires_at: Option<Timestamp>,
    /// When the grant itself ends. Nobody else knows since when it is there.
    pub grant_expires_at: Option<Timestamp>,
    pub scopes: Option<Vec<String>>,
    /// Further fields of the provider's answer that the connector's URLs read.
    pub metadata: Map<String, Value>,
}

impl BroughtGrant {
    pub(crate) fn check(&self, environment: &str, errors: &mut Vec<FieldError>) {
        let at = |name: &str| format!("/token/{}{name}", escape(environment));
        let given = [
            ("/access_token", &self.access_token),
            ("/refresh_token", &self.refresh_token),
            ("/token_secret", &self.token_secret),
        ];
        if given.iter().take(2).all(|(_, token)| token.as_ref().is_none_or(SecretString::is_empty)) {
            errors.push(FieldError::new(at(""), "has neither an access token nor a refresh token"));
        }
        for (name, token) in given {
            let whole = |text: &str| text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
            if token.as_ref().is_some_and(|token| !whole(token.expose())) {
                errors.push(FieldError::new(
                    at(name),
                    "has a blank, a line end or another sign that tokens do not have",
                ));
            }
        }
    }

    /// What depends on how the method's people consent.
    pub(crate) fn check_for(&self, method: &AuthMethod, environment: &str, errors: &mut Vec<FieldError>) {
        let mut wrong = |name: &str, detail: &str| {
            errors.push(FieldError::new(format!("/token/{}{name}", escape(environment)), detail));
        };
        if method.scheme.ty != SchemeType::Oauth1 {
            if self.token_secret.is_some() {
                wrong("/token_secret", "is of OAuth 1.0a; tokens of OAuth 2 have none");
            }
            return;
        }
        if self.access_token.as_ref().is_none_or(SecretString::is_empty) {
            wrong("/access_token", "is missing: the `oauth_token` that the provider gave");
        }
        if self.token_secret.is_none() {
            wrong("/token_secret", "is missing: the `oauth_token_secret` that came with the token");
        }
        if self.refresh_token.is_some() {
            wrong("/refresh_token", "is of OAuth 2; a token of OAuth 1.0a is not renewed");
        }
    }

    fn set(&self, now: Timestamp) -> TokenSet {
        let mut set = TokenSet::new(self.access_token.clone().unwrap_or_default(), now);
        set.refresh_token = self.refresh_token.clone().filter(|token| !token.is_empty());
        set.token_secret.clone_from(&self.token_secret);
        set.token_type.clone_from(&self.token_type);
        set.expires_at = self.expires_at;
        set.grant_expires_at = self.grant_expires_at;
        set.scopes.clone_from(&self.scopes);
        set.metadata = Metadata::new(self.metadata.clone());
        set
    }
}

impl Broker {
    /// Tries one environment's values with the grant that was brought for them.
    pub(crate) async fn try_brought(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        environment: &str,
        values: &Values,
        places: &[&Place],
        brought: &BroughtGrant,
    ) -> Refused<Outcome> {
        let now = self.now();
        let materials = one_that_renders(self, contexts(attempt, values, places)?)?;
        let mut set = brought.set(now);
        let bare = materials.resolve(None, now, &*self.parts.entropy)?;
        let lacks_base = materials.resolve(Some(&set), now, &*self.parts.entropy)?.base_url.is_none()
            && bare.base_url.is_none();
        // Where nobody says since when it is there: from now on at the latest.
        if set.grant_expires_at.is_none() && (set.refresh_token.is_some() || set.token_secret.is_some()) {
            set.grant_expires_at = bare.scheme.grant_ttl().map(|secs| now.plus_secs(secs));
        }
        let mut renewed = false;
        if set.access_token.is_empty() || !set.is_alive(now) || lacks_base && set.refresh_token.is_some() {
            set = self.renew_brought(attempt, environment, &materials, &set).await?;
            renewed = true;
        }
        loop {
            let granted = Granted { set: set.clone(), stored: None };
            let here = Attempt { grant: Some(&granted), client: attempt.client.clone(), ..*attempt };
            match self.try_environment(&here, environment, values, 1, places).await {
                // It may only have ended: its refresh token knows.
                Err(problem)
                    if problem.code == Code::VerificationFailed
                        && !renewed
                        && set.refresh_token.is_some() =>
                {
                    set = self.renew_brought(attempt, environment, &materials, &set).await?;
                    renewed = true;
                }
                other => return other,
            }
        }
    }

    async fn renew_brought(
        &self,
        attempt: &Attempt<'_>,
        environment: &str,
        materials: &Materials,
        set: &TokenSet,
    ) -> Refused<TokenSet> {
        let wrong = |problem: Box<Problem>| {
            let pointer = format!("/token/{}/refresh_token", escape(environment));
            let mut told = problem;
            if matches!(told.code, Code::NeedsReconnect | Code::TokenEndpointError) {
                told.code = Code::VerificationFailed;
                told.errors = vec![FieldError::new(pointer, "the provider gave no access token for it")];
                told.hint = Some("Check that the token is whole, not used up, and was given to this OAuth client; or leave `token` out and consent anew.".into());
            }
            told
        };
        if set.refresh_token.is_none() {
            let detail = "the access token has ended, and there is no refresh token to get another with";
            return Err(Problem::invalid(vec![FieldError::new(
                format!("/token/{}", escape(environment)),
                detail,
            )])
            .into());
        }
        let bare = materials.resolve(None, self.now(), &*self.parts.entropy)?;
        let pins: Arc<[Pin]> = bare.destinations.iter().map(|place| place.pin.clone()).collect();
        for place in &bare.destinations {
            crate::road::plan::check_place(self, &materials.definition, &bare.client_hosts, place)?;
        }
        let source = TokenSource {
            materials,
            pins: &pins,
            actor: attempt.actor,
            project: None,
            credential: attempt.id,
            environment,
            current: Some(set),
        };
        match Box::pin(self.ask_for_token(&source)).await {
            Ok(obtained) => Ok(obtained.set),
            Err(failure) => Err(wrong(failure.problem)),
        }
    }
}
