//! Slack's incoming webhooks.

use crate::alerting::letter::Content;
use serde_json::json;

/// Longest text that Slack shows.
const LONG: usize = 3_000;

pub(super) fn body(content: &Content, channel: &str) -> Vec<u8> {
    let text: String = format!("*{}*\n{}", escaped(&content.subject()), escaped(&content.text()))
        .chars()
        .take(LONG)
        .collect();
    let mut body = json!({ "text": text });
    if !channel.is_empty() {
        body["channel"] = json!(channel);
    }
    body.to_string().into_bytes()
}

/// What Slack takes for its own signs otherwise.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
