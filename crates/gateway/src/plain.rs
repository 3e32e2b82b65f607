//! HTTP/1.1 answers that are written without hyper: where there is no request that it could answer.

use latchstring_model::id::CallId;
use latchstring_model::{Code, Problem};

/// A problem as the whole of an answer, after which the connection ends.
pub fn problem(problem: &Problem, call: Option<&CallId>) -> Vec<u8> {
    let body = problem.to_json().to_string();
    let reason = match problem.code {
        Code::Busy => "Service Unavailable",
        _ => "Bad Request",
    };
    let mut text = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nlatchstring-error: {}\r\n",
        problem.code.status(),
        body.len(),
        problem.code.as_str(),
    );
    if let Some(call) = call {
        text.push_str(&format!("latchstring-call-id: {call}\r\n"));
    }
    if let Some(secs) = problem.retry_after_secs {
        text.push_str(&format!("retry-after: {secs}\r\n"));
    }
    text.push_str("cache-control: no-store\r\ncontent-security-policy: sandbox\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n");
    text.push_str(&body);
    text.into_bytes()
}
