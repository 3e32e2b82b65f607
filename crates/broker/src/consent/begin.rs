//! Somebody asks for consent: which scopes, where the browser goes afterwards, and whether it can be asked for at all.

use std::sync::Arc;

use latchstring_journal::Purpose;
use latchstring_model::address::Address;
use latchstring_model::id::ConsentId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, Timestamp};
use latchstring_schemes::oauth2::{DeviceCode, Grant, OAuthError, secrets_in};
use latchstring_store::consents::{self, By, ConsentRow, Kind, State};
use latchstring_store::scopes;

use super::ground::{Ready, WITHIN, Way};
use super::{Begun, LIFE};
use crate::actor::Actor;
use crate::credentials::check::Checked;
use crate::people::random;
use crate::road::own::OwnFailure;
use crate::sealing::consent_aad;
use crate::{Broker, refusals};

#[derive(Default)]
pub struct Asked {
    pub environment: String,
    /// Optional scopes that the person chose.
    pub scopes: Option<Vec<String>>,
    /// Where the browser goes when all went well: a path of this server.
    pub return_to: Option<String>,
}

/// Longest `return_to`, in bytes.
const LONGEST_RETURN: usize = 2048;

/// A path on this server, or `None`. Parsed as browsers do it: `//host`, `/\host`, tabs and the like all lead
/// elsewhere however much they look like paths.
pub fn own_path(public_url: &str, given: &str) -> Option<String> {
    if given.len() > LONGEST_RETURN
        || !given.starts_with('/')
        || given.chars().any(|c| c.is_control() || c == '\\')
    {
        return None;
    }
    let base = url::Url::parse(public_url).ok()?;
    // Read as a browser on our page would, to find out whether it leads elsewhere.
    let parsed = url::Url::options().base_url(Some(&base)).parse(given).ok()?;
    if parsed.origin() != base.origin() || !parsed.username().is_empty() || parsed.password().is_some() {
        return None;
    }
    let mut path = parsed.path().to_owned();
    // What the parser made of it is what a browser is told; it must read the same once more.
    if path.starts_with("//") {
        return None;
    }
    for (sign, part) in [('?', parsed.query()), ('#', parsed.fragment())] {
        if let Some(part) = part {
            path.push(sign);
            path.push_str(part);
        }
    }
    Some(path)
}

/// Mandatory scopes, those that were granted before, and those that were chosen: in this order, each once.
pub(super) fn wanted(
    ready: &Ready,
    held: Option<&[String]>,
    chosen: Option<&[String]>,
) -> Refused<Vec<String>> {
    let declared =
        |scope: &String| ready.consent.mandatory.contains(scope) || ready.consent.optional.contains(scope);
    let chosen = chosen.unwrap_or_default();
    let errors: Vec<FieldError> = chosen
        .iter()
        .enumerate()
        .filter(|(_, scope)| !declared(scope))
        .map(|(i, scope)| {
            let shown: String = scope.chars().filter(|c| !c.is_control()).take(100).collect();
            FieldError::new(
                format!("/scopes/{i}"),
                format!("the OAuth client does not declare the scope `{shown}`"),
            )
        })
        .collect();
    if !errors.is_empty() {
        let all: Vec<&str> = ready.consent.optional.iter().map(String::as_str).collect();
        let hint = if all.is_empty() {
            "The client has no optional scopes; a superuser adds them.".to_owned()
        } else {
            format!("Choose from {}; a superuser adds others to the client.", all.join(", "))
        };
        return Err(Problem::invalid(errors).hint(hint).into());
    }
    let mut scopes = ready.consent.mandatory.clone();
    for scope in held.unwrap_or_default().iter().filter(|scope| declared(scope)).chain(chosen) {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    Ok(scopes)
}

/// The provider was asked and gave nothing.
pub(super) fn refused(error: OAuthError, secrets: &[latchstring_model::SecretString]) -> Box<Problem> {
    Box::new(error.mask(secrets).to_problem())
}

pub(super) fn unanswered(failure: OwnFailure, what: &str) -> Box<Problem> {
    let mut problem = failure.problem;
    let why = match problem.code {
        Code::UpstreamUnreachable => problem.detail.to_string(),
        Code::UpstreamTimeout => format!("It did not answer within {} seconds.", WITHIN.as_secs()),
        _ => return problem,
    };
    problem.code = Code::TokenEndpointError;
    problem.detail = format!("{what} {why}").into();
    problem.hint = Some(
        "Start the sign-in again. If it stays so, the provider's status page may say more, or a superuser looks at the endpoints of the OAuth client.".into(),
    );
    problem
}

/// What a person can be asked to agree to.
pub struct Offer {
    /// Asked for every time.
    pub mandatory: Vec<String>,
    /// Theirs to choose.
    pub optional: Vec<String>,
    /// Of the grant that stands.
    pub granted: Vec<String>,
    /// Where people sign in: a host.
    pub at: String,
    /// On another device, with a code.
    pub device: bool,
}

impl Broker {
    /// What consent to one of a credential's environments can ask for; for the page before it.
    pub async fn consent_offer(&self, actor: &Actor, id: &str, environment: &str) -> Refused<Offer> {
        let checked = self.consent_ground(actor, id, environment).await?;
        let ready = self.consent_ready(actor, &checked)?;
        let device = matches!(&ready.way, Way::OAuth2(grant) if matches!(**grant, Grant::DeviceCode(_)));
        Ok(Offer {
            mandatory: ready.consent.mandatory.clone(),
            optional: ready.consent.optional.clone(),
            granted: checked.values.standing.scopes.clone().unwrap_or_default(),
            at: ready.host(),
            device,
        })
    }

    /// Asks for consent for one of a credential's environments.
    pub async fn begin_consent(self: &Arc<Self>, actor: &Actor, id: &str, asked: Asked) -> Refused<Begun> {
        actor.may_manage()?;
        self.unfrozen(actor)?;
        let return_to = match &asked.return_to {
            None => None,
            Some(given) => match own_path(&self.settings.public_url, given) {
                Some(path) => Some(path),
                None => {
                    let detail = "is a path on this server, such as /credentials; nobody is sent elsewhere";
                    return Err(Problem::invalid(vec![FieldError::new("/return_to", detail)]).into());
                }
            },
        };
        let checked = self.consent_ground(actor, id, &asked.environment).await?;
        // After the credential: what is not there answers the same to a service account, which cannot consent.
        let person = actor.manager()?.clone();
        let mut ready = self.consent_ready(actor, &checked)?;
        let scopes = wanted(&ready, checked.values.standing.scopes.as_deref(), asked.scopes.as_deref())?;
        ready.ask_for(&scopes);
        let row = self.new_consent(By::User(person.id), &checked, scopes, return_to);
        if let Way::OAuth2(grant) = &ready.way
            && let Grant::DeviceCode(grant) = &**grant
        {
            return self.begin_device(actor, &checked, &ready, grant, row).await;
        }
        let token = random::new_token(&*self.parts.entropy);
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        consents::create(&mut tx, &row, Some(&random::hash(token.expose())))
            .await
            .map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        let authorize_url = format!("{}/oauth/start/{}", self.settings.public_url, token.expose());
        Ok(Begun::Browser { authorize_url, expires_at: row.expires_at })
    }

    /// One that begins now, in a browser.
    pub(super) fn new_consent(
        &self,
        by: By,
        checked: &Checked,
        scopes: Vec<String>,
        return_to: Option<String>,
    ) -> ConsentRow {
        let now = self.now();
        let client = checked.client.as_deref();
        ConsentRow {
            id: ConsentId::new(now, &*self.parts.entropy),
            credential_id: checked.row.id.clone(),
            environment: checked.values.environment.clone(),
            values_version: checked.values.version,
            by,
            oauth_client_id: client.map(|client| client.id.clone()),
            client_digest: client.map(|client| client.digest.clone()),
            kind: Kind::Browser,
            state: State::Begun,
            browser_hash: None,
            sealed: None,
            sealed_version: 0,
            scopes,
            return_to,
            ending: None,
            poll_at: None,
            poll_every_ms: None,
            created_at: now,
            expires_at: now.plus_millis(LIFE),
        }
    }

    async fn begin_device(
        &self,
        actor: &Actor,
        checked: &Checked,
        ready: &Ready,
        grant: &DeviceCode,
        mut row: ConsentRow,
    ) -> Refused<Begun> {
        let mut secrets = ready.secrets();
        let now = self.now();
        let request =
            grant.device_request(now, &*self.parts.entropy).map_err(|error| refused(error, &secrets))?;
        secrets.extend(secrets_in(&request));
        let answer = self
            .ask_provider(actor, checked, ready, Purpose::Token, "(device authorization)", request)
            .await
            .map_err(|failure| unanswered(failure, "The provider gave no code for the device."))?;
        let told = grant.read_device_answer(&answer, now).map_err(|error| refused(error, &secrets))?;
        let good = |url: &str| Address::parse(url).is_ok();
        if !good(&told.verification_uri) || !told.verification_uri_complete.as_deref().is_none_or(good) {
            return Err(Problem::new(
                Code::TokenEndpointError,
                "The provider's address for entering the code is no web address.",
            )
            .hint("Check the device authorization endpoint of the OAuth client.")
            .into());
        }
        row.kind = Kind::Device;
        row.state = State::AtProvider;
        row.sealed_version = 1;
        row.expires_at = told.expires_at;
        let every = told.interval_secs.clamp(1, 300) * 1000;
        row.poll_every_ms = Some(every);
        let sealed =
            self.seal(&consent_aad(&row.id, row.sealed_version), told.device_code.expose().as_bytes())?;
        row.sealed = Some((sealed.bytes, sealed.data_key));
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        let db_now: Timestamp = scopes::db_now(&mut tx).await.map_err(refusals::store)?;
        row.poll_at = Some(db_now.plus_millis(every));
        consents::create(&mut tx, &row, None).await.map_err(refusals::store)?;
        consents::overtake(&mut tx, &row, now).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Begun::Device {
            user_code: told.user_code,
            verification_uri: told.verification_uri,
            verification_uri_complete: told.verification_uri_complete,
            expires_at: row.expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn nobody_is_sent_elsewhere() {
        let ours = "https://keys.example.org";
        for (given, path) in [
            ("/", "/"),
            ("/credentials?x=1#y", "/credentials?x=1#y"),
            ("/a/../b", "/b"),
            ("/a%2f%2fevil.example", "/a%2f%2fevil.example"),
        ] {
            assert_eq!(own_path(ours, given).as_deref(), Some(path), "{given}");
        }
        for bad in [
            "",
            "credentials",
            "https://keys.example.org/x",
            "https://evil.example/",
            "//evil.example/",
            "///evil.example/",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/..//evil.example",
            "/.//evil.example",
            "javascript:alert(1)",
            "?next=/",
            " //evil.example",
        ] {
            assert_eq!(own_path(ours, bad), None, "{bad:?}");
        }
        assert_eq!(own_path(ours, &format!("/{}", "x".repeat(3000))), None);
    }
}
