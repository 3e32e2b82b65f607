//! The browser's part of the authorization code grant: where to send the person (RFC 6749 §4.1.1,
//! PKCE S256 of RFC 7636), and what the answer at the redirect URI means (§4.1.2, RFC 9207).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchstring_model::address::Address;
use latchstring_model::{Entropy, SecretString};

use super::request::{Params, Scope};

/// The secret half of PKCE: 256 random bits, kept with the consent until the code is exchanged.
#[derive(Clone)]
pub struct PkceVerifier(SecretString);

impl PkceVerifier {
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        Self(SecretString::new(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// One that was stored.
    pub fn restore(text: SecretString) -> Self {
        Self(text)
    }

    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// `code_challenge` for the method S256.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.0.expose().as_bytes()))
    }
}

/// Everything that goes into one authorization URL.
pub struct AuthorizeRequest<'a> {
    pub endpoint: &'a Address,
    pub client_id: &'a str,
    pub redirect_uri: &'a str,
    /// At least 128 random bits, used once.
    pub state: &'a SecretString,
    pub scope: &'a Scope,
    pub pkce: Option<&'a PkceVerifier>,
    /// RFC 8707.
    pub resource: &'a [String],
    /// The connector's and client's own parameters; win over ours, except `state`, `redirect_uri`,
    /// `code_challenge` and its method: those are what the answer is checked by.
    pub params: &'a [(String, String)],
    pub renames: &'a std::collections::BTreeMap<String, String>,
}

impl AuthorizeRequest<'_> {
    /// The URL to send the browser to.
    pub fn url(&self) -> SecretString {
        const OURS: [&str; 4] = ["state", "redirect_uri", "code_challenge", "code_challenge_method"];
        let mut params = Params::default();
        params.text("response_type", "code");
        params.text("client_id", self.client_id);
        params.text("redirect_uri", self.redirect_uri);
        params.scope(self.scope);
        params.push("state", self.state.clone());
        if let Some(verifier) = self.pkce {
            params.text("code_challenge", &verifier.challenge());
            params.text("code_challenge_method", "S256");
        }
        for resource in self.resource {
            params.text("resource", resource);
        }
        let own: Vec<_> = self
            .params
            .iter()
            .filter(|(name, _)| !OURS.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), SecretString::from(value.as_str())))
            .collect();
        params.overlay(&own);
        params.rename(self.renames);
        let base = self.endpoint.to_string();
        let join = match &self.endpoint.query {
            None => "?",
            Some(query) if query.is_empty() => "",
            Some(_) => "&",
        };
        SecretString::new(format!("{base}{join}{}", params.form().expose()))
    }
}

/// What the provider sent to the redirect URI.
pub struct Callback {
    pub code: SecretString,
    /// All other parameters, for metadata that later URLs need (Shopify's `shop`, QuickBooks' `realmId`).
    pub params: Vec<(String, String)>,
}

/// Why a callback is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackRefused {
    #[error("the answer does not belong to a sign-in that was begun here; start again")]
    State,
    #[error(
        "the answer comes from another authorization server than the one that was asked; nothing was sent to either. \
         If the provider's issuer has changed, correct it in the OAuth client"
    )]
    Issuer,
    #[error("a parameter came twice, which a provider never sends; start again")]
    Doubled,
    #[error(
        "the provider's answer has neither a code nor an error; start again, and tell the provider if it stays so"
    )]
    NoCode,
    /// The provider's own words: fit to be shown escaped, to the person who just came from there.
    #[error("{}", denied(error, description.as_deref()))]
    Provider { error: String, description: Option<String> },
}

fn denied(error: &str, description: Option<&str>) -> String {
    let what = match error {
        "access_denied" => "consent was not given; start again if that was not intended",
        "invalid_scope" => {
            "the provider does not know a scope, or does not allow it for this client; ask for others"
        }
        "temporarily_unavailable" | "server_error" => "the provider has trouble; try again in a few minutes",
        "unauthorized_client" => {
            "the provider does not let this client ask for consent; check its registration"
        }
        "login_required" | "interaction_required" | "consent_required" => {
            "the provider wants the person to sign in again"
        }
        _ => "the provider refused; its own words say why",
    };
    match description {
        Some(text) => format!("{what} ({error}: {text})"),
        None => format!("{what} ({error})"),
    }
}

/// The `state` of a callback, to find out whose answer it is. `None` when there is none, or more than one.
pub fn callback_state(query: &str) -> Option<SecretString> {
    let mut found = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decode(name) == "state").then(|| form_decode(value))
    });
    let state = found.next().filter(|state| !state.is_empty())?;
    found.next().is_none().then(|| state.into())
}

/// Reads the query of a callback. `issuer` is the one of the server that was asked, if known:
/// then an `iss` that differs is refused (mix-up, RFC 9207 §2.4), and when the server announces
/// `iss` (`issuer_required`) one that is missing is refused too.
pub fn read_callback(
    query: &str,
    state: &SecretString,
    issuer: Option<&str>,
    issuer_required: bool,
) -> Result<Callback, CallbackRefused> {
    let mut params: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = form_decode(name);
        if params.iter().any(|(other, _)| *other == name)
            && matches!(name.as_str(), "code" | "state" | "iss" | "error" | "error_description")
        {
            return Err(CallbackRefused::Doubled);
        }
        params.push((name, form_decode(value)));
    }
    let mut take = |name: &str| {
        let at = params.iter().position(|(other, _)| other == name)?;
        Some(params.swap_remove(at).1)
    };
    let given = take("state").unwrap_or_default();
    if state.is_empty() || verify_slices_are_equal(given.as_bytes(), state.expose().as_bytes()).is_err() {
        return Err(CallbackRefused::State);
    }
    match (take("iss"), issuer) {
        (Some(iss), Some(expected)) if iss != expected => return Err(CallbackRefused::Issuer),
        (None, Some(_)) if issuer_required => return Err(CallbackRefused::Issuer),
        _ => {}
    }
    if let Some(error) = take("error").filter(|e| !e.is_empty()) {
        let description = take("error_description").filter(|d| !d.is_empty());
        let short = |text: String| text.chars().filter(|c| !c.is_control()).take(500).collect::<String>();
        return Err(CallbackRefused::Provider { error: short(error), description: description.map(short) });
    }
    match take("code").filter(|code| !code.is_empty()) {
        Some(code) => Ok(Callback { code: code.into(), params }),
        None => Err(CallbackRefused::NoCode),
    }
}

pub(super) fn form_decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::request::form_encode;
    use super::*;

    #[test]
    fn pkce_is_rfc_7636_appendix_b() {
        let verifier = PkceVerifier::restore("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn form_codes_round_trip() {
        for text in ["", "a b+c&d=e%20", "ü/€?", "*-._~"] {
            assert_eq!(form_decode(&form_encode(text)), text);
        }
        assert_eq!(form_encode("a b~"), "a+b%7E");
    }
}
