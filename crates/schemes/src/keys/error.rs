//! What is wrong with a pasted key, and what to do about it. None of these ever quotes the key.

/// The families of keys that can sign here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Rsa,
    /// An RSA key whose own algorithm identifier allows PSS only.
    RsaPss,
    P256,
    P384,
    P521,
    Ed25519,
    /// A shared secret.
    Secret,
}

impl KeyKind {
    /// With its article, as it stands in a sentence.
    pub const fn describe(self) -> &'static str {
        match self {
            KeyKind::Rsa => "an RSA key",
            KeyKind::RsaPss => "an RSA key for RSASSA-PSS only",
            KeyKind::P256 => "an elliptic curve key on P-256",
            KeyKind::P384 => "an elliptic curve key on P-384",
            KeyKind::P521 => "an elliptic curve key on P-521",
            KeyKind::Ed25519 => "an Ed25519 key",
            KeyKind::Secret => "a shared secret",
        }
    }

    /// The algorithms that this kind of key can be used with.
    pub const fn fits(self) -> &'static str {
        match self {
            KeyKind::Rsa => "RS256, RS384, RS512, PS256, PS384 or PS512",
            KeyKind::RsaPss => "PS256, PS384 or PS512",
            KeyKind::P256 => "ES256",
            KeyKind::P384 => "ES384",
            KeyKind::P521 => "ES512",
            KeyKind::Ed25519 => "EdDSA",
            KeyKind::Secret => "HS256, HS384 or HS512",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("The key is empty. Paste the private key, from its BEGIN line to its END line.")]
    Empty,
    #[error(
        "This is not a private key in PEM form: there is no `-----BEGIN … PRIVATE KEY-----` line. \
         Paste the whole file, first and last line included."
    )]
    NotAPem,
    #[error(
        "The PEM is cut off: its END line is missing or differs from its BEGIN line. Paste the whole file, \
         and use a field that keeps several lines."
    )]
    CutOff,
    #[error(
        "What stands between the BEGIN and END lines is not base64. The text was probably changed while being \
         copied; copy it from the file again."
    )]
    NotBase64,
    #[error("The PEM can be read, but what it holds is no whole private key. Export the key again.")]
    Garbled,
    #[error("This is base64 of a whole PEM file. Decode it once (base64 -d) and paste the result.")]
    Base64OfPem,
    #[error(
        "This is a certificate, which is public. Paste the private key that belongs to it (often a .key file)."
    )]
    Certificate,
    #[error(
        "This is a certificate request. Paste the private key that it was made with (often a .key file)."
    )]
    CertificateRequest,
    #[error(
        "This is a public key, which cannot sign. Paste the private key here; the public one is what the API gets."
    )]
    PublicKey,
    #[error(
        "This is a private key in OpenSSH's own format. Convert a copy of it: `ssh-keygen -p -m PKCS8 -N '' -f key`."
    )]
    OpenSsh,
    #[error("This is an OpenSSH public key, which cannot sign. Paste the private key, in PEM form (PKCS#8).")]
    OpenSshPublic,
    #[error(
        "This is a PuTTY key file. Export it from PuTTYgen as an OpenSSH key, then convert: `ssh-keygen -p -m PKCS8`."
    )]
    Putty,
    #[error(
        "This is a PKCS#12 file (.p12, .pfx). Take the key out of it: `openssl pkcs12 -in file.p12 -nocerts -nodes`."
    )]
    Pkcs12,
    #[error("This is a JSON Web Key. Convert it to PEM (PKCS#8) and paste that.")]
    Jwk,
    #[error(
        "This is JSON, probably a whole key file from a console. Paste only the value of `private_key`, \
         without its quotes."
    )]
    Json,
    #[error("The private key is encrypted. Give its passphrase too, or paste a key without one.")]
    PassphraseMissing,
    #[error("The passphrase does not open this private key. Check it, also for a blank at its end.")]
    WrongPassphrase,
    #[error(
        "The key is encrypted in OpenSSL's old way (`Proc-Type: 4,ENCRYPTED`). \
         Convert it: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in key.pem`."
    )]
    LegacyEncryption,
    #[error(
        "The key is encrypted in a way that is not supported. \
         Convert it: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in key.pem`."
    )]
    UnsupportedEncryption,
    #[error(
        "Opening this key would take too long: its key derivation is set far above what is usual. \
         Encrypt it again with the defaults of `openssl pkcs8 -topk8`."
    )]
    TooExpensive,
    #[error(
        "The RSA key has {bits} bits; at least 2048 are needed (RFC 7518). Make a new key and register it with the API."
    )]
    RsaTooShort { bits: usize },
    #[error(
        "The RSA key has {bits} bits; at most 8192 are supported. Make a shorter key, such as one of 4096 bits."
    )]
    RsaTooLong { bits: usize },
    #[error("The key lies on an elliptic curve that no JWT algorithm uses. Use P-256, P-384 or P-521.")]
    UnknownCurve,
    #[error("This is {0}. Use RSA, an elliptic curve key on P-256, P-384 or P-521, or Ed25519.")]
    Unsupported(&'static str),
    #[error(
        "The algorithm {algorithm} does not fit the key: this is {}, which goes with {}. \
         Choose the algorithm that the API expects, or paste the key that belongs to {algorithm}.",
        .kind.describe(), .kind.fits()
    )]
    AlgorithmMismatch { algorithm: &'static str, kind: KeyKind },
    #[error(
        "{algorithm} signs with a shared secret, but this is a PEM key or certificate. \
         Paste the secret, or choose an algorithm of the RS, PS, ES or EdDSA family."
    )]
    PemForHmac { algorithm: &'static str },
    #[error("The shared secret is not {encoding}. Check how the API writes it, and choose that encoding.")]
    SecretEncoding { encoding: &'static str },
}
