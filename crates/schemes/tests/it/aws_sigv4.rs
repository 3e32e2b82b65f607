//! Signature Version 4 against AWS's own signer, over random requests. The published suite is tested beside the code.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::Method;
use latchstring_schemes::aws_sigv4::AwsSigV4;
use latchstring_schemes::{BodyNeed, Prepared, Scheme, SchemeError};
use proptest::prelude::*;

use crate::support::{NOW, Request, prepared, refused};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn aws(service: &str, token: Option<&str>) -> AwsSigV4 {
    AwsSigV4 {
        access_key_id: KEY.to_owned(),
        secret_access_key: SECRET.into(),
        session_token: token.map(Into::into),
        region: "eu-central-1".to_owned(),
        service: service.to_owned(),
    }
}

fn scheme(service: &str, token: Option<&str>) -> Prepared {
    prepared(Scheme::AwsSigV4(aws(service, token)))
}

/// What AWS's signer puts into `Authorization` for the request as it is.
fn theirs(request: &Request, service: &str, token: Option<&str>, body: SignableBody<'_>) -> String {
    let identity = Credentials::new(KEY, SECRET, token.map(str::to_owned), None, "test").into();
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name(service)
        .time(UNIX_EPOCH + Duration::from_millis(u64::try_from(NOW.millis()).unwrap()))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let url = format!("{}{}", request.origin, request.target);
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let signable = SignableRequest::new(request.method.as_str(), url, headers, body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    instructions.headers().find(|(name, _)| *name == "authorization").unwrap().1.to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn aws_signs_the_same(
        s3 in any::<bool>(),
        https in any::<bool>(),
        port in prop_oneof![Just(String::new()), Just(":8443".to_owned())],
        // What a path may hold unencoded differs between the two for S3 only: see `paths_as_each_service_signs_them`.
        segments in prop::collection::vec("([A-Za-z0-9._~-]|%20|%C3%A9|%2F|%25){1,8}", 0..4),
        slash in any::<bool>(),
        query in prop::collection::vec(("([A-Za-z0-9_.-]|%5B|%20){1,5}", "([A-Za-z0-9_.~-]|%2F|%3D|\\+|%26){0,6}"), 0..5),
        bare in any::<bool>(),
        meta in prop::option::of("[ -~&&[^ ]]{1,5}( {1,3}[a-z]{1,5}){0,2}"),
        content_type in prop::option::of(Just("application/json; charset=utf-8")),
        token in prop::option::of("[A-Za-z0-9/+=]{10,40}"),
        body in prop::collection::vec(any::<u8>(), 0..50),
        method in prop_oneof![Just(Method::GET), Just(Method::PUT), Just(Method::POST), Just(Method::DELETE)],
    ) {
        let service = if s3 { "s3" } else { "execute-api" };
        prop_assume!(!segments.iter().any(|segment| segment.chars().all(|c| c == '.')));
        let mut target = format!("/{}", segments.join("/"));
        if slash && !segments.is_empty() {
            target.push('/');
        }
        if !query.is_empty() {
            let mut pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if bare {
                pairs.push("flag".to_owned());
            }
            target.push_str(&format!("?{}", pairs.join("&")));
        }
        let mut request = Request::new(method, &format!("{}://bucket.example.com{port}/", if https { "https" } else { "http" }));
        request.target = target;
        if let Some(meta) = &meta {
            request.headers.insert("x-amz-meta-note", meta.parse().unwrap());
        }
        if let Some(content_type) = content_type {
            request.headers.insert("content-type", content_type.parse().unwrap());
        }
        let wanted = theirs(&request, service, token.as_deref(), SignableBody::Bytes(&body));
        // Things that the caller made up, and that do not count.
        request.headers.insert("authorization", "AWS4-HMAC-SHA256 mine".parse().unwrap());
        request.headers.insert("x-amz-date", "20000101T000000Z".parse().unwrap());
        request.headers.insert("x-amz-security-token", "mine".parse().unwrap());
        request.headers.insert("user-agent", "not signed".parse().unwrap());
        request.sign(&scheme(service, token.as_deref()), Some(&body)).unwrap();
        prop_assert_eq!(request.header("authorization"), wanted.as_str(), "{}", request.target);
    }
}

#[test]
fn a_streamed_body_goes_unsigned_to_s3_over_https_only() {
    let s3 = scheme("s3", None);
    let mut request = Request::new(Method::PUT, "https://b.example.com/key");
    assert_eq!(s3.body_need(&request.outgoing()), BodyNeed::None);
    let wanted = theirs(&request, "s3", None, SignableBody::UnsignedPayload);
    request.sign(&s3, None).unwrap();
    assert_eq!(request.header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    assert_eq!(request.header("authorization"), wanted);

    let mut plain = Request::new(Method::PUT, "http://b.example.com/key");
    assert!(matches!(s3.body_need(&plain.outgoing()), BodyNeed::Held { .. }));
    assert_eq!(plain.sign(&s3, None).err(), Some(SchemeError::BodyNotHeld));
    let other = scheme("sqs", None);
    assert!(matches!(other.body_need(&request.outgoing()), BodyNeed::Held { .. }));
    assert_eq!(request.sign(&other, None).err(), Some(SchemeError::BodyNotHeld));
    let mut request = Request::get("https://h/");
    request.sign(&other, Some(b"")).unwrap();
    assert!(request.headers.get("x-amz-content-sha256").is_none());
}

#[test]
fn a_wrong_field_is_named() {
    let with = |change: fn(&mut AwsSigV4)| {
        let mut aws = aws("s3", None);
        change(&mut aws);
        refused(Scheme::AwsSigV4(aws))
    };
    assert_eq!(with(|aws| aws.region = " ".into()), SchemeError::Missing { field: "region" });
    assert_eq!(
        with(|aws| aws.access_key_id = "A\nB".into()),
        SchemeError::HeaderValue { field: "access_key_id".into() }
    );
    let error = with(|aws| aws.session_token = Some("to\rken".into()));
    assert_eq!(error, SchemeError::HeaderValue { field: "session_token".into() });
    let masks: Vec<String> =
        scheme("s3", Some("tok")).secrets_to_mask().iter().map(|secret| secret.expose().to_owned()).collect();
    assert_eq!(masks, [SECRET, "tok"]);
    let mask = Request::get("https://h/").sign(&scheme("s3", None), Some(b"")).unwrap().unwrap();
    assert_eq!(mask.len(), 64);
}
