//! Which headers pass. On the way out: nothing that is about the caller's connection to us, nothing
//! that proves who the caller is to us. On the way back: nothing that would act on our own origin.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::decode;

/// RFC 9110 §7.6.1, and the names that predate it.
static HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

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

/// What the caller sent for us or about itself; the upstream gets none of it.
static NOT_FORWARDED: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    // Answered here: the server sends `100 Continue` when the body is first read.
    header::EXPECT,
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
];

/// Headers by which an answer would act on Latchstring's own origin if a browser ever showed it.
static NOT_RETURNED: [HeaderName; 24] = [
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    header::ALT_SVC,
    header::REFRESH,
    header::PUBLIC_KEY_PINS,
    header::PUBLIC_KEY_PINS_REPORT_ONLY,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    HeaderName::from_static("set-cookie2"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("origin-trial"),
    HeaderName::from_static("sourcemap"),
    HeaderName::from_static("x-sourcemap"),
    HeaderName::from_static("speculation-rules"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
];

fn remove_prefixed(headers: &mut HeaderMap, prefixes: &[&str]) {
    let hit = |name: &HeaderName| prefixes.iter().any(|prefix| name.as_str().starts_with(prefix));
    if headers.keys().any(hit) {
        let names: Vec<HeaderName> = headers.keys().filter(|name| hit(name)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

/// Drops the connection's own headers, and those that `Connection` names.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Step 6 begins here: what is left is what the caller meant for the API.
pub fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in &NOT_FORWARDED {
        headers.remove(name);
    }
    remove_prefixed(headers, &["latchstring-", "x-forwarded-"]);
    // Answers are searched for echoes, so only codings are asked for that can be looked into.
    let accepted = headers.get_all(header::ACCEPT_ENCODING);
    if accepted.iter().any(|value| decode::readable_only(value).is_some()) {
        let readable: Vec<HeaderValue> = accepted
            .iter()
            .map(|value| decode::readable_only(value).unwrap_or_else(|| value.clone()))
            .collect();
        headers.remove(header::ACCEPT_ENCODING);
        for value in readable {
            headers.append(header::ACCEPT_ENCODING, value);
        }
    }
}

const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Step 8: an answer that a browser can show but that can do nothing here.
pub fn strip_response(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in &NOT_RETURNED {
        headers.remove(name);
    }
    remove_prefixed(headers, &["latchstring-"]);
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
}

/// Whether the caller asks to switch protocols (WebSocket and the like), which is not served.
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(names(&headers), ["accept", "accept-encoding", "content-length", "x-request-id"]);
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
        strip_response(&mut headers);
        assert_eq!(
            names(&headers),
            ["content-encoding", "content-security-policy", "etag", "x-content-type-options"]
        );
        assert_eq!(headers.get("content-security-policy"), Some(&SANDBOX));
    }
}
