use super::*;
use crate::wire;

fn ask(path: &str, body: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    let message =
        Message { head: head.as_bytes(), body: body.as_bytes(), first_byte: std::time::Instant::now() };
    String::from_utf8(choose(&message, &Answers::new("m", 256)).concat()).unwrap()
}

#[test]
fn a_stream_has_every_event_in_a_write_of_its_own() {
    let answers = Answers::new("m", 256);
    let writes = answers.stream(false);
    assert_eq!(writes.len(), 1 + 1 + 256 + 1, "head, role, words, end");
    let text = String::from_utf8(writes.concat()).unwrap();
    assert_eq!(text.matches("\"finish_reason\":\"length\"").count(), 1);
    assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"));
}

#[test]
fn usage_comes_when_it_was_asked_for() {
    let plain = ask("/v1/chat/completions", r#"{"stream": true}"#);
    assert!(!plain.contains("usage"));
    let with = r#"{"stream":true,"stream_options":{"include_usage":true}}"#;
    assert!(ask("/v1/chat/completions", with).contains(r#""completion_tokens":256"#));
    let without = r#"{"stream":true,"stream_options":{"include_usage":false}}"#;
    assert!(!ask("/v1/chat/completions", without).contains("completion_tokens"));
}

#[test]
fn what_is_not_a_stream_comes_in_one_piece() {
    for body in [r#"{"stream":false}"#, "{}", r#"{"messages":[{"content":"\"stream\" it"}]}"#] {
        assert!(ask("/v1/chat/completions", body).contains("chat.completion\""), "{body}");
    }
    assert!(ask("/v1/embeddings", "{}").contains("\"embedding\":[0.125"));
    assert!(ask("/v1/nothing", "{}").starts_with("HTTP/1.1 404"));
}

#[test]
fn every_answer_says_its_own_length() {
    for path in ["/v1/models", "/metrics", "/version", "/health", "/v1/chat/completions"] {
        let answer = ask(path, "{}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = wire::header(head.as_bytes(), b"content-length").unwrap();
        assert_eq!(length, body.len().to_string().as_bytes(), "{path}");
    }
}
