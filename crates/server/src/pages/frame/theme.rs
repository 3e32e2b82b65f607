//! Light, dark, or as the system is: a choice that lies in a cookie, so that a page is right before a script runs.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use latchstring_broker::cookies::cookie;
use serde::Deserialize;

use crate::App;
use crate::extract::form::Filled;
use crate::pages::go::own_path_or_start;

const COOKIE: &str = "latchstring_theme";
/// Seconds: a year.
const LIFE: u32 = 31_536_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
    #[default]
    System,
}

impl Theme {
    fn parse(text: &str) -> Self {
        match text {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    pub fn of(headers: &HeaderMap) -> Self {
        cookie(headers, COOKIE).map_or(Self::System, Self::parse)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
            Self::System => "system",
        }
    }

    pub fn is(&self, name: &str) -> bool {
        self.as_str() == name
    }
}

#[derive(Deserialize)]
pub struct Form {
    theme: String,
    #[serde(default)]
    back: String,
}

/// Anybody may choose, also before they sign in.
pub async fn choose(State(app): State<App>, Filled(form): Filled<Form>) -> Response {
    let theme = Theme::parse(&form.theme);
    let back = own_path_or_start(&app, &form.back);
    let life = if theme == Theme::System { 0 } else { LIFE };
    let cookie = format!("{COOKIE}={}; Path=/; SameSite=Lax; Max-Age={life}", theme.as_str());
    match (HeaderValue::try_from(cookie), HeaderValue::try_from(back)) {
        (Ok(cookie), Ok(back)) => {
            (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, back)]).into_response()
        }
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_choice_is_one_of_three() {
        for (text, theme) in [("light", Theme::Light), ("dark", Theme::Dark), ("system", Theme::System)] {
            assert_eq!(Theme::parse(text), theme);
            assert!(theme.is(text));
            let cookie = HeaderValue::try_from(format!("other=1; {COOKIE}={text}")).unwrap();
            assert_eq!(Theme::of(&HeaderMap::from_iter([(header::COOKIE, cookie)])), theme);
        }
        // Whatever else a cookie holds never gets into a page.
        for odd in ["", "Dark", "dark\"><script>", "none"] {
            assert_eq!(Theme::parse(odd).as_str(), "system", "{odd}");
        }
        assert_eq!(Theme::of(&HeaderMap::new()), Theme::System);
    }
}
