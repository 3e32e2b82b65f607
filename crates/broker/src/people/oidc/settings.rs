//! What the operator says about the sign-in provider.

use latchstring_model::SecretString;
use latchstring_model::address::Address;
use latchstring_model::entity::{Role, valid_slug};

/// The settings as they were written; `None`: not set.
#[derive(Clone, Default)]
pub struct OidcText {
    pub issuer: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<SecretString>,
    pub name: Option<String>,
    pub scopes: Option<String>,
    pub groups_claim: Option<String>,
    pub group_roles: Option<String>,
    pub create_accounts: Option<String>,
    pub allowed_domains: Option<String>,
    pub trust_email: Option<String>,
}

/// What a group gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gives {
    Superuser,
    Role {
        /// The project's slug.
        project: String,
        role: Role,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRole {
    pub group: String,
    pub gives: Gives,
}

pub struct OidcSettings {
    /// Exactly as the provider writes it.
    pub issuer: String,
    pub issuer_address: Address,
    pub client_id: String,
    /// `None`: a public client, with PKCE alone.
    pub client_secret: Option<SecretString>,
    /// What people call it.
    pub name: String,
    pub scopes: Vec<String>,
    pub groups_claim: String,
    pub group_roles: Vec<GroupRole>,
    /// Whether whoever has no account gets one.
    pub create_accounts: bool,
    /// Domains of e-mail addresses that may get an account; empty: all.
    pub allowed_domains: Vec<String>,
    /// Whether an address counts that the provider does not call verified.
    pub trust_email: bool,
}

/// Providers at which anybody has an account: one for each of them here would be a door without a wall.
const FOR_EVERYBODY: &[&str] = &[
    "accounts.google.com",
    "login.microsoftonline.com",
    "appleid.apple.com",
    "gitlab.com",
    "www.facebook.com",
];

fn switch(value: Option<&str>, name: &str) -> Result<bool, String> {
    match value.map(str::trim) {
        None | Some("off" | "false" | "0") => Ok(false),
        Some("on" | "true" | "1") => Ok(true),
        Some(_) => Err(format!("{name} cannot be understood: write on or off")),
    }
}

fn is_local(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An address at which codes and secrets may be sent: encrypted, or on this machine.
pub(super) fn good_address(text: &str) -> Option<Address> {
    let address = Address::parse(text).ok()?;
    (text.starts_with("https://") || is_local(&address.origin.host)).then_some(address)
}

/// `group=superuser` or `group=project:role`. Names of groups may hold `=`; where they hold commas, entries are
/// separated by semicolons.
fn group_roles(text: &str) -> Result<Vec<GroupRole>, String> {
    let wrong = |entry: &str, what: &str| {
        Err(format!("LATCHSTRING_OIDC_GROUP_ROLES: `{entry}` cannot be understood: {what}"))
    };
    let sign = if text.contains(';') { ';' } else { ',' };
    let mut found = Vec::new();
    for entry in text.split(sign).map(str::trim).filter(|entry| !entry.is_empty()) {
        let Some((group, gives)) = entry.rsplit_once('=') else {
            return wrong(entry, "write group=superuser or group=project:role");
        };
        let (group, gives) = (group.trim(), gives.trim());
        let gives = match gives.split_once(':') {
            None if gives == "superuser" => Gives::Superuser,
            Some((project, role)) if valid_slug(project) => match Role::parse(role) {
                Some(role) => Gives::Role { project: project.to_owned(), role },
                None => return wrong(entry, "the role is viewer, editor, admin or owner"),
            },
            _ => {
                return wrong(
                    entry,
                    "behind the = stands superuser, or a project's slug, a colon and a role",
                );
            }
        };
        if group.is_empty() {
            return wrong(entry, "the name of the group is missing");
        }
        found.push(GroupRole { group: group.to_owned(), gives });
    }
    Ok(found)
}

impl OidcText {
    fn is_empty(&self) -> bool {
        let texts = [
            &self.issuer,
            &self.client_id,
            &self.name,
            &self.scopes,
            &self.groups_claim,
            &self.group_roles,
            &self.create_accounts,
            &self.allowed_domains,
            &self.trust_email,
        ];
        texts.iter().all(|text| text.is_none()) && self.client_secret.is_none()
    }
}

impl OidcSettings {
    /// `None`: nothing is set. The error names the setting, in one line, and holds no secret.
    pub fn read(text: OidcText) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let (Some(issuer), Some(client_id)) = (text.issuer, text.client_id) else {
            return Err("LATCHSTRING_OIDC_ISSUER and LATCHSTRING_OIDC_CLIENT_ID go together; set both, or none of LATCHSTRING_OIDC_*".into());
        };
        let Some(issuer_address) = good_address(&issuer).filter(|address| address.query.is_none()) else {
            return Err("LATCHSTRING_OIDC_ISSUER cannot be understood: write the provider's issuer exactly as its discovery document does, with https://".into());
        };
        let list = |text: Option<&str>, sign: &[char]| {
            text.unwrap_or_default()
                .split(sign)
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let mut scopes = list(text.scopes.as_deref().or(Some("openid email profile")), &[' ', ',']);
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        let domains = list(text.allowed_domains.as_deref(), &[',', ' ']);
        let domains: Vec<String> =
            domains.iter().map(|domain| domain.trim_start_matches('@').to_lowercase()).collect();
        if domains.iter().any(|domain| !domain.contains('.') && domain != "localhost") {
            return Err("LATCHSTRING_OIDC_ALLOWED_DOMAINS cannot be understood: write domains such as example.com, comma-separated".into());
        }
        let create_accounts = switch(text.create_accounts.as_deref(), "LATCHSTRING_OIDC_CREATE_ACCOUNTS")?;
        let host = issuer_address.origin.host.clone();
        if create_accounts && domains.is_empty() && FOR_EVERYBODY.contains(&host.as_str()) {
            return Err(format!(
                "LATCHSTRING_OIDC_CREATE_ACCOUNTS is on, and everybody can have an account at {host}: set LATCHSTRING_OIDC_ALLOWED_DOMAINS too"
            ));
        }
        Ok(Some(Self {
            issuer_address,
            client_id: client_id.trim().to_owned(),
            client_secret: text.client_secret.filter(|secret| !secret.is_empty()),
            name: text.name.map_or(host, |name| name.trim().to_owned()),
            scopes,
            groups_claim: text
                .groups_claim
                .map_or_else(|| "groups".to_owned(), |name| name.trim().to_owned()),
            group_roles: group_roles(text.group_roles.as_deref().unwrap_or_default())?,
            create_accounts,
            allowed_domains: domains,
            trust_email: switch(text.trust_email.as_deref(), "LATCHSTRING_OIDC_TRUST_EMAIL")?,
            issuer,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(change: impl FnOnce(&mut OidcText)) -> OidcText {
        let mut text = OidcText {
            issuer: Some("https://id.example.com/realms/acme".into()),
            client_id: Some("latchstring".into()),
            ..OidcText::default()
        };
        change(&mut text);
        text
    }

    fn read(change: impl FnOnce(&mut OidcText)) -> Result<OidcSettings, String> {
        OidcSettings::read(text(change)).map(|settings| settings.unwrap())
    }

    #[test]
    fn nothing_is_nothing_and_half_is_refused() {
        assert!(OidcSettings::read(OidcText::default()).unwrap().is_none());
        let half = OidcText { scopes: Some("openid".into()), ..OidcText::default() };
        assert!(OidcSettings::read(half).err().unwrap().contains("LATCHSTRING_OIDC_ISSUER"));
        let settings = read(|_| ()).unwrap();
        assert_eq!(settings.scopes, ["openid", "email", "profile"]);
        assert_eq!((settings.name.as_str(), settings.groups_claim.as_str()), ("id.example.com", "groups"));
        assert!(!settings.create_accounts && !settings.trust_email);
        assert_eq!(
            read(|text| text.scopes = Some("email, groups".into())).unwrap().scopes,
            ["openid", "email", "groups"]
        );
    }

    #[test]
    fn codes_and_secrets_go_over_tls_or_stay_on_this_machine() {
        for good in
            ["http://127.0.0.1:4000", "http://localhost:4000", "http://[::1]:4000", "https://id.example.com/"]
        {
            assert!(read(|text| text.issuer = Some(good.into())).is_ok(), "{good}");
        }
        for bad in [
            "http://id.example.com",
            "id.example.com",
            "https://id.example.com/?a=b",
            "http://127.0.0.1.example.com",
            "ftp://x",
        ] {
            assert!(read(|text| text.issuer = Some(bad.into())).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_give_roles() {
        let read = |roles: &str| {
            read(|text| text.group_roles = Some(roles.into())).map(|settings| settings.group_roles)
        };
        let found = read("admins=superuser, eng=acme:editor").unwrap();
        assert_eq!(found[0], GroupRole { group: "admins".into(), gives: Gives::Superuser });
        assert_eq!(found[1].gives, Gives::Role { project: "acme".into(), role: Role::Editor });
        let dn = read("cn=eng,ou=groups,dc=acme=acme:viewer; ops=acme:owner").unwrap();
        assert_eq!((dn[0].group.as_str(), dn.len()), ("cn=eng,ou=groups,dc=acme", 2));
        for bad in ["eng", "eng=", "=superuser", "eng=acme", "eng=acme:king", "eng=Acme Inc:editor"] {
            assert!(read(bad).unwrap_err().contains("LATCHSTRING_OIDC_GROUP_ROLES"), "{bad}");
        }
    }

    #[test]
    fn a_provider_for_everybody_needs_domains() {
        let google = |domains: Option<&str>| {
            read(|text| {
                text.issuer = Some("https://accounts.google.com".into());
                text.create_accounts = Some("on".into());
                text.allowed_domains = domains.map(str::to_owned);
            })
        };
        assert!(google(None).err().unwrap().contains("LATCHSTRING_OIDC_ALLOWED_DOMAINS"));
        assert_eq!(google(Some("@Example.com")).unwrap().allowed_domains, ["example.com"]);
        assert!(google(Some("com")).is_err());
    }
}
