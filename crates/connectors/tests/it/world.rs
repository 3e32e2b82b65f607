//! What a call brings along, for tests.

use std::collections::BTreeMap;

use latchstring_connectors::{
    ClientAuthMethod, Context, Definition, Lookup, LookupUnavailable, OAuthClient, OAuthEndpoints,
    ProjectContext, RenderError, Resolved, SecretValue, UserContext, Values,
};
use latchstring_model::address::Address;
use latchstring_model::id::OAuthClientId;
use latchstring_model::{Entropy, Timestamp};
use latchstring_schemes::keys::ParsedKeys;
use serde_json::{Map, Value};

pub struct Counting(pub std::sync::atomic::AtomicU8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }
}

#[derive(Default)]
pub struct Store {
    pub secrets: BTreeMap<String, (String, Vec<String>)>,
    pub variables: BTreeMap<String, String>,
    pub down: bool,
}

impl Lookup for Store {
    fn secret(&self, name: &str) -> Result<Option<SecretValue>, LookupUnavailable> {
        if self.down {
            return Err(LookupUnavailable);
        }
        Ok(self
            .secrets
            .get(name)
            .map(|(value, hosts)| SecretValue { value: value.as_str().into(), hosts: hosts.clone() }))
    }

    fn variable(&self, name: &str) -> Result<Option<String>, LookupUnavailable> {
        if self.down {
            return Err(LookupUnavailable);
        }
        Ok(self.variables.get(name).cloned())
    }
}

/// A registration that names every endpoint, for connectors that leave them open.
pub fn oauth_client() -> OAuthClient {
    let at = |path: &str| Some(Address::parse(&format!("https://auth.example.net/{path}")).unwrap());
    OAuthClient {
        id: OAuthClientId::new(Timestamp(1), &Counting(7.into())),
        name: "Ours".into(),
        client_id: "our-client".into(),
        auth: ClientAuthMethod::Basic,
        secret: Some("our secret".into()),
        private_key: None,
        certificate: None,
        dpop: None,
        resource: Vec::new(),
        issuer: Some("https://auth.example.net".into()),
        issuer_in_callback: false,
        endpoints: OAuthEndpoints {
            request_token: at("temporary"),
            authorization: at("authorize"),
            token: at("token"),
            revocation: at("revoke"),
            userinfo: at("userinfo"),
            introspection: None,
            device_authorization: at("device"),
        },
        mandatory_scopes: Vec::new(),
        optional_scopes: Vec::new(),
        authorize_params: Vec::new(),
        token_params: Vec::new(),
        pkce: true,
        redirect_uri: "https://latch.example.org/oauth/callback/oac_1".into(),
        hosts: Vec::new(),
        digest: "d".into(),
    }
}

pub struct World {
    pub store: Store,
    pub user: Option<UserContext>,
    pub project: ProjectContext,
    pub token: Option<Map<String, Value>>,
    pub client: Option<OAuthClient>,
    pub input: Option<Value>,
    pub keys: ParsedKeys,
    pub now: Timestamp,
    pub entropy: Counting,
}

impl World {
    pub fn new() -> Self {
        Self {
            store: Store::default(),
            user: Some(UserContext {
                id: "usr_1".into(),
                email: "ada@example.org".into(),
                first_name: "Ada".into(),
                last_name: "Lovelace".into(),
                username: String::new(),
                name: "Ada Lovelace".into(),
            }),
            project: ProjectContext { id: "prj_1".into(), slug: "acme".into(), name: "Acme".into() },
            token: None,
            client: None,
            input: None,
            keys: ParsedKeys::default(),
            now: Timestamp(1_700_000_000_000),
            entropy: Counting(0.into()),
        }
    }

    pub fn context<'a>(&'a self, values: &'a Values) -> Context<'a> {
        Context {
            values,
            user: self.user.as_ref(),
            project: Some(&self.project),
            environment: Some("production"),
            lookup: &self.store,
            client: self.client.as_ref(),
            token: self.token.as_ref(),
            input: self.input.as_ref(),
            keys: &self.keys,
            now: self.now,
            entropy: &self.entropy,
        }
    }

    pub fn resolve(&self, def: &Definition, method: &str, values: Value) -> Result<Resolved, RenderError> {
        let method = def.method(method).expect("a method of that name");
        let values = def.check_values(method, values.as_object().expect("a map")).expect("good values");
        def.resolve(method, &self.context(&values))
    }
}
