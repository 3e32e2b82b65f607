//! Which headers pass. On the way out: nothing that is about the caller's connection to us, nothing
//! that proves who the caller is to us. On the way back: nothing that would act on our own origin.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::decode;

/// RFC 9110 §7.6.1, and the names that predate it.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "transfer-encoding"
            | "te"
            | "upgrade"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "keep-alive"
            | "proxy-connection"
    )
}

/// Headers by which some servers take another method or path than the request line says: with a key that is
/// limited to methods or paths they do not pass.
static OVERRIDES: [HeaderName; 6] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-original-uri"),
];

/// For keys that are limited to methods or paths.
pub fn strip_overrides(headers: &mut HeaderMap) {
    for name in &OVERRIDES {
        headers.remove(name);
    }
}

/// What is no word of the caller's to the API, wherever it stands in a request.
pub(super) fn is_not_for_the_api(name: &str) -> bool {
    is_hop_by_hop(name) || is_not_forwarded(name) || OVERRIDES.iter().any(|known| known == name)
}

/// What the caller sent for us or about itself; the upstream gets none of it.
fn is_not_forwarded(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "cookie"
            | "host"
            // Answered here: the server sends `100 Continue` when the body is first read.
            | "expect"
            | "forwarded"
            | "x-real-ip"
    ) || name.starts_with("latchstring-")
        || name.starts_with("x-forwarded-")
}

/// Headers by which an answer would act on Latchstring's own origin if a browser ever showed it.
fn is_not_returned(name: &str) -> bool {
    matches!(
        name,
        "set-cookie"
            | "strict-transport-security"
            | "content-security-policy"
            | "content-security-policy-report-only"
            | "alt-svc"
            | "refresh"
            | "public-key-pins"
            | "public-key-pins-report-only"
            | "access-control-allow-origin"
            | "access-control-allow-credentials"
            | "access-control-allow-headers"
            | "access-control-allow-methods"
            | "access-control-expose-headers"
            | "access-control-max-age"
            | "set-cookie2"
            | "clear-site-data"
            | "service-worker-allowed"
            | "origin-trial"
            | "sourcemap"
            | "x-sourcemap"
            | "speculation-rules"
            | "nel"
            | "report-to"
            | "reporting-endpoints"
    ) || name.starts_with("latchstring-")
}

/// Removes the headers whose name is `out`. One look at each name that is there, instead of one search for
/// each name that could be.
pub(super) fn remove_those(headers: &mut HeaderMap, out: impl Fn(&str) -> bool) {
    /// More than this many need another look, which is rare.
    const AT_ONCE: usize = 8;
    loop {
        let mut found: [Option<HeaderName>; AT_ONCE] = [const { None }; AT_ONCE];
        let mut hits = headers.keys().filter(|name| out(name.as_str()));
        for (place, name) in found.iter_mut().zip(&mut hits) {
            *place = Some(name.clone());
        }
        let more = hits.next().is_some();
        for name in found.iter().flatten() {
            headers.remove(name);
        }
        if !more {
            return;
        }
    }
}

/// Drops the headers that `Connection` names, and tells which: they are the connection's own as well.
fn strip_named_by_connection(headers: &mut HeaderMap) -> Vec<HeaderName> {
    // What nearly every `Connection` says; neither is a header that would be passed on.
    let usual = |name: &str| name.eq_ignore_ascii_case("keep-alive") || name.eq_ignore_ascii_case("close");
    let values = headers.get_all(header::CONNECTION);
    if values.iter().all(|value| value.to_str().is_ok_and(usual)) {
        return Vec::new();
    }
    let named: Vec<HeaderName> = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !usual(name))
        .filter_map(|name| HeaderName::try_from(name).ok())
        .collect();
    for name in &named {
        headers.remove(name);
    }
    named
}

/// Whether `TE` lists `trailers` (RFC 9110 section 10.1.4).
fn wants_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case("trailers"))
}

const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Step 6 begins here: what is left is what the caller meant for the API.
pub fn strip_request(headers: &mut HeaderMap) {
    let trailers = wants_trailers(headers);
    strip_named_by_connection(headers);
    remove_those(headers, |name| is_hop_by_hop(name) || is_not_forwarded(name));
    // Said anew, for our own connection: servers leave trailers out where nobody says that they will be passed on,
    // and gRPC wants to hear it.
    if trailers {
        headers.insert(header::TE, TRAILERS);
    }
    // Answers are searched for echoes, so only codings are asked for that can be looked into.
    let brotli = decode::has_room_for_brotli();
    let accepted = headers.get_all(header::ACCEPT_ENCODING);
    if accepted.iter().any(|value| decode::readable_only(value, brotli).is_some()) {
        let readable: Vec<HeaderValue> = accepted
            .iter()
            .map(|value| decode::readable_only(value, brotli).unwrap_or_else(|| value.clone()))
            .collect();
        headers.remove(header::ACCEPT_ENCODING);
        for value in readable {
            headers.append(header::ACCEPT_ENCODING, value);
        }
    }
}

const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Step 8: what is left is what the API meant for the caller. Tells which names `Connection` claimed: fields of
/// these names are not passed on behind the body either (RFC 9110 section 7.6.1).
pub fn strip_response(headers: &mut HeaderMap) -> Vec<HeaderName> {
    let named = strip_named_by_connection(headers);
    remove_those(headers, |name| is_hop_by_hop(name) || is_not_returned(name));
    named
}

/// Then it becomes an answer that a browser can show but that can do nothing here.
pub fn confine_response(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
}

/// Whether the caller asks to switch protocols (WebSocket and the like), which is not served.
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .filter_map(|(name, value)| {
                Some((HeaderName::try_from(*name).ok()?, HeaderValue::try_from(*value).ok()?))
            })
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_upstream_learns_nothing_about_the_caller() {
        let mut headers = map(&[
            ("authorization", "Bearer lst_x"),
            ("cookie", "a=b"),
            ("host", "localhost"),
            ("latchstring-project", "acme"),
            ("latchstring-key", "lst_x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "h"),
            ("forwarded", "for=1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("keep-alive", "1"),
            ("proxy-authorization", "x"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip"),
            ("x-request-id", "1"),
            ("content-length", "3"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["accept", "accept-encoding", "content-length", "te", "x-request-id"]);
    }

    #[test]
    fn trailers_are_asked_for_where_the_caller_asks_for_them() {
        for (sent, asked) in [
            (&[("te", "trailers")][..], Some("trailers")),
            (&[("connection", "close, TE"), ("te", "gzip;q=0.5 , Trailers")], Some("trailers")),
            (&[("te", "gzip"), ("te", "trailers")], Some("trailers")),
            (&[("te", "gzip")], None),
            (&[("te", "x-trailers, trailers;q=1")], None),
            (&[("te", "")], None),
            (&[], None),
        ] {
            let mut headers = map(sent);
            strip_request(&mut headers);
            let all: Vec<&HeaderValue> = headers.get_all("te").iter().collect();
            assert_eq!(all, asked.iter().collect::<Vec<_>>(), "{sent:?}");
        }
    }

    #[test]
    fn many_at_once_are_all_dropped() {
        let mut headers = HeaderMap::new();
        for n in 0..40 {
            let name = HeaderName::try_from(format!("x-forwarded-{n}")).expect("a name");
            headers.append(name.clone(), HeaderValue::from_static("a"));
            headers.append(name, HeaderValue::from_static("b"));
        }
        headers.insert("x-kept", HeaderValue::from_static("c"));
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["x-kept"]);
    }

    #[test]
    fn a_limited_key_cannot_go_round_its_limits_by_a_header() {
        let mut headers =
            map(&[("x-http-method-override", "DELETE"), ("x-original-url", "/admin"), ("accept", "*/*")]);
        strip_overrides(&mut headers);
        assert_eq!(names(&headers), ["accept"]);
    }

    #[test]
    fn an_answer_cannot_act_on_our_origin() {
        let mut headers = map(&[
            ("set-cookie", "session=stolen"),
            ("strict-transport-security", "max-age=1"),
            ("clear-site-data", "\"*\""),
            ("access-control-allow-origin", "*"),
            ("content-security-policy", "default-src *"),
            ("latchstring-call-id", "forged"),
            ("latchstring-error", "forged"),
            ("etag", "1"),
            ("content-encoding", "gzip"),
        ]);
        assert!(strip_response(&mut headers).is_empty());
        confine_response(&mut headers);
        assert_eq!(
            names(&headers),
            ["content-encoding", "content-security-policy", "etag", "x-content-type-options"]
        );
        assert_eq!(headers.get("content-security-policy"), Some(&SANDBOX));
    }
}
