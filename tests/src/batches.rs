//! Files of requests, as OpenAI's clients send them.

use crate::http::{Body, Client};
use http::{Request, header};
use serde_json::json;

/// What every line asks.
const CHAT: &str = "/v1/chat/completions";

const BOUNDARY: &str = "the-end-of-a-part";

/// A form with a file of requests.
fn form(client: &Client, content: &str) -> Request<Body> {
    let part = |head: &str, body: &str| {
        format!("--{BOUNDARY}\r\ncontent-disposition: form-data; {head}\r\n\r\n{body}\r\n")
    };
    let parts = part("name=\"purpose\"", "batch") + &part("name=\"file\"; filename=\"lines.jsonl\"", content);
    client
        .builder("POST", "/v1/files")
        .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(Body::from(parts + &format!("--{BOUNDARY}--\r\n")))
        .unwrap()
}

/// Begins a batch of these chats, one a line. Returns its path.
pub async fn begin(client: &Client, content: &str) -> String {
    let file = client.send(form(client, content)).await.ok().json()["id"].as_str().unwrap().to_owned();
    let asked = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
    let batch = client.post("/v1/batches", &asked).await.ok().json();
    format!("/v1/batches/{}", batch["id"].as_str().unwrap())
}

/// Lines that are answered by now; none while nobody says so.
pub async fn answered(client: &Client, path: &str) -> u64 {
    let Ok(answer) = client.try_send(client.request("GET", path)).await else { return 0 };
    if answer.status == 200 { answer.json()["request_counts"]["completed"].as_u64().unwrap() } else { 0 }
}
