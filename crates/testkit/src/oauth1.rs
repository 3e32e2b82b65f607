//! `oauthlib` (PyPI) as the other side of OAuth 1.0a.

use serde_json::{Value, json};

use crate::process::{ask, python};

/// What `oauthlib` says to requests; tests/e2e/oauth1_oauthlib.py has the members of a question and of an answer.
pub fn oauthlib(cases: &[Value]) -> Vec<Value> {
    let answers = ask(&mut python("oauth1_oauthlib.py"), &json!(cases));
    let answers = answers.as_array().expect("a list of judgements").clone();
    assert_eq!(answers.len(), cases.len(), "one judgement for each case");
    answers
}
