//! The events of a stream, told apart: tokens, usage, an error in the middle, the end.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

/// Tokens as the engine counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Usage {
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
}

/// One `data:` event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// What the client came for, with the usage so far if it was told along.
    Tokens(Option<Usage>),
    /// The usage at the end.
    Usage(Usage),
    /// The stream failed under status 200; the word says how.
    Error(String),
    Done,
    /// Something that no client needs.
    Other,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<IgnoredAny>,
    usage: Option<Usage>,
    error: Option<Value>,
}

/// Cuts bytes, as they come, into events.
#[derive(Debug, Default)]
pub(super) struct Events {
    rest: Vec<u8>,
}

impl Events {
    /// The events that these bytes complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let lines: Vec<u8> = self.rest.drain(..=end).collect();
        lines.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:")).map(read).collect()
    }
}

fn read(data: &[u8]) -> Event {
    let data = data.trim_ascii();
    if data == b"[DONE]" {
        return Event::Done;
    }
    match serde_json::from_slice::<Chunk>(data) {
        Ok(Chunk { error: Some(error), .. }) => Event::Error(word(&error)),
        Ok(Chunk { choices, usage, .. }) if !choices.is_empty() => Event::Tokens(usage),
        Ok(Chunk { usage: Some(usage), .. }) => Event::Usage(usage),
        Ok(_) => Event::Other,
        Err(_) => Event::Error("unreadable".to_owned()),
    }
}

fn word(error: &Value) -> String {
    match error.get("code") {
        Some(Value::String(code)) => code.clone(),
        Some(Value::Number(code)) => code.to_string(),
        _ => "unnamed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        ": a comment\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"{\\\"error\\\":1}\"}}],\"usage\":null}\r\n\r\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":17,\"total_tokens\":23,\"completion_tokens\":6}}\n\n",
        "data: [DONE]\n\n"
    );

    fn told() -> Vec<Event> {
        let usage = Usage { prompt_tokens: 17, completion_tokens: 6 };
        vec![Event::Tokens(None), Event::Tokens(None), Event::Usage(usage), Event::Done]
    }

    #[test]
    fn events_are_the_same_however_the_bytes_come() {
        for size in 1..STREAM.len() {
            let mut events = Events::default();
            let all: Vec<_> = STREAM.as_bytes().chunks(size).flat_map(|bytes| events.feed(bytes)).collect();
            assert_eq!(all, told(), "in pieces of {size}");
        }
    }

    #[test]
    fn an_error_in_the_stream_is_not_its_end() {
        let raw = "data: {\"error\": {\"message\": \"busy\", \"type\": \"Service Unavailable\", \"code\": 503}}\n\n\
                   event: error\ndata: {\"error\":{\"code\":\"engine_lost\"}}\n\ndata: {\"error\":\"x\"}\n\ndata: {\n\n";
        let words = ["503", "engine_lost", "unnamed", "unreadable"].map(|word| Event::Error(word.to_owned()));
        assert_eq!(Events::default().feed(raw.as_bytes()), words);
    }

    #[test]
    fn usage_may_come_along_with_tokens() {
        let raw = "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":3}}\n\ndata: {\"id\":\"x\"}\n\n";
        let usage = Usage { prompt_tokens: 3, completion_tokens: 0 };
        assert_eq!(Events::default().feed(raw.as_bytes()), [Event::Tokens(Some(usage)), Event::Other]);
    }
}
