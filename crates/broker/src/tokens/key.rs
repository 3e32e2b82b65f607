//! A token's id: a digest of everything that it depends on, so that two people, two projects or two values
//! of a secret never share one by accident.

use aws_lc_rs::digest::{Context, SHA256};
use latchstring_connectors::{OAuthClient, Uses};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::values::ValuesRow;

/// Credential, its own value set, values version, OAuth client, and what the token's templates read of user,
/// project, secrets and variables. What was read is keyed with the credential's id and hashed once more with
/// the rest: the id shows none of it.
pub fn token_id(
    credential: &CredentialRow,
    values: &ValuesRow,
    client: Option<&OAuthClient>,
    uses: &Uses,
) -> String {
    id_of(
        credential.id.as_str(),
        &values.environment,
        values.version,
        client.map(bound_to).as_deref(),
        "default",
        uses,
    )
}

/// The client with what grants are bound to: when that is another, no token of before is found.
pub fn bound_to(client: &OAuthClient) -> String {
    format!("{}/{}", client.id, client.digest)
}

pub fn id_of(
    credential: &str,
    environment: &str,
    version: i64,
    client: Option<&str>,
    name: &str,
    uses: &Uses,
) -> String {
    let mut context = Context::new(&SHA256);
    let version = version.to_string();
    let fingerprint = uses.fingerprint(credential.as_bytes());
    for part in [
        Some("latchstring token 1"),
        Some(credential),
        Some(environment),
        Some(version.as_str()),
        client,
        Some(name),
        Some(&fingerprint),
    ] {
        // Lengths keep the parts apart; an absent part differs from an empty one.
        context.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        context.update(part.unwrap_or_default().as_bytes());
    }
    let mut text = String::from("tok_");
    for byte in context.finish().as_ref() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_makes_another_token() {
        let uses = Uses::default();
        let ids = [
            id_of("crd_a", "production", 1, None, "default", &uses),
            id_of("crd_b", "production", 1, None, "default", &uses),
            id_of("crd_a", "staging", 1, None, "default", &uses),
            id_of("crd_a", "production", 2, None, "default", &uses),
            id_of("crd_a", "production", 1, Some("oac_x"), "default", &uses),
            id_of("crd_a", "production", 1, Some(""), "default", &uses),
            id_of("crd_a", "production", 1, None, "bot", &uses),
        ];
        for (i, one) in ids.iter().enumerate() {
            assert!(ids.iter().skip(i + 1).all(|other| other != one), "{one}");
        }
    }
}
