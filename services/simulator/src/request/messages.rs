//! The messages of a chat: their shape, and what the template would make of them.

use serde_json::Value;

use super::body::Body;
use super::fields::{Fields, Problem};
use crate::errors::ApiError;
use crate::prompt::Message;

/// The kinds of message an entry is tried as, in the order in which they are reported.
const KINDS: [&str; 7] = [
    "ChatCompletionDeveloperMessageParam",
    "ChatCompletionSystemMessageParam",
    "ChatCompletionUserMessageParam",
    "ChatCompletionAssistantMessageParam",
    "ChatCompletionToolMessageParam",
    "ChatCompletionFunctionMessageParam",
    "CustomChatCompletionMessageParam",
];

/// What the real engine says before it looks at any field.
pub(crate) fn check_iterable(body: &Body) -> Result<(), ApiError> {
    let kind = match body.get("messages") {
        Some(Value::Null) => "NoneType",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(number)) if number.is_f64() => "float",
        Some(Value::Number(_)) => "int",
        _ => return Ok(()),
    };
    Err(ApiError::bad_request(None, format!("'{kind}' object is not iterable")))
}

/// Reads `messages` and reports what is wrong with them.
pub(crate) fn read(fields: &mut Fields<'_>) -> Vec<Message> {
    let Some(value) = fields.given("messages") else {
        fields.missing("messages");
        return Vec::new();
    };
    let Value::Array(list) = value else {
        fields.report("list_type", "messages", "Input should be a valid list", value);
        return Vec::new();
    };
    list.iter().enumerate().filter_map(|(place, entry)| message(fields, place, entry)).collect()
}

/// Whether any message carries an image, sound or video.
pub(crate) fn has_media(body: &Body) -> bool {
    let messages = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    let parts = messages.filter_map(|message| message.get("content")?.as_array()).flatten();
    parts.filter_map(|part| part.get("type")?.as_str()).any(is_media)
}

fn is_media(kind: &str) -> bool {
    ["image", "input_audio", "audio", "video"].iter().any(|media| kind.starts_with(media))
}

fn message(fields: &mut Fields<'_>, place: usize, entry: &Value) -> Option<Message> {
    let Value::Object(object) = entry else {
        for kind in KINDS {
            let name = format!("messages.{place}.{kind}");
            fields.report("dict_type", &name, "Input should be a valid dictionary", entry);
        }
        fields.problems.0.push(Problem::not_an_object(&format!("body.messages.{place}.Message"), entry));
        return None;
    };
    let Some(role) = object.get("role").and_then(Value::as_str) else {
        without_role(fields, place, entry);
        return None;
    };
    match content(object.get("content")) {
        Some(content) => Some(Message { role: role.to_owned(), content }),
        None => {
            let name = format!("messages.{place}.{}.content", KINDS[0]);
            let value = object.get("content").unwrap_or(&Value::Null);
            fields.report("string_type", &name, "Input should be a valid string", value);
            None
        }
    }
}

fn without_role(fields: &mut Fields<'_>, place: usize, entry: &Value) {
    for kind in KINDS {
        let at = format!("body.messages.{place}.{kind}");
        if kind.contains("Function") {
            fields.problems.0.push(Problem::missing(&format!("{at}.name"), entry));
        }
        fields.problems.0.push(Problem::missing(&format!("{at}.role"), entry));
        if kind.contains("ToolMessage") {
            fields.problems.0.push(Problem::missing(&format!("{at}.tool_call_id"), entry));
        }
    }
    for name in ["author", "content"] {
        fields.problems.0.push(Problem::missing(&format!("body.messages.{place}.Message.{name}"), entry));
    }
}

/// The text of a message: a string, or the text parts of a list.
fn content(value: Option<&Value>) -> Option<String> {
    match value {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(parts)) => {
            let texts: Option<Vec<&str>> = parts.iter().map(part).collect();
            texts.map(|texts| texts.join("\n"))
        }
        Some(_) => None,
    }
}

fn part(part: &Value) -> Option<&str> {
    match part.get("type").and_then(Value::as_str) {
        Some("text") => part.get("text")?.as_str(),
        // Refused later, with words of its own.
        Some(kind) if is_media(kind) => Some(""),
        _ => None,
    }
}
