//! Style, scripts and icons: part of the binary, served from our own origin. Their address holds a digest of them all,
//! so that browsers keep them for good and never see an old one.

use std::hash::Hasher;
use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::extract::path::Named;

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file for all pages: later rules may stand on earlier ones.
const STYLE: &str = concat!(
    include_str!("../../assets/css/tokens.css"),
    include_str!("../../assets/css/base.css"),
    include_str!("../../assets/css/frame.css"),
    include_str!("../../assets/css/forms.css"),
    include_str!("../../assets/css/parts.css"),
);

macro_rules! script {
    ($name:literal) => {
        Asset { name: $name, kind: JS, text: include_str!(concat!("../../assets/js/", $name)) }
    };
}

const ASSETS: &[Asset] = &[
    Asset { name: "style.css", kind: CSS, text: STYLE },
    Asset { name: "icons.svg", kind: SVG, text: include_str!("../../assets/icons.svg") },
    Asset { name: "mark.svg", kind: SVG, text: include_str!("../../assets/mark.svg") },
    script!("app.js"),
    script!("connected.js"),
    script!("copy.js"),
    script!("fields.js"),
    script!("filter.js"),
    script!("follow.js"),
    script!("lines.js"),
    script!("menus.js"),
    script!("stay.js"),
    script!("tags.js"),
    script!("times.js"),
    script!("words.js"),
];

static BASE: LazyLock<String> = LazyLock::new(|| {
    // To tell versions apart, not to guard anything.
    #[allow(deprecated)]
    let mut digest = std::hash::SipHasher::new();
    for asset in ASSETS {
        digest.write(asset.text.as_bytes());
    }
    format!("/assets/{:016x}", digest.finish())
});

/// `/assets/{digest}`.
pub fn base() -> &'static str {
    &BASE
}

pub async fn get(Named((digest, name)): Named<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // A page of another version asks for its own: it gets ours, and does not keep it.
    let keep = if BASE.ends_with(&digest) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, keep)]
        .map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, asset.text).into_response()
}

/// `/connect.js`: for pages of other origins, which load it as a module. It holds nothing that is anybody's.
pub async fn connect() -> Response {
    let headers = [
        (header::CONTENT_TYPE, JS),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, include_str!("../../assets/js/connect.js")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of them together: no page loads more than that.
    #[test]
    fn what_a_page_loads_of_ours_is_small() {
        let bytes: usize = ASSETS.iter().map(|asset| asset.text.len()).sum();
        assert!(bytes <= 100_000, "{bytes} bytes");
    }

    /// What a script asks for is in the list that is summed up above, and served.
    #[test]
    fn scripts_load_nothing_but_these() {
        let mut loaded = 0;
        for asset in ASSETS.iter().filter(|asset| asset.kind == JS) {
            for name in asset.text.split("\"./").skip(1).filter_map(|part| part.split('"').next()) {
                assert!(ASSETS.iter().any(|known| known.name == name), "{} loads {name}", asset.name);
                loaded += 1;
            }
        }
        assert!(loaded >= 5, "{loaded}");
        assert!(!STYLE.contains("@import") && !STYLE.contains("url("), "style loads nothing");
    }
}
