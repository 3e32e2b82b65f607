//! Request signatures as data: published vectors, and the shapes that providers ask for.

use http::Method;
use latchstring_schemes::encoding::{KeyEncoding, OutputEncoding};
use latchstring_schemes::hmac::{Field, Hmac, HmacAlgorithm, NonceFormat, TimestampFormat};
use latchstring_schemes::{BodyNeed, Scheme, SchemeError};

use crate::support::{Request, prepared, refused};

fn header(name: &str, value: &str) -> Field {
    Field::Header { name: name.to_owned(), value: value.to_owned() }
}

fn query(name: &str, value: &str) -> Field {
    Field::Query { name: name.to_owned(), value: value.to_owned() }
}

fn hmac(sign: &[&str]) -> Hmac {
    Hmac {
        algorithm: HmacAlgorithm::Sha256,
        secret: "Jefe".into(),
        secret_encoding: KeyEncoding::Raw,
        key_id: "kid".to_owned(),
        sign: sign.iter().map(|piece| (*piece).to_owned()).collect(),
        separator: String::new(),
        output: OutputEncoding::Hex,
        place: header("x-signature", "{signature}"),
        additions: Vec::new(),
        timestamp: TimestampFormat::Unix,
        nonce: NonceFormat::Hex,
    }
}

/// HMAC by another road than the one under test: the test says what text it expects to be signed.
fn mac(algorithm: &'static aws_lc_rs::digest::Algorithm, block: usize, key: &[u8], text: &[u8]) -> Vec<u8> {
    use aws_lc_rs::digest::digest;
    let mut padded = vec![0; block];
    padded[..key.len()].copy_from_slice(key);
    let inner: Vec<u8> = padded.iter().map(|byte| byte ^ 0x36).chain(text.iter().copied()).collect();
    let outer: Vec<u8> = padded
        .iter()
        .map(|byte| byte ^ 0x5c)
        .chain(digest(algorithm, &inner).as_ref().iter().copied())
        .collect();
    digest(algorithm, &outer).as_ref().to_vec()
}

fn sha256(key: &[u8], text: &str) -> Vec<u8> {
    mac(&aws_lc_rs::digest::SHA256, 64, key, text.as_bytes())
}

/// RFC 2202 section 3 and RFC 4231 sections 4.2 and 4.3.
#[test]
fn published_vectors() {
    let sent = |algorithm, secret: &str, secret_encoding, text: &str| {
        let mut scheme = hmac(&[text]);
        (scheme.algorithm, scheme.secret, scheme.secret_encoding) =
            (algorithm, secret.into(), secret_encoding);
        let mut request = Request::get("https://h/").with("x-signature", "mine");
        let mask = request.sign(&prepared(Scheme::Hmac(scheme)), None).unwrap().unwrap();
        assert_eq!(mask.expose(), request.header("x-signature"));
        mask.expose().to_owned()
    };
    let jefe = |algorithm| sent(algorithm, "Jefe", KeyEncoding::Raw, "what do ya want for nothing?");
    assert_eq!(jefe(HmacAlgorithm::Sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    assert_eq!(
        jefe(HmacAlgorithm::Sha256),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        jefe(HmacAlgorithm::Sha384),
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
    );
    assert_eq!(
        jefe(HmacAlgorithm::Sha512),
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
         9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
    );
    let first = sent(HmacAlgorithm::Sha256, &"0b".repeat(20), KeyEncoding::Hex, "Hi There");
    assert_eq!(first, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    let first = sent(HmacAlgorithm::Sha1, "CwsLCwsLCwsLCwsLCwsLCwsLCws=", KeyEncoding::Base64, "Hi There");
    assert_eq!(first, "b617318655057264e28bc0b6fb378c8ef146be00");
}

/// The example of Binance's own documentation ("SIGNED endpoint examples for POST /api/v3/order").
#[test]
fn binance() {
    let mut scheme = hmac(&["{query}", "{body}"]);
    scheme.secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j".into();
    scheme.key_id = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A".to_owned();
    scheme.place = query("signature", "{signature}");
    scheme.additions = vec![header("X-MBX-APIKEY", "{key_id}")];
    let scheme = prepared(Scheme::Hmac(scheme));
    let documented = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559";
    let signature = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71";
    let mut request = Request::new(
        Method::POST,
        &format!("https://api.binance.com/api/v3/order?{documented}&signature=mine"),
    );
    request.sign(&scheme, Some(b"")).unwrap();
    assert_eq!(request.target, format!("/api/v3/order?{documented}&signature={signature}"));
    assert!(request.header("x-mbx-apikey").starts_with("vmPUZE"));
    let mut request = Request::new(Method::POST, "https://api.binance.com/api/v3/order");
    request.sign(&scheme, Some(documented.as_bytes())).unwrap();
    assert_eq!(request.target, format!("/api/v3/order?signature={signature}"));
    assert!(matches!(scheme.body_need(&request.outgoing()), BodyNeed::Held { .. }));
    assert_eq!(request.sign(&scheme, None).err(), Some(SchemeError::BodyNotHeld));
}

#[test]
fn a_timestamp_in_the_query_is_signed_with_it() {
    let mut scheme = hmac(&["{query}"]);
    scheme.place = query("signature", "{signature}");
    scheme.additions = vec![query("timestamp", "{timestamp_ms}")];
    let mut request = Request::get("https://h/?timestamp=1&a=2");
    request.sign(&prepared(Scheme::Hmac(scheme)), None).unwrap();
    let signed = "a=2&timestamp=1700000000123";
    assert_eq!(request.target, format!("/?{signed}&signature={}", hex::encode(sha256(b"Jefe", signed))));
}

#[test]
fn coinbase_and_slack() {
    let mut scheme = hmac(&["{timestamp}{method}{target}{body}"]);
    (scheme.secret, scheme.secret_encoding, scheme.output) =
        ("SmVmZQ==".into(), KeyEncoding::Base64, OutputEncoding::Base64);
    scheme.place = header("CB-ACCESS-SIGN", "{signature}");
    scheme.additions =
        vec![header("CB-ACCESS-TIMESTAMP", "{timestamp}"), header("CB-ACCESS-KEY", "{key_id}")];
    let mut request =
        Request::new(Method::POST, "https://h/orders?limit=1").with("cb-access-timestamp", "mine");
    request.sign(&prepared(Scheme::Hmac(scheme)), Some(b"{}")).unwrap();
    let wanted = OutputEncoding::Base64.encode(&sha256(b"Jefe", "1700000000POST/orders?limit=1{}"));
    assert_eq!(request.header("cb-access-sign"), wanted);
    assert_eq!(
        (request.header("cb-access-timestamp"), request.header("cb-access-key")),
        ("1700000000", "kid")
    );

    // The example of Slack's documentation ("Verifying requests from Slack"), with its own time as a header.
    let mut scheme = hmac(&["v0", "{header:x-slack-request-timestamp}", "{body}"]);
    scheme.separator = ":".to_owned();
    scheme.secret = "8f742231b10e8888abcd99yyyzzz85a5".into();
    scheme.place = header("X-Slack-Signature", "v0={signature}");
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
                trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let mut request =
        Request::new(Method::POST, "https://h/").with("x-slack-request-timestamp", "1531420618");
    request.sign(&prepared(Scheme::Hmac(scheme)), Some(body.as_bytes())).unwrap();
    assert_eq!(
        request.header("x-slack-signature"),
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    );
}

/// The string that Microsoft's page on Shared Key shows for "Get Container Metadata".
#[test]
fn azure_shared_key() {
    let mut scheme = hmac(&[
        "{method}",
        "{header:content-encoding}",
        "{header:content-language}",
        "{body_length_nonzero}",
        "{header:content-md5}",
        "{header:content-type}",
        "",
        "{header:if-modified-since}",
        "{header:if-match}",
        "{header:if-none-match}",
        "{header:if-unmodified-since}",
        "{header:range}",
        "{headers:x-ms-}/myaccount{path}{query_lines}",
    ]);
    scheme.separator = "\n".to_owned();
    scheme.output = OutputEncoding::Base64;
    scheme.place = header("Authorization", "SharedKey myaccount:{signature}");
    let mut request = Request::get(
        "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20",
    )
    .with("x-ms-version", "2015-02-21")
    .with("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT");
    request.sign(&prepared(Scheme::Hmac(scheme)), Some(b"")).unwrap();
    let text = "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
                /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20";
    let wanted = OutputEncoding::Base64.encode(&sha256(b"Jefe", text));
    assert_eq!(request.header("authorization"), format!("SharedKey myaccount:{wanted}"));
}

#[test]
fn http_message_signatures_of_both_ages() {
    let mut scheme = hmac(&[
        "(request-target): {method_lower} {target}",
        "host: {host}",
        "date: {header:date}",
        "digest: {header:digest}",
    ]);
    scheme.separator = "\n".to_owned();
    scheme.output = OutputEncoding::Base64;
    scheme.additions =
        vec![header("Date", "{timestamp_http}"), header("Digest", "SHA-256={body_sha256_base64}")];
    scheme.place = header(
        "Signature",
        "keyId=\"{key_id}\",algorithm=\"hmac-sha256\",headers=\"(request-target) host date digest\",signature=\"{signature}\"",
    );
    let mut request = Request::new(Method::POST, "https://example.com:8443/foo?param=value");
    request.sign(&prepared(Scheme::Hmac(scheme)), Some(b"{\"hello\": \"world\"}")).unwrap();
    // The digest is that of the draft's own example body.
    let text = "(request-target): post /foo?param=value\nhost: example.com:8443\ndate: Tue, 14 Nov 2023 22:13:20 GMT\n\
                digest: SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=";
    let wanted = OutputEncoding::Base64.encode(&sha256(b"Jefe", text));
    assert!(
        request.header("signature").ends_with(&format!("signature=\"{wanted}\"")),
        "{}",
        request.header("signature")
    );

    let params = "(\"@method\" \"@authority\" \"@target-uri\");created={timestamp};keyid=\"{key_id}\";nonce=\"{nonce}\"";
    let last = format!("\"@signature-params\": {params}");
    let mut scheme =
        hmac(&["\"@method\": {method}", "\"@authority\": {host}", "\"@target-uri\": {url}", &last]);
    scheme.separator = "{newline}".to_owned();
    scheme.output = OutputEncoding::Base64;
    scheme.additions = vec![header("Signature-Input", &format!("sig1={params}"))];
    scheme.place = header("Signature", "sig1=:{signature}:");
    let mut request = Request::get("https://example.com/foo?a=b");
    request.sign(&prepared(Scheme::Hmac(scheme)), None).unwrap();
    let input = request.header("signature-input").strip_prefix("sig1=").unwrap().to_owned();
    assert!(input.contains("created=1700000000;keyid=\"kid\";nonce=\"0001"), "{input}");
    let text = format!(
        "\"@method\": GET\n\"@authority\": example.com\n\"@target-uri\": https://example.com/foo?a=b\n\"@signature-params\": {input}"
    );
    let wanted = OutputEncoding::Base64.encode(&sha256(b"Jefe", &text));
    assert_eq!(request.header("signature"), format!("sig1=:{wanted}:"));
}

/// Each placeholder, spelt out.
#[test]
fn every_placeholder() {
    let sample = |template: &str| {
        let mut scheme = hmac(&["x"]);
        scheme.additions = vec![query("v", template)];
        scheme.nonce = NonceFormat::Uuid;
        let mut request = Request::new(Method::PATCH, "https://h:8443/a%20b?b=2&a=%31&b=1")
            .with("x-a", " 1 ")
            .with("x-a", "2");
        request.sign(&prepared(Scheme::Hmac(scheme)), Some(b"abc")).unwrap();
        let (_, value) = request.target.rsplit_once("v=").unwrap();
        percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned()
    };
    for (template, wanted) in [
        ("{method}", "PATCH"),
        ("{ method_lower }", "patch"),
        ("{path}", "/a%20b"),
        ("{target}", "/a%20b?b=2&a=%31&b=1"),
        ("{url}", "https://h:8443/a%20b?b=2&a=%31&b=1"),
        ("{query}", "b=2&a=%31&b=1"),
        ("{query_sorted}", "a=%31&b=1&b=2"),
        ("{query_lines}", "\na:1\nb:1,2"),
        ("{host}{header:host}", "h:8443h:8443"),
        ("{timestamp}", "1700000000"),
        ("{timestamp_unix} {timestamp_ms} {timestamp_ns}", "1700000000 1700000000123 1700000000123000000"),
        ("{timestamp_rfc3339} {timestamp_rfc3339_ms}", "2023-11-14T22:13:20Z 2023-11-14T22:13:20.123Z"),
        ("{timestamp_compact}", "20231114T221320Z"),
        ("{nonce}", "00010203-0405-4607-8809-0a0b0c0d0e0f"),
        ("{key_id}", "kid"),
        ("{header:X-A}|{header:x-none}|", "1, 2||"),
        ("{headers:X-}", "x-a:1, 2\n"),
        ("{body}", "abc"),
        ("{body_length}{header:content-length}", "33"),
        ("{body_md5_hex}", "900150983cd24fb0d6963f7d28e17f72"),
        ("{body_sha1_hex_upper}", "A9993E364706816ABA3E25717850C26C9CD0D89D"),
        ("{body_sha256_base64}", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
        ("{body_sha256_base64url}", "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"),
        ("{open}{close}{newline}", "{}\n"),
    ] {
        assert_eq!(sample(template), wanted, "{template}");
    }
}

#[test]
fn what_cannot_be_signed_is_said_when_prepared() {
    let error = |change: &dyn Fn(&mut Hmac)| {
        let mut scheme = hmac(&["{method}"]);
        change(&mut scheme);
        refused(Scheme::Hmac(scheme))
    };
    for wrong in
        ["{methode}", "{}", "{signature}", "{body_sha3_hex}", "{body_sha256}", "{timestamp_x}", "{headers:}"]
    {
        let found = error(&|scheme| scheme.sign = vec![wrong.to_owned()]);
        assert!(matches!(found, SchemeError::Placeholder { .. }), "{wrong}: {found}");
    }
    assert!(matches!(error(&|s| s.sign = vec!["a{method".into()]), SchemeError::OpenPlaceholder { .. }));
    assert_eq!(error(&|s| s.sign.clear()), SchemeError::Missing { field: "sign" });
    assert_eq!(error(&|s| s.secret = "".into()), SchemeError::Missing { field: "secret" });
    assert_eq!(error(&|s| s.place = header("x", "fixed")), SchemeError::Missing { field: "place.value" });
    assert!(matches!(
        error(&|s| s.place = header("Host", "{signature}")),
        SchemeError::ReservedHeader { .. }
    ));
    assert!(matches!(error(&|s| s.place = header("x", "a\n{signature}")), SchemeError::HeaderValue { .. }));
    assert!(matches!(
        error(&|s| s.secret_encoding = KeyEncoding::Hex),
        SchemeError::Key { field: "secret", .. }
    ));
    // What is only known when signing cannot break out of a header either.
    let mut scheme = hmac(&["{method}"]);
    scheme.additions = vec![header("x-copy", "{body}")];
    let found =
        Request::get("https://h/").sign(&prepared(Scheme::Hmac(scheme)), Some(b"a\r\nX-Evil: 1")).err();
    assert_eq!(found, Some(SchemeError::HeaderValue { field: "x-copy".to_owned() }));
}
