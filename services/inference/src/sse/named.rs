//! Events with names: those of a response, and those of a message.

use super::{
    EngineError, Event,
    usage::{Usage, Whole},
};
use serde::Deserialize;

/// Reads an event by its name; `None` when no route has events of that name.
pub(super) fn read(name: &[u8], data: &[u8]) -> Option<Event> {
    let content = |tokens, usage| Event::Content { tokens, usage };
    Some(match name {
        b"response.created" | b"response.in_progress" | b"response.queued" => Event::Begun,
        b"response.completed" | b"response.incomplete" => Event::Done(response(data)),
        b"response.failed" | b"response.cancelled" | b"error" => Event::Error(error(data)),
        b"message_start" => content(false, message(data)),
        b"message_delta" => content(false, super::whole_usage(data)),
        b"message_stop" => Event::Done(None),
        b"ping" => Event::Other,
        b"content_block_delta" => content(true, None),
        name if name.starts_with(b"content_block_") => content(false, None),
        name if name.starts_with(b"response.") => content(name.ends_with(b".delta"), None),
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Held {
    #[serde(alias = "message")]
    response: Whole,
}

/// The usage of the response that the event holds.
fn response(data: &[u8]) -> Option<Usage> {
    serde_json::from_slice::<Held>(data).ok()?.response.usage()
}

/// The same of a message that begins; an engine that cannot say it yet says 0.
fn message(data: &[u8]) -> Option<Usage> {
    response(data).filter(|usage| usage.prompt > 0)
}

/// What went wrong, which stands in the event itself, in its `error`, or in that of its response.
#[derive(Deserialize)]
struct Wrong {
    #[serde(default)]
    error: Option<Words>,
    #[serde(default)]
    response: Option<Failed>,
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(default)]
    error: Option<Words>,
}

#[derive(Default, Deserialize)]
struct Words {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<String>,
}

/// The error that an event is.
pub(super) fn error(data: &[u8]) -> EngineError {
    let Ok(Wrong { error, response, code, message }) = serde_json::from_slice(data) else {
        return EngineError { status: 500, message: String::new() };
    };
    let own = Words { kind: None, code, message };
    let words = error.or_else(|| response?.error).unwrap_or(own);
    let number = words.code.as_ref().and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
    let number = number.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let status = number.unwrap_or(match words.kind.as_deref() {
        Some("invalid_request_error") => 400,
        Some("rate_limit_error") => 429,
        Some("overloaded_error") => 503,
        _ => 500,
    });
    EngineError { status, message: words.message.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use crate::sse::{Event, Usage, first, read};

    fn event(name: &str, data: &str) -> Vec<u8> {
        format!("event: {name}\ndata: {data}\n\n").into_bytes()
    }

    const BEGUN: &str =
        r#"{"type":"response.created","response":{"id":"resp_1","usage":null,"metadata":{"usage":"x"}}}"#;

    #[test]
    fn a_response_says_its_usage_with_its_end() {
        assert_eq!(read(&event("response.created", BEGUN)), Event::Begun);
        let delta = r#"{"type":"response.output_text.delta","delta":"\"usage\":{\"input_tokens\":1}"}"#;
        let delta = read(&event("response.output_text.delta", delta));
        assert_eq!(delta, Event::Content { tokens: true, usage: None });
        let added = read(&event("response.output_item.added", "{}"));
        assert_eq!(added, Event::Content { tokens: false, usage: None });
        let end = r#"{"response":{"tools":[{"usage":{"input_tokens":1}}],"usage":{"input_tokens":9,"output_tokens":3},"input_messages":[{"usage":{"input_tokens":2}}]}}"#;
        for name in ["response.completed", "response.incomplete"] {
            let usage = Usage { prompt: 9, cached: 0, completion: 3 };
            assert_eq!(read(&event(name, end)), Event::Done(Some(usage)));
        }
    }

    #[test]
    fn a_message_says_its_usage_on_the_way() {
        let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":0}}}"#;
        let usage = Some(Usage { prompt: 9, cached: 0, completion: 0 });
        assert_eq!(read(&event("message_start", start)), Event::Content { tokens: false, usage });
        let unknown = start.replace('9', "0");
        let nothing = Event::Content { tokens: false, usage: None };
        assert_eq!(read(&event("message_start", &unknown)), nothing);
        let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":9,"output_tokens":5}}"#;
        let usage = Some(Usage { prompt: 9, cached: 0, completion: 5 });
        assert_eq!(read(&event("message_delta", delta)), Event::Content { tokens: false, usage });
        assert_eq!(read(&event("content_block_start", "{}")), nothing);
        assert_eq!(read(&event("content_block_delta", "{}")), Event::Content { tokens: true, usage: None });
        assert_eq!(read(&event("message_stop", "{}")), Event::Done(None));
        assert_eq!(read(&event("ping", "{}")), Event::Other);
    }

    #[test]
    fn failures_are_seen_in_all_their_forms() {
        let status = |name: &str, data: &str| match read(&event(name, data)) {
            Event::Error(error) => (error.status, error.message),
            other => panic!("{other:?}"),
        };
        let own = r#"{"type":"error","code":"server_error","message":"m","param":null,"sequence_number":3}"#;
        assert_eq!(status("error", own), (500, "m".to_owned()));
        let anthropic = r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#;
        assert_eq!(status("error", anthropic), (503, "m".to_owned()));
        let failed = r#"{"response":{"status":"failed","error":{"code":"server_error","message":"m"}}}"#;
        assert_eq!(status("response.failed", failed), (500, "m".to_owned()));
        assert_eq!(status("error", r#"{"error":{"code":503,"message":"m"}}"#), (503, "m".to_owned()));
        assert_eq!(status("error", "nonsense"), (500, String::new()));
    }

    #[test]
    fn what_says_that_a_response_has_begun_does_not_say_that_it_is_answered() {
        let begun = [event("response.created", BEGUN), event("response.in_progress", BEGUN)].concat();
        assert_eq!(first(&begun), None);
        let failed = [begun, event("error", r#"{"error":{"code":503,"message":"m"}}"#)].concat();
        assert!(matches!(first(&failed), Some(Event::Error(error)) if error.status == 503));
        assert_eq!(first(&failed[..failed.len() - 1]), None);
    }
}
