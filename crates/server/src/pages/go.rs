//! Where a browser goes next: after a form was done (post, redirect, get), and only ever to paths of this server.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::consent::own_path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::App;
use crate::pages::frame::Flash;

/// What stays as it is in a part of a path or a query (RFC 3986: unreserved).
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One part of a path, or a value of a query.
pub fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// To another page.
pub fn to(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// To another page, which says what was done.
pub fn saying(path: &str, flash: Flash) -> Response {
    match HeaderValue::try_from(path) {
        Ok(path) => (StatusCode::SEE_OTHER, [(header::LOCATION, path), (header::SET_COOKIE, flash.set())])
            .into_response(),
        Err(_) => to("/"),
    }
}

/// A path on this server that a request names, or `None`: nobody is sent elsewhere.
pub fn checked(app: &App, given: &str) -> Option<String> {
    own_path(&app.broker().settings().public_url, given)
}

pub fn own_path_or_start(app: &App, given: &str) -> String {
    checked(app, given).unwrap_or_else(|| "/".to_owned())
}
