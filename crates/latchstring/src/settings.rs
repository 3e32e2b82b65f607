//! Settings: a flag of `serve`, else an environment variable, else a key of `latchstring.toml`, else the
//! default. Read once at the start; what cannot be understood stops the start with one clear line.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use latchstring_broker::notices::mail::MailSettings;
use latchstring_broker::people::oidc::{OidcSettings, OidcText};
use latchstring_egress::AllowRule;
use latchstring_model::SecretString;
use latchstring_model::address::Address;
use serde::Deserialize;

use crate::checkpoints::Checkpoints;

/// Why the start stops: one line, exit code 2.
#[derive(Debug)]
pub struct SettingError(pub String);

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $field:ident : $flag:literal, $env:literal;)*) => {
        /// Every setting as text, not yet understood. One struct serves the flags and the file.
        #[derive(Args, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Raw {
            $($(#[doc = $doc])* #[arg(long = $flag, env = $env, value_name = "VALUE", hide_env_values = true)] pub $field: Option<String>,)*
        }

        impl Raw {
            /// What is not set here is taken from there.
            fn or(self, other: Raw) -> Raw {
                Raw { $($field: self.$field.filter(|text| !text.is_empty()).or(other.$field),)* }
            }
        }

        /// (field, flag, environment variable)
        pub const NAMES: &[(&str, &str, &str)] = &[$((stringify!($field), $flag, $env),)*];
    };
}

settings! {
    /// Address and port to listen on [default: 127.0.0.1:5282]
    listen: "listen", "LATCHSTRING_LISTEN";
    /// PEM file with the certificate chain, for https (with --tls-key)
    tls_cert: "tls-cert", "LATCHSTRING_TLS_CERT";
    /// PEM file with the private key of --tls-cert
    tls_key: "tls-key", "LATCHSTRING_TLS_KEY";
    /// URL under which people and programs reach this server [default: http:// + listen address]
    public_url: "public-url", "LATCHSTRING_PUBLIC_URL";
    /// Networks (CIDR, comma-separated) whose X-Forwarded-For header is believed
    trusted_proxies: "trusted-proxies", "LATCHSTRING_TRUSTED_PROXIES";
    /// Folder of database, journal and root key [default: ./latchstring-data]
    data_dir: "data-dir", "LATCHSTRING_DATA_DIR";
    /// postgres://… for PostgreSQL 15 or newer [default: SQLite in the data folder]
    database_url: "database-url", "LATCHSTRING_DATABASE_URL";
    /// The root key ring [default: root.key in the data folder]
    root_key_file: "root-key-file", "LATCHSTRING_ROOT_KEY_FILE";
    /// Private networks that calls may reach: CIDR[:ports][@project], comma-separated [default: none]
    egress_allow: "egress-allow", "LATCHSTRING_EGRESS_ALLOW";
    /// More places where a connector's credentials may be pinned: connector=host[:port], comma-separated
    extra_hosts: "extra-hosts", "LATCHSTRING_EXTRA_HOSTS";
    /// PEM file with further certificate authorities to trust for outgoing TLS
    extra_ca_file: "extra-ca-file", "LATCHSTRING_EXTRA_CA_FILE";
    /// HTTP proxy for outgoing connections: http://host:port
    outbound_proxy: "outbound-proxy", "LATCHSTRING_OUTBOUND_PROXY";
    /// Renew tokens ahead of expiry in the background: on or off [default: on]
    background_refresh: "background-refresh", "LATCHSTRING_BACKGROUND_REFRESH";
    /// How long calls go on without the database, such as 60s [default: 60s]
    stale_limit: "stale-limit", "LATCHSTRING_STALE_LIMIT";
    /// A tracing filter, such as info or latchstring=debug [default: info]
    log: "log", "LATCHSTRING_LOG";
    /// text or json [default: text]
    log_format: "log-format", "LATCHSTRING_LOG_FORMAT";
    /// smtp:// or smtps:// URL for mail to people
    smtp_url: "smtp-url", "LATCHSTRING_SMTP_URL";
    /// Sender address of that mail
    mail_from: "mail-from", "LATCHSTRING_MAIL_FROM";
    /// Issuer of the sign-in provider (OpenID Connect), exactly as it writes it; with --oidc-client-id
    oidc_issuer: "oidc-issuer", "LATCHSTRING_OIDC_ISSUER";
    /// Our client id there; its redirect URI is PUBLIC-URL/sign-in/callback
    oidc_client_id: "oidc-client-id", "LATCHSTRING_OIDC_CLIENT_ID";
    /// Our client secret there; without one we are a public client
    oidc_client_secret: "oidc-client-secret", "LATCHSTRING_OIDC_CLIENT_SECRET";
    /// A file with that secret instead
    oidc_client_secret_file: "oidc-client-secret-file", "LATCHSTRING_OIDC_CLIENT_SECRET_FILE";
    /// What people call the provider [default: the issuer's host]
    oidc_name: "oidc-name", "LATCHSTRING_OIDC_NAME";
    /// Scopes to ask for [default: openid email profile]
    oidc_scopes: "oidc-scopes", "LATCHSTRING_OIDC_SCOPES";
    /// The claim with a person's groups [default: groups]
    oidc_groups_claim: "oidc-groups-claim", "LATCHSTRING_OIDC_GROUPS_CLAIM";
    /// What groups give: group=superuser or group=project:role, comma-separated
    oidc_group_roles: "oidc-group-roles", "LATCHSTRING_OIDC_GROUP_ROLES";
    /// Make accounts for people whom the provider knows and we do not: on or off [default: off]
    oidc_create_accounts: "oidc-create-accounts", "LATCHSTRING_OIDC_CREATE_ACCOUNTS";
    /// Domains of e-mail addresses that get such accounts, comma-separated [default: all]
    oidc_allowed_domains: "oidc-allowed-domains", "LATCHSTRING_OIDC_ALLOWED_DOMAINS";
    /// Take addresses that the provider does not say it has verified: on or off [default: off]
    oidc_trust_email: "oidc-trust-email", "LATCHSTRING_OIDC_TRUST_EMAIL";
    /// How long a deleted credential can be restored, from 1h to 3650d [default: 7d]
    delete_after: "delete-after", "LATCHSTRING_DELETE_AFTER";
    /// How many versions of a credential's values can be gone back to, the current one among them [default: 10]
    keep_versions: "keep-versions", "LATCHSTRING_KEEP_VERSIONS";
    /// How often stored values are checked again, such as 24h, or off [default: 24h]
    verify_every: "verify-every", "LATCHSTRING_VERIFY_EVERY";
    /// How long audit records are kept, such as 365d [default: for ever]
    audit_retention: "audit-retention", "LATCHSTRING_AUDIT_RETENTION";
    /// Where signed audit checkpoints go: a file, or stdout
    audit_checkpoints: "audit-checkpoints", "LATCHSTRING_AUDIT_CHECKPOINTS";
    /// When the journal is forced to disk: an interval such as 1s, or always [default: 1s]
    journal_sync: "journal-sync", "LATCHSTRING_JOURNAL_SYNC";
    /// How long an API may take to begin its answer [default: 60s]
    upstream_timeout: "upstream-timeout", "LATCHSTRING_UPSTREAM_TIMEOUT";
    /// How long an API may pause in the middle of an answer; server-sent events are quiet for minutes [default: 300s]
    upstream_idle_timeout: "upstream-idle-timeout", "LATCHSTRING_UPSTREAM_IDLE_TIMEOUT";
    /// Threads that carry calls, 1 to 256 [default: one per core]
    data_cores: "data-cores", "LATCHSTRING_DATA_CORES";
    /// Connections that are open at once [default: what the limit on open files leaves room for, 16384 at most]
    max_connections: "max-connections", "LATCHSTRING_MAX_CONNECTIONS";
}

/// Environment variables that are no settings of `serve`.
const OTHER_VARIABLES: &[&str] = &[
    "LATCHSTRING_URL",
    "LATCHSTRING_API_KEY",
    "LATCHSTRING_CONFIG",
    "LATCHSTRING_PROJECT",
    "LATCHSTRING_ENVIRONMENT",
];

pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The mail server, and in whose name mail is sent; understood, but not opened.
pub struct Smtp {
    url: String,
    from: String,
}

/// When the journal is forced from the kernel to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalSync {
    Always,
    Every(Duration),
}

pub struct ExtraHost {
    pub connector: String,
    pub host: String,
    pub port: Option<u16>,
}

pub struct Settings {
    pub listen: SocketAddr,
    pub tls: Option<Tls>,
    pub public_url: String,
    pub trusted_proxies: Vec<ipnet::IpNet>,
    pub data_dir: PathBuf,
    pub database_url: Option<String>,
    pub root_key_file: PathBuf,
    pub egress_allow: Vec<AllowRule>,
    pub extra_hosts: Vec<ExtraHost>,
    pub extra_ca_file: Option<PathBuf>,
    pub outbound_proxy: Option<String>,
    pub background_refresh: bool,
    pub smtp: Option<Smtp>,
    pub oidc: OidcText,
    pub stale_limit: Duration,
    pub log: String,
    pub log_json: bool,
    pub delete_after: Duration,
    /// `None`: for ever.
    pub audit_retention: Option<Duration>,
    pub audit_checkpoints: Option<Checkpoints>,
    pub keep_versions: i64,
    pub verify_every: Option<Duration>,
    pub journal_sync: JournalSync,
    pub upstream_timeout: Duration,
    pub upstream_idle_timeout: Duration,
    pub data_cores: usize,
    pub max_connections: usize,
    /// To APIs, at once: as many as the limit on open files has room for.
    pub upstream_connections: usize,
}

/// Files that are not connections: database, journal, keys, listeners.
const OTHER_FILES: usize = 128;
const MOST_CONNECTIONS: usize = 16_384;
/// What the usual limit of 1,024 open files has room for.
const FALLBACK_CONNECTIONS: usize = 448;

/// The limit on open files that this process has, where the system tells it.
fn open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    }
}

/// Half of them are for callers and half for APIs: over HTTP/2 one caller's connection carries many calls, so each half
/// is counted by itself. Without files there is no database either, so connections must not take the last ones.
fn room_for(files: usize) -> usize {
    (files.saturating_sub(OTHER_FILES) / 2).clamp(16, MOST_CONNECTIONS)
}

fn wrong(env: &str, value: &str, what: &str) -> SettingError {
    SettingError(format!("{env}={value:?} cannot be understood: {what}"))
}

/// `90s`, `15m`, `12h`, `7d`; a bare number is refused, since nobody agrees on its unit.
pub fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text.get(..split)?.parse().ok()?;
    let millis = match text.get(split..)?.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

fn parsed<T: FromStr>(
    value: Option<String>,
    default: &str,
    env: &str,
    what: &str,
) -> Result<T, SettingError> {
    let text = value.unwrap_or_else(|| default.to_owned());
    text.trim().parse().map_err(|_| wrong(env, &text, what))
}

fn lasting(value: Option<String>, default: &str, env: &str) -> Result<Duration, SettingError> {
    let text = value.unwrap_or_else(|| default.to_owned());
    duration(&text)
        .ok_or_else(|| wrong(env, &text, "write a number with a unit, such as 60s, 15m, 12h or 7d"))
}

/// How many versions are kept: the current one always is.
fn kept_versions(value: Option<String>) -> Result<i64, SettingError> {
    let number: i64 = parsed(value, "10", "LATCHSTRING_KEEP_VERSIONS", "write a number from 1 to 1000")?;
    if (1..=1000).contains(&number) {
        Ok(number)
    } else {
        Err(wrong("LATCHSTRING_KEEP_VERSIONS", &number.to_string(), "write a number from 1 to 1000"))
    }
}

/// With less, deleting would be purging, which in a browser wants a recent sign-in.
const SHORTEST_WAIT: Duration = Duration::from_secs(3600);
const LONGEST_WAIT: Duration = Duration::from_secs(3650 * 86_400);

fn delete_after(value: Option<String>) -> Result<Duration, SettingError> {
    const ENV: &str = "LATCHSTRING_DELETE_AFTER";
    let wait = lasting(value.clone(), "7d", ENV)?;
    if (SHORTEST_WAIT..=LONGEST_WAIT).contains(&wait) {
        return Ok(wait);
    }
    let text = value.unwrap_or_default();
    Err(wrong(ENV, &text, "write a time from 1h to 3650d; what shall go at once is deleted with ?purge=true"))
}

/// Whatever is written, only a few are asked at the same time.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// `off`, or an interval.
fn verify_every(value: Option<String>) -> Result<Option<Duration>, SettingError> {
    if value.as_deref() == Some("off") {
        return Ok(None);
    }
    let every = lasting(value.clone(), "24h", "LATCHSTRING_VERIFY_EVERY")?;
    if every < SHORTEST_INTERVAL {
        let text = value.unwrap_or_default();
        return Err(wrong("LATCHSTRING_VERIFY_EVERY", &text, "write 1s or more, or off"));
    }
    Ok(Some(every))
}

/// A limit on waiting: with none at all nothing would ever be waited for.
fn waiting(value: Option<String>, default: &str, env: &str) -> Result<Duration, SettingError> {
    let limit = lasting(value, default, env)?;
    if limit.is_zero() {
        return Err(wrong(env, "0", "write a time that is longer than nothing"));
    }
    Ok(limit)
}

fn list(value: Option<&str>) -> Vec<String> {
    value
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

fn extra_host(text: &str) -> Result<ExtraHost, SettingError> {
    let bad = || {
        wrong("LATCHSTRING_EXTRA_HOSTS", text, "write connector=host or connector=host:port, comma-separated")
    };
    let (connector, place) = text.split_once('=').ok_or_else(bad)?;
    let address = Address::parse(&format!("https://{place}/")).map_err(|_| bad())?;
    let explicit = place.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    Ok(ExtraHost {
        connector: connector.trim().to_owned(),
        host: address.origin.host,
        port: explicit.then_some(address.origin.port),
    })
}

fn switch(value: Option<String>, default: bool, env: &str) -> Result<bool, SettingError> {
    match value.as_deref().map(str::trim) {
        None => Ok(default),
        Some("on" | "true" | "1") => Ok(true),
        Some("off" | "false" | "0") => Ok(false),
        Some(text) => Err(wrong(env, text, "write on or off")),
    }
}

/// Both or none. Values are not repeated: the URL may hold a password.
fn smtp(url: Option<String>, from: Option<String>, public_url: &str) -> Result<Option<Smtp>, SettingError> {
    match (url, from) {
        (None, None) => Ok(None),
        (Some(url), Some(from)) => {
            MailSettings::read(&url, &from, public_url).map_err(|error| SettingError(error.to_string()))?;
            Ok(Some(Smtp { url, from }))
        }
        (Some(_), None) => Err(SettingError(
            "LATCHSTRING_MAIL_FROM is missing: with LATCHSTRING_SMTP_URL, say in whose name mail is sent"
                .into(),
        )),
        (None, Some(_)) => Err(SettingError(
            "LATCHSTRING_SMTP_URL is missing: with LATCHSTRING_MAIL_FROM, say where mail is handed in".into(),
        )),
    }
}

/// Shorter, and a record would be gone before anybody could have seen it.
const SHORTEST_RETENTION: Duration = Duration::from_secs(1);

/// `None`: for ever.
fn retention(value: Option<String>) -> Result<Option<Duration>, SettingError> {
    const ENV: &str = "LATCHSTRING_AUDIT_RETENTION";
    let Some(text) = value else { return Ok(None) };
    let kept = lasting(Some(text.clone()), "", ENV)?;
    if kept < SHORTEST_RETENTION {
        return Err(wrong(
            ENV,
            &text,
            "write 1s or more (a year is 365d); leave it out to keep records for ever",
        ));
    }
    Ok(Some(kept))
}

/// The sign-in provider's settings, with its secret from wherever it is.
fn oidc(raw: &Raw) -> Result<OidcText, SettingError> {
    let client_secret = match (&raw.oidc_client_secret, &raw.oidc_client_secret_file) {
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(SettingError(
                "LATCHSTRING_OIDC_CLIENT_SECRET and LATCHSTRING_OIDC_CLIENT_SECRET_FILE are both set; set one of them".into(),
            ));
        }
        (Some(secret), None) => Some(SecretString::from(secret.as_str())),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map(zeroize::Zeroizing::new).map_err(|error| {
                SettingError(format!("LATCHSTRING_OIDC_CLIENT_SECRET_FILE {path} cannot be read: {error}"))
            })?;
            let secret = text.trim();
            if secret.is_empty() {
                return Err(SettingError(format!("LATCHSTRING_OIDC_CLIENT_SECRET_FILE {path} is empty")));
            }
            Some(SecretString::from(secret))
        }
    };
    let text = OidcText {
        issuer: raw.oidc_issuer.clone(),
        client_id: raw.oidc_client_id.clone(),
        client_secret,
        name: raw.oidc_name.clone(),
        scopes: raw.oidc_scopes.clone(),
        groups_claim: raw.oidc_groups_claim.clone(),
        group_roles: raw.oidc_group_roles.clone(),
        create_accounts: raw.oidc_create_accounts.clone(),
        allowed_domains: raw.oidc_allowed_domains.clone(),
        trust_email: raw.oidc_trust_email.clone(),
    };
    OidcSettings::read(text.clone()).map_err(SettingError)?;
    Ok(text)
}

/// Reads `latchstring.toml` (or the file that was named, which then must exist).
fn file(named: Option<&Path>) -> Result<Raw, SettingError> {
    let path = named.unwrap_or(Path::new("latchstring.toml"));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Raw::default());
        }
        Err(error) => {
            return Err(SettingError(format!(
                "the settings file {} cannot be read: {error}",
                path.display()
            )));
        }
    };
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        SettingError(format!(
            "{}:{line}: {} (every value is a quoted text; names are those of the flags with _ for -)",
            path.display(),
            error.message()
        ))
    })
}

impl Settings {
    /// The mail settings as the broker takes them.
    pub fn mail(&self) -> Result<Option<MailSettings>, SettingError> {
        let Some(Smtp { url, from }) = &self.smtp else { return Ok(None) };
        MailSettings::read(url, from, &self.public_url)
            .map(Some)
            .map_err(|error| SettingError(error.to_string()))
    }

    /// The sign-in provider as the broker takes it.
    pub fn sign_in_provider(&self) -> Result<Option<OidcSettings>, SettingError> {
        OidcSettings::read(self.oidc.clone()).map_err(SettingError)
    }

    /// Flags and environment come in `raw` (clap has merged them); the file and the defaults fill the rest.
    pub fn read(raw: Raw, config: Option<&Path>) -> Result<Self, SettingError> {
        let raw = raw.or(file(config)?);
        let oidc = oidc(&raw)?;
        let listen: SocketAddr = parsed(
            raw.listen,
            "127.0.0.1:5282",
            "LATCHSTRING_LISTEN",
            "write an IP address and a port, such as 127.0.0.1:5282 or [::]:5282",
        )?;
        let tls = match (raw.tls_cert, raw.tls_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(Tls { cert: cert.into(), key: key.into() }),
            _ => {
                return Err(SettingError(
                    "LATCHSTRING_TLS_CERT and LATCHSTRING_TLS_KEY go together; one of them is missing".into(),
                ));
            }
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let public_url = raw.public_url.unwrap_or_else(|| format!("{scheme}://{listen}"));
        Address::parse(&public_url)
            .map_err(|error| wrong("LATCHSTRING_PUBLIC_URL", &public_url, &error.to_string()))?;
        let data_dir = PathBuf::from(raw.data_dir.unwrap_or_else(|| "./latchstring-data".into()));
        if let Some(url) = &raw.database_url
            && !url.starts_with("postgres://")
            && !url.starts_with("postgresql://")
        {
            // The value may hold a password: it is not repeated.
            return Err(SettingError("LATCHSTRING_DATABASE_URL cannot be understood: write postgres://user:password@host/database, or leave it out for SQLite".into()));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from).to_string();
        Ok(Self {
            listen,
            tls,
            public_url: public_url.trim_end_matches('/').to_owned(),
            trusted_proxies: list(raw.trusted_proxies.as_deref())
                .iter()
                .map(|text| {
                    text.parse::<ipnet::IpNet>()
                        .or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from))
                        .map_err(|_| {
                            wrong(
                                "LATCHSTRING_TRUSTED_PROXIES",
                                text,
                                "write networks such as 10.0.0.0/8, comma-separated",
                            )
                        })
                })
                .collect::<Result<_, _>>()?,
            root_key_file: raw.root_key_file.map_or_else(|| data_dir.join("root.key"), PathBuf::from),
            data_dir,
            database_url: raw.database_url,
            egress_allow: list(raw.egress_allow.as_deref())
                .iter()
                .map(|text| {
                    text.parse::<AllowRule>()
                        .map_err(|error| wrong("LATCHSTRING_EGRESS_ALLOW", text, &error.to_string()))
                })
                .collect::<Result<_, _>>()?,
            extra_hosts: list(raw.extra_hosts.as_deref())
                .iter()
                .map(|text| extra_host(text))
                .collect::<Result<_, _>>()?,
            extra_ca_file: raw.extra_ca_file.map(PathBuf::from),
            outbound_proxy: raw.outbound_proxy,
            oidc,
            smtp: smtp(raw.smtp_url, raw.mail_from, &public_url)?,
            background_refresh: switch(raw.background_refresh, true, "LATCHSTRING_BACKGROUND_REFRESH")?,
            stale_limit: lasting(raw.stale_limit, "60s", "LATCHSTRING_STALE_LIMIT")?,
            log: raw.log.unwrap_or_else(|| "info".into()),
            log_json: match raw.log_format.as_deref() {
                None | Some("text") => false,
                Some("json") => true,
                Some(text) => return Err(wrong("LATCHSTRING_LOG_FORMAT", text, "write text or json")),
            },
            delete_after: delete_after(raw.delete_after)?,
            audit_retention: retention(raw.audit_retention)?,
            audit_checkpoints: raw.audit_checkpoints.as_deref().map(Checkpoints::read).transpose()?,
            keep_versions: kept_versions(raw.keep_versions)?,
            verify_every: verify_every(raw.verify_every)?,
            journal_sync: match raw.journal_sync.as_deref() {
                Some("always") => JournalSync::Always,
                text => {
                    JournalSync::Every(lasting(text.map(str::to_owned), "1s", "LATCHSTRING_JOURNAL_SYNC")?)
                }
            },
            upstream_timeout: waiting(raw.upstream_timeout, "60s", "LATCHSTRING_UPSTREAM_TIMEOUT")?,
            upstream_idle_timeout: waiting(
                raw.upstream_idle_timeout,
                "300s",
                "LATCHSTRING_UPSTREAM_IDLE_TIMEOUT",
            )?,
            data_cores: parsed(
                raw.data_cores,
                &cores,
                "LATCHSTRING_DATA_CORES",
                "write a number from 1 to 256",
            )
            .and_then(|n: usize| {
                if (1..=256).contains(&n) {
                    Ok(n)
                } else {
                    Err(wrong("LATCHSTRING_DATA_CORES", &n.to_string(), "write a number from 1 to 256"))
                }
            })?,
            upstream_connections: open_files().map_or(FALLBACK_CONNECTIONS, room_for),
            max_connections: match raw.max_connections {
                None => open_files().map_or(FALLBACK_CONNECTIONS, room_for),
                Some(text) => match text.trim().parse() {
                    Ok(n) if n >= 1 => n,
                    _ => {
                        return Err(wrong(
                            "LATCHSTRING_MAX_CONNECTIONS",
                            &text,
                            "write a number of 1 or more",
                        ));
                    }
                },
            },
        })
    }
}

/// A variable whose name is nearly that of a setting is a setting that somebody believes in: it stops the start.
/// Other names that begin like ours are given back, to be named in the log.
pub fn unknown_variables() -> Result<Vec<String>, SettingError> {
    /// Signs that a mistyped name differs by.
    const MISTYPED: usize = 3;
    let mut strangers = Vec::new();
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("LATCHSTRING_")) else { continue };
        if name.starts_with("LATCHSTRING_TEST_")
            || OTHER_VARIABLES.contains(&name)
            || NAMES.iter().any(|(_, _, env)| *env == name)
        {
            continue;
        }
        let distance = |known: &&str| strsim::damerau_levenshtein(known, name);
        match NAMES.iter().map(|(_, _, env)| *env).min_by_key(distance) {
            Some(nearest) if distance(&nearest) <= MISTYPED => {
                return Err(SettingError(format!(
                    "{name} is no setting of Latchstring; did you mean {nearest}?"
                )));
            }
            _ => strangers.push(name.to_owned()),
        }
    }
    Ok(strangers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(change: impl FnOnce(&mut Raw)) -> Result<Settings, SettingError> {
        let mut raw = Raw::default();
        change(&mut raw);
        Settings::read(raw, None)
    }

    #[test]
    fn defaults() {
        let settings = read(|_| {}).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:5282");
        assert_eq!(settings.public_url, "http://127.0.0.1:5282");
        assert_eq!(settings.root_key_file, Path::new("./latchstring-data/root.key"));
        assert_eq!(settings.stale_limit, Duration::from_secs(60));
        assert!(settings.background_refresh);
        assert_eq!((settings.keep_versions, settings.verify_every), (10, Some(Duration::from_secs(86_400))));
        assert_eq!(settings.delete_after, Duration::from_secs(7 * 86_400));
        assert!((16..=MOST_CONNECTIONS).contains(&settings.max_connections));
    }

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(room_for(1024), FALLBACK_CONNECTIONS);
        assert_eq!((room_for(0), room_for(usize::MAX)), (16, MOST_CONNECTIONS));
        assert_eq!(read(|raw| raw.max_connections = Some("7".into())).unwrap().max_connections, 7);
        for text in ["0", "-1", "many"] {
            let error = read(|raw| raw.max_connections = Some(text.into())).err().unwrap();
            assert!(error.0.contains("LATCHSTRING_MAX_CONNECTIONS"), "{error}");
        }
    }

    #[test]
    fn what_is_deleted_waits_an_hour_at_least() {
        let wait = |text: &str| read(|raw| raw.delete_after = Some(text.into())).map(|all| all.delete_after);
        assert_eq!(wait("1h").unwrap(), Duration::from_secs(3600));
        assert_eq!(wait("1d").unwrap(), Duration::from_secs(86_400));
        assert_eq!(wait("3650d").unwrap(), Duration::from_secs(3650 * 86_400));
        for text in ["0s", "0d", "3599s", "3651d", "99999999d", "7"] {
            let error = wait(text).err().unwrap();
            assert!(error.0.contains("LATCHSTRING_DELETE_AFTER") && error.0.contains(text), "{error}");
        }
        assert!(wait("0s").err().unwrap().0.contains("1h to 3650d"));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for (change, want) in [
            ((|raw| raw.listen = Some("5282".into())) as fn(&mut Raw), "LATCHSTRING_LISTEN"),
            (|raw| raw.stale_limit = Some("60".into()), "LATCHSTRING_STALE_LIMIT"),
            (|raw| raw.keep_versions = Some("0".into()), "LATCHSTRING_KEEP_VERSIONS"),
            (|raw| raw.verify_every = Some("10ms".into()), "LATCHSTRING_VERIFY_EVERY"),
            (|raw| raw.audit_retention = Some("0s".into()), "LATCHSTRING_AUDIT_RETENTION"),
            (|raw| raw.audit_checkpoints = Some("off".into()), "LATCHSTRING_AUDIT_CHECKPOINTS"),
            (|raw| raw.background_refresh = Some("maybe".into()), "LATCHSTRING_BACKGROUND_REFRESH"),
            (|raw| raw.egress_allow = Some("10.0.0.0/99".into()), "LATCHSTRING_EGRESS_ALLOW"),
            (|raw| raw.trusted_proxies = Some("everyone".into()), "LATCHSTRING_TRUSTED_PROXIES"),
            (|raw| raw.tls_cert = Some("a.pem".into()), "LATCHSTRING_TLS_KEY"),
            (|raw| raw.database_url = Some("mysql://root:hunter22@x/y".into()), "LATCHSTRING_DATABASE_URL"),
            (|raw| raw.data_cores = Some("0".into()), "LATCHSTRING_DATA_CORES"),
            (|raw| raw.public_url = Some("latchstring.example".into()), "LATCHSTRING_PUBLIC_URL"),
            (|raw| raw.extra_hosts = Some("salesforce".into()), "LATCHSTRING_EXTRA_HOSTS"),
            (|raw| raw.oidc_client_id = Some("latchstring".into()), "LATCHSTRING_OIDC_ISSUER"),
            (|raw| raw.oidc_issuer = Some("http://id.example.com".into()), "LATCHSTRING_OIDC_ISSUER"),
            (
                |raw| {
                    raw.oidc_issuer = Some("https://id.example.com".into());
                    raw.oidc_client_id = Some("latchstring".into());
                    raw.oidc_client_secret = Some("hunter22".into());
                    raw.oidc_create_accounts = Some("perhaps".into());
                },
                "LATCHSTRING_OIDC_CREATE_ACCOUNTS",
            ),
            (
                |raw| {
                    raw.oidc_client_secret = Some("hunter22".into());
                    raw.oidc_client_secret_file = Some("/nowhere".into());
                },
                "LATCHSTRING_OIDC_CLIENT_SECRET_FILE",
            ),
            (
                |raw| raw.oidc_client_secret_file = Some("/nowhere".into()),
                "LATCHSTRING_OIDC_CLIENT_SECRET_FILE",
            ),
        ] {
            let error = read(change).err().map(|error| error.0).unwrap();
            assert!(error.contains(want), "{error}");
            assert!(!error.contains('\n') && !error.contains("hunter22"), "{error}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("7d"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["", "7", "d", "7 weeks", "-1s", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
