//! `standardwebhooks` (npm), the reference library of the specification.

use serde_json::{Value, json};

use crate::process::{ask, node};

/// One delivery as it was received.
pub struct Received {
    pub secret: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What the library says to deliveries: the payload, or its own error.
pub fn standardwebhooks(received: &[Received]) -> Vec<Result<Value, String>> {
    let one = |received: &Received| {
        let headers: serde_json::Map<String, Value> =
            received.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({"secret": received.secret, "headers": headers, "body": received.body})
    };
    let question: Value = received.iter().map(one).collect();
    let answers = ask(&mut node("verify-webhooks.mjs"), &question);
    let answers = answers.as_array().expect("a list of judgements").clone();
    assert_eq!(answers.len(), received.len(), "one judgement for each delivery");
    let read = |answer: Value| match answer["ok"].as_bool() {
        Some(true) => Ok(answer["payload"].clone()),
        _ => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
    };
    answers.into_iter().map(read).collect()
}
