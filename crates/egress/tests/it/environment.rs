//! Variables that other clients obey change nothing here.

use std::process::Command;

#[test]
fn proxies_trust_and_key_logs_of_the_environment_are_ignored() {
    let key_log = std::env::temp_dir().join(format!("latchstring-egress-keys-{}", std::process::id()));
    let mut again = Command::new(std::env::current_exe().unwrap());
    // These need a direct connection, the settings' trust, and nothing but it.
    again.args([
        "--exact",
        "tls::trust_comes_from_the_settings_and_nowhere_else",
        "filter::the_second_address_is_used_when_the_first_is_dead",
    ]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        again.env(name, "http://127.0.0.1:9");
    }
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"] {
        again.env(name, "/nowhere");
    }
    let output = again.env("SSLKEYLOGFILE", &key_log).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("2 passed"), "{said}");
    assert!(!key_log.exists(), "TLS keys were written to SSLKEYLOGFILE");
}
