//! The keys of every scheme: one table that the reader, the renderer, the JSON Schema for editors
//! and the reference page's test all use.

use Kind::{Answer, Body, Bool, Choice, Int, Json, List, Map, Nested, Steps, Text, Url};

/// How proof is given on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemeType {
    None,
    ApiKey,
    Basic,
    Bearer,
    Oauth2ClientCredentials,
    Oauth2AuthorizationCode,
    Oauth2JwtBearer,
    Oauth2DeviceCode,
    Oauth2TokenExchange,
    Oauth2Password,
    Jwt,
    Oauth1,
    AwsSigv4,
    Digest,
    Hmac,
    MutualTls,
    Steps,
    Database,
    Custom,
}

impl SchemeType {
    pub fn as_str(self) -> &'static str {
        spec(self).name
    }

    pub fn parse(name: &str) -> Option<Self> {
        SCHEMES.iter().find(|spec| spec.name == name).map(|spec| spec.ty)
    }

    /// Whether a token always has to be obtained before a call.
    pub(crate) fn has_token(self) -> bool {
        matches!(
            self,
            SchemeType::Oauth2ClientCredentials
                | SchemeType::Oauth2AuthorizationCode
                | SchemeType::Oauth2JwtBearer
                | SchemeType::Oauth2DeviceCode
                | SchemeType::Oauth2TokenExchange
                | SchemeType::Oauth2Password
                | SchemeType::Steps
        )
    }

    /// Whether a person always has to consent, in a browser or on another device. A definition may say so of others.
    pub(crate) fn needs_consent(self) -> bool {
        matches!(self, SchemeType::Oauth2AuthorizationCode | SchemeType::Oauth2DeviceCode)
    }

    /// Whether this version can use it for calls.
    pub fn usable(self) -> bool {
        self != SchemeType::Database
    }

    /// What whoever chooses it should know beforehand.
    pub fn warning(self) -> Option<&'static str> {
        match self {
            SchemeType::Oauth2Password => Some(
                "This gives Latchstring the person's own password, which OAuth 2 advises against (RFC 9700 section 2.4): \
                 it cannot be limited to scopes that it does not need, it goes round a second factor, and it stops working \
                 when the person changes it. Use another method if the API has one.",
            ),
            _ => None,
        }
    }
}

/// What stands behind a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    /// An absolute URL; its template reads fields, `let` and `token` only.
    Url,
    Choice(&'static [&'static str]),
    Int,
    Bool,
    /// Name → template, or one template that yields a map.
    Map,
    /// Templates, or one template that yields a list or a text with blanks.
    List,
    /// Any JSON whose texts are templates.
    Json,
    Nested(&'static [Key]),
    /// How token answers are read: `schemes::oauth2::AnswerRules`.
    Answer,
    Steps,
    /// `json`, `form` or `text`.
    Body,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub help: &'static str,
}

const fn must(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, kind, required: true, help }
}

const fn may(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, kind, required: false, help }
}

pub(crate) struct Spec {
    pub ty: SchemeType,
    pub name: &'static str,
    pub help: &'static str,
    /// Several groups, so that the OAuth grants share theirs.
    pub keys: &'static [&'static [Key]],
}

impl Spec {
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().flat_map(|group| group.iter())
    }
}

pub(crate) const ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
    "ES512", "EdDSA",
];

const CLIENT_AUTH: &[&str] = &[
    "basic",
    "basic_raw",
    "post",
    "none",
    "private_key_jwt",
    "tls",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "custom",
];

const TOKEN_URL: &[Key] = &[must("token_url", Url, "Where tokens are asked for.")];

/// Of every grant: the token endpoint.
const ENDPOINT: &[Key] = &[
    may(
        "token_method",
        Choice(&["post", "get", "put"]),
        "HTTP method of the token request. Default `post`; with `get` the parameters go into the query.",
    ),
    may("body", Choice(&["form", "json", "query"]), "How the token request is written. Default `form`."),
    may("token_headers", Map, "Headers of the token request; they win over ours."),
    may(
        "token_params",
        Map,
        "Further parameters of the token request (not of a refresh); they win over the grant's.",
    ),
    may("refresh_params", Map, "Further parameters of a refresh."),
    may("refresh_url", Url, "Where a refresh is asked for, if not at `token_url`."),
    may(
        "param_names",
        Map,
        "The provider's name for a parameter: `client_id: app_id`. An empty name leaves it out.",
    ),
    may("scope", List, "Scopes to ask for: a list, or a text with blanks between."),
    may("scope_separator", Text, "What stands between scopes. Default a blank."),
    may("resource", List, "RFC 8707: the APIs that the token is for."),
    may(
        "dpop_key",
        Text,
        "RFC 9449: PEM of a P-256 key that tokens are bound to; every request proves it. Default none: bearer tokens.",
    ),
    may("dpop_passphrase", Text, "Of an encrypted `dpop_key`."),
    may("token_answer", Answer, "How the answer is read: paths, formats, what counts as an error."),
    may(
        "token_ttl",
        Int,
        "Seconds that a token lives: taken when the answer does not say, a cap when it says more.",
    ),
    may(
        "expiry_margin",
        Int,
        "Seconds before its end from which a token is renewed. Default a tenth of its life, at most 60.",
    ),
    may(
        "refresh_reuse",
        Choice(&["single_use", "grace", "nonrotating"]),
        "Whether a refresh may be sent again when its answer was lost. Default `single_use`: never.",
    ),
    may("revocation_url", Url, "RFC 7009: where a token is revoked when a credential is purged."),
    may("introspection_url", Url, "RFC 7662: where a token's state can be asked."),
    may("keep_alive", Int, "Seconds after which an idle grant is refreshed so that it does not lapse."),
    may(
        "token_name",
        Text,
        "Which of the named tokens in `token_answer.named` calls use. Default the main one.",
    ),
    may("send_as", Nested(SEND_AS), "How the token goes into a call. Default `Authorization: Bearer …`."),
];

const SEND_AS: &[Key] = &[
    may("in", Choice(&["header", "query", "cookie"]), "Default `header`."),
    may("name", Text, "Default `Authorization`, or `access_token` in the query."),
    may(
        "prefix",
        Text,
        "Before the token. Default `Bearer ` in the `Authorization` header, else nothing; a blank is added after a word.",
    ),
];

/// Of the grants where we prove ourselves as a client.
const CLIENT: &[Key] = &[
    may("client_id", Text, "Our id at the provider."),
    may("client_secret", Text, "Our secret at the provider."),
    may(
        "client_auth",
        Choice(CLIENT_AUTH),
        "How the client proves itself. Default `basic` with a secret, `private_key_jwt` with a key, else `none`. `basic_raw`: Basic without form-encoding first. `tls` (or a name of RFC 8705, `tls_client_auth` or `self_signed_tls_client_auth`): by the certificate in the method's `tls`. `custom`: by `token_headers` or `token_params` alone.",
    ),
    may("private_key", Text, "PEM, for `private_key_jwt`."),
    may("passphrase", Text, "Of an encrypted private key."),
    may("algorithm", Choice(ALGORITHMS), "Of the client assertion. Default RS256."),
    may("assertion_audience", Text, "`aud` of the client assertion. Default the token URL."),
    may("assertion_ttl", Int, "Seconds that the client assertion lives. Default 180."),
    may("assertion_headers", Json, "Further JOSE headers of the client assertion, such as `kid`."),
    may("assertion_claims", Json, "Further claims of the client assertion."),
];

const JWT_BEARER: &[Key] = &[
    must("issuer", Text, "`iss` of the assertion."),
    may("subject", Text, "`sub` of the assertion."),
    must("audience", List, "`aud` of the assertion; often not the token URL."),
    must("private_key", Text, "PEM, or the shared secret with an HS algorithm."),
    may("passphrase", Text, "Of an encrypted private key."),
    may("algorithm", Choice(ALGORITHMS), "Default RS256."),
    may("additional_claims", Json, "Further claims; `null` takes one out."),
    may("jwt_headers", Json, "Further JOSE headers, such as `kid`."),
    may("assertion_ttl", Int, "Seconds that the assertion lives. Default 180."),
    may("client_id", Text, "Sent beside the assertion where the provider wants it."),
    may("client_secret", Text, "Sent beside the assertion where the provider wants it."),
    may(
        "client_auth",
        Choice(CLIENT_AUTH),
        "How the client proves itself beside the assertion. Default `none`, and nothing is sent without `client_id`.",
    ),
];

const AUTHORIZATION: &[Key] = &[
    may("token_url", Url, "Where tokens are asked for. Without it the OAuth client names it."),
    may("authorize_url", Url, "Where the person is sent to consent. Without it the OAuth client names it."),
    may("authorize_params", Map, "Further parameters of the authorization request."),
    may("pkce", Bool, "RFC 7636 with S256. Default true."),
    may("callback_metadata", Map, "Parameters of the callback kept as `token.<name>`: name → parameter."),
    may("issuer", Text, "Expected in the callback (RFC 9207) and for discovery."),
];

/// Of both kinds of consent.
const CONSENT: &[Key] = &[
    may("scopes", Nested(SCOPES), "Scopes that an OAuth client may declare; shown to who registers it."),
    may("userinfo_url", Url, "Who consented, for display. Asked with the new token."),
    may(
        "userinfo_account",
        Text,
        "Where the answer of `userinfo_url` names the account. Default `email`, `preferred_username`, `login`, `name` or `sub`.",
    ),
    may("grant_ttl", Int, "Seconds after which consent has to be given again."),
    may(
        "refresh_token",
        Choice(&["optional", "required"]),
        "`required`: a consent that brings no refresh token is refused. Default `optional`.",
    ),
    may("refresh_token_hint", Text, "What to do when the consent brought no refresh token."),
];

/// An `oauth1` method that people consent to, instead of having a token in its values.
pub(crate) const CONSENT_KEY: &str = "consent";

/// What stands in the values where nobody consents.
pub(crate) const OAUTH1_OWN: &[&str] =
    &["consumer_key", "consumer_secret", "token", "token_secret", "private_key", "passphrase"];

/// With [`CONSENT_KEY`] alone.
pub(crate) const OAUTH1_CONSENT: &[Key] = &[
    may(
        CONSENT_KEY,
        Bool,
        "`true`: a person consents (RFC 5849 section 2). The application is then the OAuth client that the credential names, and the token comes of the consent.",
    ),
    may(
        "request_token_url",
        Url,
        "Where temporary credentials are asked for. Without it the OAuth client names it.",
    ),
    may("authorize_url", Url, "Where the person is sent to consent. Without it the OAuth client names it."),
    may(
        "token_url",
        Url,
        "Where the temporary credentials are exchanged for the token. Without it the OAuth client names it.",
    ),
    may("authorize_params", Map, "Further parameters of the page where the person consents."),
    may("scope", List, "Scopes to ask for, as the parameter `scope` of that page."),
    may("scope_separator", Text, "What stands between scopes. Default a blank."),
    may("scopes", Nested(SCOPES), "Scopes that an OAuth client may declare; shown to who registers it."),
    may("userinfo_url", Url, "Who consented, for display. Asked with the new token."),
    may(
        "userinfo_account",
        Text,
        "Where the answer of `userinfo_url` names the account. Default `email`, `preferred_username`, `login`, `name` or `sub`.",
    ),
    may("grant_ttl", Int, "Seconds after which consent has to be given again."),
];

const SCOPES: &[Key] = &[
    may("default", List, "Asked for unless the client says otherwise."),
    may("docs_url", Text, "Where the provider describes its scopes."),
    may(
        "granted",
        Choice(&["exact", "ignore"]),
        "Whether the answer names granted scopes as they were asked for, so that a missing one is noticed. Default `exact`.",
    ),
];

const DEVICE: &[Key] = &[
    may("token_url", Url, "Where tokens are asked for. Without it the OAuth client names it."),
    may(
        "device_authorization_url",
        Url,
        "RFC 8628: where the user code is asked for. Without it the OAuth client names it.",
    ),
    may("device_params", Map, "Further parameters of that request."),
];

const EXCHANGE: &[Key] = &[
    must("subject_token", Text, "RFC 8693: what is exchanged."),
    may("subject_token_type", Text, "Default `urn:ietf:params:oauth:token-type:access_token`."),
    may("actor_token", Text, "RFC 8693."),
    may("actor_token_type", Text, "RFC 8693."),
    may("requested_token_type", Text, "RFC 8693."),
    may("audience", List, "RFC 8693."),
];

const PLACE: &[Key] = &[
    may("header", Text, "A header's name; this or `query`."),
    may("query", Text, "A query parameter's name."),
    may("value", Text, "Default `{signature}`; it may stand in the middle of a text."),
];

const PASSWORD: &[Key] =
    &[must("username", Text, "The person's name there."), must("password", Text, "The person's password.")];

pub(crate) const SCHEMES: &[Spec] = &[
    Spec { ty: SchemeType::None, name: "none", help: "Nothing is added.", keys: &[] },
    Spec {
        ty: SchemeType::ApiKey,
        name: "api_key",
        help: "A key in a header, query parameter or cookie.",
        keys: &[&[
            must("key", Text, "The parameter's or header's name."),
            must("value", Text, "The key itself."),
            may("in", Choice(&["header", "query", "cookie"]), "Default `header`."),
            may("prefix", Text, "Put before the value; a blank is added after a word."),
        ]],
    },
    Spec {
        ty: SchemeType::Basic,
        name: "basic",
        help: "HTTP Basic (RFC 7617).",
        keys: &[&[
            must("username", Text, "May be empty."),
            may("password", Text, "May be empty or left out."),
        ]],
    },
    Spec {
        ty: SchemeType::Bearer,
        name: "bearer",
        help: "A fixed token as `Authorization: Bearer …`.",
        keys: &[&[must("token", Text, "The token."), may("prefix", Text, "Instead of `Bearer`.")]],
    },
    Spec {
        ty: SchemeType::Oauth2ClientCredentials,
        name: "oauth2_client_credentials",
        help: "OAuth 2, the client on its own behalf (RFC 6749 section 4.4).",
        keys: &[TOKEN_URL, CLIENT, ENDPOINT],
    },
    Spec {
        ty: SchemeType::Oauth2AuthorizationCode,
        name: "oauth2_authorization_code",
        help: "OAuth 2 with consent in a browser (RFC 6749 section 4.1).",
        keys: &[AUTHORIZATION, CONSENT, CLIENT, ENDPOINT],
    },
    Spec {
        ty: SchemeType::Oauth2JwtBearer,
        name: "oauth2_jwt_bearer",
        help: "OAuth 2 with a signed assertion (RFC 7523 section 2.1).",
        keys: &[TOKEN_URL, JWT_BEARER, ENDPOINT],
    },
    Spec {
        ty: SchemeType::Oauth2DeviceCode,
        name: "oauth2_device_code",
        help: "OAuth 2 with consent on another device (RFC 8628).",
        keys: &[DEVICE, CONSENT, CLIENT, ENDPOINT],
    },
    Spec {
        ty: SchemeType::Oauth2TokenExchange,
        name: "oauth2_token_exchange",
        help: "OAuth 2 token exchange (RFC 8693).",
        keys: &[TOKEN_URL, EXCHANGE, CLIENT, ENDPOINT],
    },
    Spec {
        ty: SchemeType::Oauth2Password,
        name: "oauth2_password",
        help: "OAuth 2 with a name and password (RFC 6749 section 4.3), where nothing else is offered.",
        keys: &[TOKEN_URL, PASSWORD, CLIENT, ENDPOINT],
    },
    Spec {
        ty: SchemeType::Jwt,
        name: "jwt",
        help: "A JWT of our own, made anew for every call.",
        keys: &[&[
            must("private_key", Text, "PEM, or the shared secret with an HS algorithm."),
            may("passphrase", Text, "Of an encrypted private key."),
            may("algorithm", Choice(ALGORITHMS), "Default RS256."),
            may(
                "secret_encoding",
                Choice(&["raw", "base64", "hex"]),
                "How the secret of an HS algorithm is written. Default `raw`.",
            ),
            must("claims", Json, "The claims; numeric texts in exp, iat and nbf become integers."),
            may("jwt_headers", Json, "Further JOSE headers, such as `kid`."),
            may("lifetime", Int, "Seconds from `iat` to `exp`, unless the claims give `exp`. Default 180."),
            may(
                "backdate",
                Int,
                "Seconds that `iat` lies in the past, for APIs whose clock is behind. Default 0.",
            ),
            may("in", Choice(&["header", "query", "cookie"]), "Default `header`."),
            may("name", Text, "Default `Authorization`."),
            may("prefix", Text, "Default `Bearer` in the `Authorization` header."),
        ]],
    },
    Spec {
        ty: SchemeType::Oauth1,
        name: "oauth1",
        help: "OAuth 1.0a (RFC 5849).",
        keys: &[
            &[
                may("consumer_key", Text, "The application. Needed without `consent`."),
                may("consumer_secret", Text, "Its secret."),
                may("token", Text, "The person's token."),
                may("token_secret", Text, "Its secret."),
                may(
                    "signature_method",
                    Choice(&["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA256", "PLAINTEXT"]),
                    "Default HMAC-SHA1; with `consent` and a client that has a key, RSA-SHA256.",
                ),
                may("private_key", Text, "PEM, for RSA-SHA256."),
                may("passphrase", Text, "Of an encrypted private key."),
                may("realm", Text, "In the Authorization header."),
            ],
            OAUTH1_CONSENT,
        ],
    },
    Spec {
        ty: SchemeType::AwsSigv4,
        name: "aws_sigv4",
        help: "AWS Signature Version 4.",
        keys: &[&[
            must("access_key_id", Text, ""),
            must("secret_access_key", Text, ""),
            may("session_token", Text, "Of temporary credentials."),
            must("region", Text, "As in `eu-central-1`."),
            must("service", Text, "As in `s3`."),
        ]],
    },
    Spec {
        ty: SchemeType::Digest,
        name: "digest",
        help: "HTTP Digest (RFC 7616).",
        keys: &[&[must("username", Text, ""), must("password", Text, "")]],
    },
    Spec {
        ty: SchemeType::Hmac,
        name: "hmac",
        help: "A signature over parts of the request, with a shared secret.",
        keys: &[&[
            must("secret", Text, "The shared key."),
            may(
                "secret_encoding",
                Choice(&["raw", "base64", "hex"]),
                "How the key is written. Default `raw`.",
            ),
            may("algorithm", Choice(&["sha1", "sha256", "sha384", "sha512"]), "Default `sha256`."),
            may("key_id", Text, "What `{key_id}` stands for."),
            must(
                "sign",
                List,
                "The pieces that are signed, with placeholders such as `{method}` and `{body}`.",
            ),
            may(
                "separator",
                Text,
                "What joins the pieces. Default nothing; `\\n` in double quotes is a line end.",
            ),
            may(
                "output",
                Choice(&["hex", "hex_upper", "base64", "base64url"]),
                "How the signature is written. Default `hex`.",
            ),
            must("place", Nested(PLACE), "Where the signature goes."),
            may("headers", Map, "Headers set before signing; placeholders allowed."),
            may("query", Map, "Query parameters set before signing; placeholders allowed."),
            may(
                "timestamp",
                Choice(&["unix", "ms", "ns", "rfc3339", "rfc3339_ms", "http", "compact"]),
                "How `{timestamp}` is written. Default `unix`.",
            ),
            may("nonce", Choice(&["hex", "uuid"]), "How `{nonce}` is written. Default `hex`."),
        ]],
    },
    Spec {
        ty: SchemeType::MutualTls,
        name: "mutual_tls",
        help: "A client certificate.",
        keys: &[&[
            must("certificate", Text, "PEM: the certificate and its issuers, in any order."),
            must("private_key", Text, "PEM."),
            may("passphrase", Text, "Of an encrypted private key."),
            may("headers", Map, "Headers to add beside it."),
        ]],
    },
    Spec {
        ty: SchemeType::Steps,
        name: "steps",
        help: "A login of one or more requests, whose answers give what calls need.",
        keys: &[&[
            must("steps", Steps, "The requests, in order."),
            must("apply", Nested(APPLY), "What is added to calls; templates read `token.<name>`."),
            may("token_ttl", Int, "Seconds that the login lives. Default 3600 unless `expiry` says."),
            may("expiry", Text, "Name of an extracted value that says when the login ends."),
            may(
                "expiry_format",
                Choice(&["seconds", "minutes", "milliseconds", "epoch", "epoch_ms", "date"]),
                "What stands there. Default `seconds`; `date` is ISO 8601 or RFC 2822, without a zone UTC.",
            ),
            may("expiry_margin", Int, "Seconds before its end from which it is renewed."),
        ]],
    },
    Spec {
        ty: SchemeType::Database,
        name: "database",
        help: "A database session.",
        keys: &[&[
            must("driver", Choice(&["postgresql", "mysql"]), ""),
            must("host", Text, ""),
            may("port", Int, ""),
            must("database", Text, ""),
            must("username", Text, ""),
            may("password", Text, ""),
            may("tls", Choice(&["disable", "prefer", "require", "verify-full"]), "Default `prefer`."),
            may("ca_certificate", Text, "PEM."),
            may("client_certificate", Text, "PEM."),
            may("client_key", Text, "PEM."),
        ]],
    },
    Spec {
        ty: SchemeType::Custom,
        name: "custom",
        help: "Headers, query parameters and cookies from templates.",
        keys: &[&[
            may("headers", Map, "Headers to set."),
            may("query", Map, "Query parameters to set."),
            may("cookies", Map, "Cookies to set."),
            may(
                "body",
                Body,
                "Body of requests that Latchstring makes itself (the verification); a caller's body is never touched.",
            ),
        ]],
    },
];

pub(crate) const APPLY: &[Key] = &[
    may("headers", Map, "Headers to set."),
    may("query", Map, "Query parameters to set."),
    may("cookies", Map, "Cookies to set."),
];

/// How the connection is secured, beside a scheme.
pub(crate) const TLS: &[Key] = &[
    may("ca_certificate", Text, "PEM: trusted beside the public authorities for this credential."),
    may("client_certificate", Text, "PEM: shown to the API."),
    may("client_key", Text, "PEM: the key of that certificate."),
    may("passphrase", Text, "Of an encrypted client key."),
];

pub(crate) fn spec(ty: SchemeType) -> &'static Spec {
    // The table has every type: a test goes through them. The fallback is never met.
    SCHEMES.iter().find(|spec| spec.ty == ty).unwrap_or(&SCHEMES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's list.
    const CONTRACT: &str = "none api_key basic bearer oauth2_client_credentials oauth2_authorization_code \
        oauth2_jwt_bearer oauth2_device_code oauth2_token_exchange oauth2_password jwt oauth1 aws_sigv4 digest hmac \
        mutual_tls steps database custom";

    #[test]
    fn every_type_of_the_contract_is_there() {
        for name in CONTRACT.split_whitespace() {
            assert_eq!(SchemeType::parse(name).map(SchemeType::as_str), Some(name));
        }
        assert_eq!(SCHEMES.len(), CONTRACT.split_whitespace().count());
    }

    #[test]
    fn no_key_is_there_twice() {
        for spec in SCHEMES {
            let mut seen = std::collections::HashSet::new();
            for key in spec.keys() {
                assert!(seen.insert(key.name), "{}.{}", spec.name, key.name);
            }
        }
    }
}
