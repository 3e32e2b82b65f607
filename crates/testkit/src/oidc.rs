//! `oidc-provider` (npm), a certified authorization server: client credentials, JWT bearer,
//! authorization code, refresh with rotation and reuse detection, `private_key_jwt`, device flow,
//! introspection, revocation. tests/e2e/oidc-provider.mjs says what its configuration can hold.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::http;
use crate::process::{Helper, node};

pub struct OidcProvider {
    helper: Helper,
}

impl OidcProvider {
    /// With one client, [`CLIENT_ID`](Self::CLIENT_ID), that may use every grant but JWT bearer.
    pub fn start() -> Self {
        Self::with(&json!({}))
    }

    /// `{"clients": [client metadata as in OpenID Connect registration], "settings": {…}, "tls": {key, cert, ca}}`.
    /// With `tls` the methods that talk with it cannot be used: they speak plain HTTP.
    pub fn with(config: &Value) -> Self {
        Self { helper: Helper::start(node("oidc-provider.mjs").arg(config.to_string())) }
    }

    pub const CLIENT_ID: &'static str = "latchstring";
    pub const CLIENT_SECRET: &'static str = "a-test-secret-that-guards-nothing";

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT` with `tls`; without a slash at the end.
    pub fn issuer(&self) -> String {
        self.helper.said("issuer")
    }

    pub fn port(&self) -> u16 {
        self.issuer()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("the issuer ends with a port")
    }

    pub fn token_url(&self) -> String {
        self.at("/token")
    }

    pub fn authorize_url(&self) -> String {
        self.at("/auth")
    }

    pub fn introspection_url(&self) -> String {
        self.at("/token/introspection")
    }

    pub fn revocation_url(&self) -> String {
        self.at("/token/revocation")
    }

    /// Who an access token with the scope `openid` belongs to.
    pub fn userinfo_url(&self) -> String {
        self.at("/me")
    }

    pub fn device_url(&self) -> String {
        self.at("/device/auth")
    }

    /// An address that wants an access token of this server and answers `{client_id, sub, scope}`.
    pub fn resource_url(&self) -> String {
        self.at("/resource")
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.issuer())
    }

    /// Requests since the start or the last reset, as `"POST /token" → 3`.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let answer = http::get(&self.at("/admin/counts"), &[]).json();
        serde_json::from_value(answer).expect("counts are numbers")
    }

    pub fn token_requests(&self) -> u64 {
        self.counts().get("POST /token").copied().unwrap_or(0)
    }

    pub fn reset_counts(&self) {
        self.admin("counts", &json!({}));
    }

    /// Another key signs ID tokens from now on; the one before is published no more.
    pub fn rotate_keys(&self) {
        self.admin("rotate", &json!({}));
    }

    /// Changes `access_token_ttl`, `refresh_token_ttl`, `rotate`, `pkce_required`, `dpop_nonces`, `delay_ms`, `resources`,
    /// `fail_next`, `lose_next`, `reject_scope`, `person`, `email`, `claims`, `userinfo_sub`, `id_claims`, `id_signature`,
    /// `withhold_refresh` or `resource_delay_ms` while it runs.
    pub fn set(&self, settings: &Value) {
        self.admin("settings", settings);
    }

    /// An existing grant of the person `alice`: `{access_token, expires_in, refresh_token}`.
    pub fn grant(&self, client_id: &str, scope: &str) -> Value {
        self.admin("grant", &json!({"client_id": client_id, "scope": scope}))
    }

    /// Where the server sends a client's people back to. It forgets the other addresses.
    pub fn redirect_to(&self, client_id: &str, redirect_uri: &str) {
        self.admin("client", &json!({"client_id": client_id, "redirect_uris": [redirect_uri]}));
    }

    /// Everybody takes their consent back.
    pub fn end_grants(&self) {
        self.admin("end", &json!({}));
    }

    /// The person takes the consent back.
    pub fn revoke_grant(&self, refresh_token: &str) {
        self.admin("revoke", &json!({"refresh_token": refresh_token}));
    }

    /// What the person at the other screen does with a device flow's user code.
    pub fn answer_device(&self, user_code: &str, allow: bool) {
        self.admin("device", &json!({"user_code": user_code, "allow": allow}));
    }

    fn admin(&self, what: &str, body: &Value) -> Value {
        let answer = http::post_json(&self.at(&format!("/admin/{what}")), body);
        assert_eq!(answer.status, 200, "/admin/{what}: {}", answer.text());
        answer.json()
    }

    /// Follows an authorization URL as a browser in which `alice` signs in and consents (or refuses,
    /// with `login_hint=deny`), up to the redirect back to the client, which is returned.
    pub fn browse(&self, authorize_url: &str) -> String {
        self.browse_with(authorize_url, |url, cookies| http::get(url, &[("cookie", cookies)]))
    }

    /// The same with another way of asking: URL and cookies → answer.
    pub fn browse_with(
        &self,
        authorize_url: &str,
        mut get: impl FnMut(&str, &str) -> http::Answer,
    ) -> String {
        let issuer = self.issuer();
        let mut cookies: BTreeMap<String, String> = BTreeMap::new();
        let mut url = authorize_url.to_owned();
        for _ in 0..12 {
            let jar =
                cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
            let answer = get(&url, &jar);
            for (_, cookie) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
                let pair = cookie.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').unwrap_or_default();
                if value.is_empty() {
                    cookies.remove(name);
                } else {
                    cookies.insert(name.to_owned(), value.to_owned());
                }
            }
            let Some(location) = answer.header("location") else {
                panic!("{url} answered {} without a redirect: {}", answer.status, answer.text());
            };
            url = if location.starts_with('/') { format!("{issuer}{location}") } else { location.to_owned() };
            if !url.starts_with(&format!("{issuer}/")) {
                return url;
            }
        }
        panic!("{authorize_url} never came back to the client")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::KeyPair;

    const BASIC: (&str, &str) =
        ("authorization", "Basic bGF0Y2hzdHJpbmc6YS10ZXN0LXNlY3JldC10aGF0LWd1YXJkcy1ub3RoaW5n");

    fn bearer(token: &Value) -> String {
        format!("Bearer {}", token.as_str().unwrap())
    }

    #[test]
    fn it_gives_tokens_that_its_resource_takes() {
        let server = OidcProvider::start();
        let answer =
            http::post_form(&server.token_url(), &[BASIC], "grant_type=client_credentials&scope=read");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = bearer(&answer.json()["access_token"]);
        let resource = http::get(&server.resource_url(), &[("authorization", &token)]);
        assert_eq!(resource.json()["scope"], "read");
        assert_eq!(http::get(&server.resource_url(), &[("authorization", "Bearer x")]).status, 401);
        assert_eq!(server.token_requests(), 1);
        server.reset_counts();
        assert_eq!(server.token_requests(), 0);
    }

    #[test]
    fn a_refresh_token_used_twice_ends_the_grant() {
        let server = OidcProvider::start();
        let grant = server.grant(OidcProvider::CLIENT_ID, "openid offline_access read");
        let form =
            |token: &Value| format!("grant_type=refresh_token&refresh_token={}", token.as_str().unwrap());
        let refresh = |token: &Value| http::post_form(&server.token_url(), &[BASIC], &form(token));
        let second = refresh(&grant["refresh_token"]);
        assert_eq!(second.status, 200, "{}", second.text());
        assert_ne!(second.json()["refresh_token"], grant["refresh_token"]);
        let reused = refresh(&grant["refresh_token"]);
        assert_eq!((reused.status, reused.json()["error"].as_str()), (400, Some("invalid_grant")));
        assert_eq!(refresh(&second.json()["refresh_token"]).status, 400, "the whole grant is dead");
        let token = bearer(&second.json()["access_token"]);
        assert_eq!(http::get(&server.resource_url(), &[("authorization", &token)]).status, 401);
    }

    #[test]
    fn a_person_consents_or_refuses() {
        let server = OidcProvider::start();
        let url = format!(
            "{}?client_id=latchstring&response_type=code&scope=openid+offline_access+read&state=s&prompt=consent&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback",
            server.authorize_url()
        );
        let back = server.browse(&url);
        let code = back.split(['?', '&']).find_map(|part| part.strip_prefix("code=")).unwrap();
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback"
        );
        let answer = http::post_form(&server.token_url(), &[BASIC], &form);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.json()["refresh_token"].is_string());
        let refused = server.browse(&format!("{url}&login_hint=deny"));
        assert!(refused.contains("error=access_denied") && refused.contains("state=s"), "{refused}");
    }

    #[test]
    fn a_device_waits_for_the_person() {
        let server = OidcProvider::start();
        let start = || http::post_form(&server.device_url(), &[BASIC], "scope=openid+read").json();
        let poll = |device: &Value| {
            let code = device["device_code"].as_str().unwrap();
            let form = format!("grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code={code}");
            http::post_form(&server.token_url(), &[BASIC], &form).json()
        };
        let device = start();
        assert_eq!(poll(&device)["error"], "authorization_pending");
        server.answer_device(device["user_code"].as_str().unwrap(), true);
        assert!(poll(&device)["access_token"].is_string());
        let device = start();
        server.answer_device(device["user_code"].as_str().unwrap(), false);
        assert_eq!(poll(&device)["error"], "access_denied");
    }

    #[test]
    fn failures_and_lost_answers_can_be_asked_for() {
        let server = OidcProvider::start();
        server.set(&json!({"fail_next": [{"status": 503, "body": {"error": "temporarily_unavailable"}}], "lose_next": 1}));
        let form = "grant_type=client_credentials";
        assert_eq!(http::post_form(&server.token_url(), &[BASIC], form).status, 503);
        assert!(http::try_request("POST", &server.token_url(), &[BASIC], form.as_bytes()).is_err());
        server.set(&json!({"access_token_ttl": 7}));
        assert_eq!(http::post_form(&server.token_url(), &[BASIC], form).json()["expires_in"], 7);
    }

    #[test]
    fn an_assertion_is_worth_a_token_once() {
        let keys = KeyPair::generate("RS256");
        let grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        let server = OidcProvider::with(&json!({"clients": [{
            "client_id": "robot",
            "token_endpoint_auth_method": "none",
            "grant_types": [grant_type],
            "redirect_uris": [],
            "response_types": [],
            "jwks": {"keys": [keys.public_jwk]},
        }]}));
        let ask = |assertion: &str| {
            let form = format!("grant_type={grant_type}&scope=read&assertion={assertion}");
            http::post_form(&server.token_url(), &[], &form)
        };
        let claims = |aud: &str| json!({"iss": "robot", "sub": "alice", "aud": aud, "exp": 4_000_000_000u64});
        let assertion = keys.sign(&claims(&server.token_url()));
        let answer = ask(&assertion);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = bearer(&answer.json()["access_token"]);
        let resource = http::get(&server.resource_url(), &[("authorization", &token)]).json();
        assert_eq!((resource["sub"].as_str(), resource["scope"].as_str()), (Some("alice"), Some("read")));
        for bad in [
            assertion,
            keys.sign(&claims("https://elsewhere.example")),
            KeyPair::generate("RS256").sign(&claims(&server.issuer())),
        ] {
            assert_eq!(ask(&bad).json()["error"], "invalid_grant");
        }
    }

    #[test]
    fn a_client_proves_itself_with_a_key() {
        let keys = KeyPair::generate("ES256");
        let server = OidcProvider::with(&json!({"clients": [{
            "client_id": "robot",
            "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": ["client_credentials"],
            "redirect_uris": [],
            "response_types": [],
            "jwks": {"keys": [keys.public_jwk]},
        }]}));
        let claims = json!({"iss": "robot", "sub": "robot", "aud": server.issuer(), "jti": "1", "iat": 1_700_000_000, "exp": 4_000_000_000u64});
        let form = format!(
            "grant_type=client_credentials&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={}",
            keys.sign(&claims)
        );
        let answer = http::post_form(&server.token_url(), &[], &form);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let again = http::post_form(&server.token_url(), &[], &form);
        assert_eq!(again.json()["error"], "invalid_client", "a jti is good once");
    }
}
