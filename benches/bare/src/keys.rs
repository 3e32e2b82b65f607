//! Keys that live as long as one benchmark: RSA-2048 and P-256, as PKCS#8 PEM.

use std::path::Path;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub fn write(folder: &str) -> Result<(), String> {
    let failed = |_| "a key could not be made".to_owned();
    let rsa_key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(failed)?;
    let rsa_der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa_key.as_der().map_err(failed)?;
    let ec_key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
    let ec_der = ec_key.to_pkcs8v1().map_err(failed)?;
    for (name, der) in [("rsa.pem", rsa_der.as_ref()), ("ec.pem", ec_der.as_ref())] {
        let path = Path::new(folder).join(name);
        std::fs::write(&path, pem(der)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::from("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END PRIVATE KEY-----\n");
    out
}
