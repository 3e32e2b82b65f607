use latchstring_testkit::generated::assert_generated;

use crate::app::{Db, TestApp};

#[test]
fn generated_openapi_json() {
    assert_generated("docs/openapi.json", &latchstring_server::api::openapi::text());
}

#[tokio::test]
async fn the_document_is_served_to_anybody() {
    let app = TestApp::new(Db::Sqlite).await;
    let answer = app.get("/api/v1/openapi.json").is(200).await;
    assert_eq!(answer.text, latchstring_server::api::openapi::text());
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    // Every address that it names is there: without a key it answers 401 (or what needs none), never 404.
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase().parse().unwrap();
            let asked = path.replace(['{', '}'], "");
            let answer = app.call(method, &asked).json(serde_json::json!({})).send().await;
            // How one can sign in is told to anybody.
            let open = path == "/api/v1/session/ways" && answer.status == 200;
            assert!(open || matches!(answer.status, 401 | 422), "{path}: {} {}", answer.status, answer.text);
        }
    }
}
