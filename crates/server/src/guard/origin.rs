//! Did a browser's request come from our own pages? (Cross-site request forgery.)
//!
//! `Sec-Fetch-Site` (Fetch Metadata) decides where the browser sends it: on https and on loopback. Otherwise
//! `Origin` (RFC 6454), which browsers put on every unsafe request, has to be our own: the public URL's, or
//! that of the `Host` that was asked.

use axum::http::request::Parts;
use axum::http::{HeaderName, header};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Ours,
    Elsewhere,
    /// No browser of the last years: neither header.
    Unsaid,
}

pub fn of(parts: &Parts, public_url: &str) -> From {
    if let Some(site) = parts.headers.get(SITE) {
        return if site.as_bytes() == b"same-origin" { From::Ours } else { From::Elsewhere };
    }
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return From::Unsaid };
    let Ok(origin) = origin.to_str() else { return From::Elsewhere };
    let (scheme, authority) = match origin.split_once("://") {
        Some((scheme @ ("http" | "https"), authority)) => (scheme, authority),
        // `null`: a sandboxed frame, a file, a redirect through another site.
        _ => return From::Elsewhere,
    };
    let public = public_url.split_once("://").is_some_and(|(known, rest)| {
        let host = rest.split('/').next().unwrap_or(rest);
        known == scheme && host.eq_ignore_ascii_case(authority)
    });
    let asked = parts
        .uri
        .authority()
        .map(|asked| asked.as_str())
        .or_else(|| parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    if public || asked.is_some_and(|asked| asked.eq_ignore_ascii_case(authority)) {
        From::Ours
    } else {
        From::Elsewhere
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::Request;

    use super::*;

    fn from(headers: &[(&str, &str)]) -> From {
        let mut request = Request::builder().uri("/api/v1/me").header("host", "127.0.0.1:5282");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        of(&request.body(()).unwrap().into_parts().0, "https://keys.example.org")
    }

    #[test]
    fn only_our_own_pages_are_ours() {
        assert_eq!(from(&[]), From::Unsaid);
        for ours in ["https://keys.example.org", "https://KEYS.example.org", "http://127.0.0.1:5282"] {
            assert_eq!(from(&[("origin", ours)]), From::Ours, "{ours}");
        }
        for other in [
            "null",
            "",
            "https://evil.example",
            "http://keys.example.org",
            "https://keys.example.org.evil.example",
            "https://keys.example.org:444",
            "http://127.0.0.1:5283",
            "file://127.0.0.1:5282",
        ] {
            assert_eq!(from(&[("origin", other)]), From::Elsewhere, "{other}");
        }
    }

    #[test]
    fn what_the_browser_says_of_the_site_decides() {
        assert_eq!(from(&[("sec-fetch-site", "same-origin")]), From::Ours);
        for other in ["same-site", "cross-site", "none", "Same-Origin"] {
            assert_eq!(
                from(&[("sec-fetch-site", other), ("origin", "https://keys.example.org")]),
                From::Elsewhere,
                "{other}"
            );
        }
    }
}
