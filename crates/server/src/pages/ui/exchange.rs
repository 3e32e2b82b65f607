//! A request and its answer, side by side, as the use cases show them: masked. Or a request that nobody has sent.

use askama::Template;
use askama::filters::HtmlSafe;
use serde_json::Value;

use crate::texts::T;

#[derive(Template, Clone)]
#[template(path = "ui/exchange.html")]
pub struct Exchange {
    t: T,
    request: String,
    response: Option<String>,
    sent: bool,
}

impl HtmlSafe for Exchange {}

fn headers(of: &Value) -> String {
    let lines = of.get("headers").and_then(Value::as_object).into_iter().flatten();
    lines.map(|(name, value)| format!("\n{name}: {}", value.as_str().unwrap_or_default())).collect()
}

/// JSON is easier to read with its lines apart.
fn readable(body: &str) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(value) if value.is_object() || value.is_array() => {
            serde_json::to_string_pretty(&value).unwrap_or_else(|_| body.to_owned())
        }
        _ => body.to_owned(),
    }
}

impl Exchange {
    /// `None` where nothing was sent.
    pub fn of(t: T, request: Option<&Value>, response: Option<&Value>) -> Option<Self> {
        let request = request?;
        let text = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default();
        let shown = format!("{} {}{}", text("method"), text("url"), headers(request));
        let body = request.get("body").and_then(Value::as_str).map(readable);
        let response = response.and_then(|response| {
            let status = response.get("status").and_then(Value::as_u64)?;
            let body = response.get("body_excerpt").and_then(Value::as_str).unwrap_or_default();
            Some(format!("{status}{}\n\n{}", headers(response), readable(body)))
        });
        let shown = match body {
            Some(body) => format!("{shown}\n\n{body}"),
            None => shown,
        };
        Some(Self { t, request: shown, response, sent: true })
    }

    /// A request as it would be sent.
    pub fn before(t: T, request: Option<&Value>) -> Option<Self> {
        Some(Self { sent: false, ..Self::of(t, request, None)? })
    }
}
