//! Why a scheme cannot be prepared or applied. A text names the field and never its value.

use crate::jws::JwsError;
use crate::keys::KeyError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    #[error("`{field}` is empty. Give it a value.")]
    Missing { field: &'static str },
    #[error(
        "`{field}` holds a character that cannot stand in a header, such as a line break or a zero byte; \
         that often comes along when a value is copied. Type the value again without it."
    )]
    HeaderValue { field: String },
    #[error("`{field}` is not a header name. Use letters, digits and hyphens, without a colon.")]
    HeaderName { field: String },
    #[error(
        "`{field}` names the header `{name}`, which belongs to the connection itself. Choose another header."
    )]
    ReservedHeader { field: String, name: String },
    #[error("`{field}` is not a cookie name. Use letters, digits, hyphens and underscores.")]
    CookieName { field: String },
    #[error(
        "`{field}` holds a character that cannot stand in a cookie: a semicolon, a blank or a control character."
    )]
    CookieValue { field: String },
    #[error(
        "`{field}` holds a control character, such as a line break or a zero byte. Type the value again without it."
    )]
    ControlCharacter { field: &'static str },
    #[error(
        "The user name holds a colon, which Basic authentication cannot carry (RFC 7617): everything after it \
         would be read as the password. If you pasted `user:password`, split it over the two fields."
    )]
    UserNameColon,
    #[error(
        "`{field}` begins with `{prefix}` already, and that word is added when it is sent. Paste only what follows it."
    )]
    PrefixTwice { field: &'static str, prefix: &'static str },
    #[error("`{field}`: {source}")]
    Key { field: &'static str, source: KeyError },
    #[error(transparent)]
    Jws(#[from] JwsError),
    #[error("`{field}`: `{{{placeholder}}}` is not something that can be signed here. {known}")]
    Placeholder { field: String, placeholder: String, known: &'static str },
    #[error(
        "`{field}`: a `{{` without its `}}`. Write a brace that stands for itself as {{open}} or {{close}}."
    )]
    OpenPlaceholder { field: String },
    #[error("`{field}` must be from {least} to {most} seconds.")]
    Range { field: &'static str, least: i64, most: i64 },
    #[error(
        "`{field}` holds no certificate in PEM form. Paste the client certificate, from BEGIN CERTIFICATE to END CERTIFICATE."
    )]
    NotACertificate { field: &'static str },
    #[error("`{field}` holds a certificate that cannot be read. Export it again, in PEM form.")]
    BadCertificate { field: &'static str },
    #[error(
        "The client certificate does not belong to the private key: their public keys differ. \
         Paste the pair that was made together, the client's own certificate first and then its issuers."
    )]
    CertificateKeyMismatch,
    #[error(
        "This method takes the place of another and cannot be put inside one. Combine a client certificate with one plain method."
    )]
    NestedMethod,
    #[error(
        "The signature covers the body, and the body was not held for it. Send a body with a known, \
         moderate length, or use https where the API takes unsigned bodies."
    )]
    BodyNotHeld,
    #[error("The credential has no token yet, and this method cannot be used without one.")]
    TokenMissing,
    #[error("The token holds a character that cannot be sent. Connect again to get a new one.")]
    BadToken,
    #[error("{0}")]
    OAuth(String),
}
