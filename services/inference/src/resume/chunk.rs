//! One event of a chat that may be continued: its words, and how it is told otherwise.

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::{borrow::Cow, collections::BTreeMap};

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) text: String,
    /// It says who speaks.
    pub(super) role: bool,
    /// It says that this was the end.
    pub(super) last: bool,
    /// It says something that is not its text: a thought, a call of a tool.
    pub(super) more: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    choices: [Choice<'a>; 1],
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: BTreeMap<Cow<'a, str>, &'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

const DATA: &[u8] = b"data: ";
const EMPTY: &[&str] = &["null", "\"\"", "[]"];

/// Reads an event with one choice; `None` when it is none.
pub(super) fn read(event: &[u8]) -> Option<Chunk> {
    let Event { choices: [choice] } = serde_json::from_slice(event.strip_prefix(DATA)?).ok()?;
    let text = match choice.delta.get("content").filter(|content| content.get() != "null") {
        Some(content) => serde_json::from_str(content.get()).ok()?,
        None => String::new(),
    };
    let other = |name: &str| name != "content" && name != "role";
    let more = choice.delta.iter().any(|(name, value)| other(name) && !EMPTY.contains(&value.get()));
    let last = choice.finish_reason.is_some_and(|reason| reason.get() != "null");
    Some(Chunk { text, role: choice.delta.contains_key("role"), last, more })
}

/// The same event without its usage, as it came otherwise.
pub(super) fn without_usage(event: &[u8]) -> Cow<'_, [u8]> {
    // In a text the quotes would have backslashes before them.
    let Some(at) = memmem::rfind(event, b",\"usage\":{") else { return Cow::Borrowed(event) };
    let object = at + b",\"usage\":".len();
    let mut values = serde_json::Deserializer::from_slice(&event[object..]).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(_)) => {
            let end = object + values.byte_offset();
            Cow::Owned([&event[..at], &event[end..]].concat())
        }
        _ => Cow::Borrowed(event),
    }
}

/// The same event with another text.
pub(super) fn with_text(event: &[u8], text: &str) -> Option<Bytes> {
    changed(event, |event| event["choices"][0]["delta"]["content"] = json!(text))
}

/// The same event with other counts.
pub(super) fn with_usage(event: &[u8], prompt: u64, completion: u64) -> Option<Bytes> {
    changed(event, |event| {
        event["usage"] = json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion});
    })
}

/// The same event, marked as the first one of another engine.
pub(super) fn marked(event: &[u8], times: u32) -> Vec<u8> {
    let rest = event.strip_prefix(b"data: {").unwrap_or_default();
    [format!("data: {{\"tollgate\":{{\"resumed\":{times}}},").as_bytes(), rest].concat()
}

fn changed(event: &[u8], change: impl FnOnce(&mut Value)) -> Option<Bytes> {
    let mut value: Value = serde_json::from_slice(event.strip_prefix(DATA)?).ok()?;
    change(&mut value);
    Some(format!("data: {value}\n\n").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &[u8] = br#"data: {"id":"a","choices":[{"index":0,"delta":{"content":"He said ,\"usage\":{"},"finish_reason":null}],"usage":{"prompt_tokens":3,"details":{"x":1}},"z":1}

"#;

    #[test]
    fn an_event_is_read_and_stripped_of_its_usage_alone() {
        let chunk = read(EVENT).unwrap();
        let text = "He said ,\"usage\":{".to_owned();
        assert_eq!(chunk, Chunk { text, role: false, last: false, more: false });
        let plain = String::from_utf8(without_usage(EVENT).into_owned()).unwrap();
        assert!(plain.ends_with("\"finish_reason\":null}],\"z\":1}\n\n"), "{plain}");
        assert_eq!(read(plain.as_bytes()).unwrap().text, "He said ,\"usage\":{");
        assert_eq!(without_usage(plain.as_bytes()), plain.as_bytes());
    }

    #[test]
    fn thoughts_and_calls_are_more_than_text() {
        let event = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
        let more = |delta: &str| read(event(delta).as_bytes()).unwrap().more;
        assert!(more(r#"{"reasoning":"hm"}"#));
        assert!(more(r#"{"tool_calls":[{"index":0}]}"#));
        assert!(!more(r#"{"role":"assistant","content":"","reasoning":null,"tool_calls":[]}"#));
        assert_eq!(read(b"data: {\"choices\":[]}\n\n"), None);
    }

    #[test]
    fn an_event_is_marked_and_stays_an_event() {
        let event = marked(EVENT, 2);
        let value: Value = serde_json::from_slice(event.strip_prefix(DATA).unwrap()).unwrap();
        assert_eq!((&value["tollgate"]["resumed"], &value["id"]), (&json!(2), &json!("a")));
    }
}
