//! The body of a prompt whose answer may be continued: which ones those are, and how the rest is asked for.

use super::transcript::Said;
use crate::prompt::{Endpoint, Prompt};
use bytes::Bytes;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use std::collections::BTreeMap;

/// Fields that greedy decoding does not look at, or that mean the same in the middle of an answer as at its beginning.
/// A body with any other is not continued: grammars, penalties, probabilities and tools know of tokens, not of text, and
/// with stop words an engine has made more than it says.
const HARMLESS: &[&str] = &[
    "frequency_penalty",
    "ignore_eos",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "min_p",
    "model",
    "n",
    "presence_penalty",
    "priority",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop_token_ids",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "top_k",
    "top_p",
    "user",
];
/// Of these fields the values that change nothing.
const NEUTRAL: &[(&str, &[&str])] = &[
    ("frequency_penalty", &["0", "0.0", "null"]),
    ("logprobs", &["false", "null"]),
    ("n", &["1", "null"]),
    ("presence_penalty", &["0", "0.0", "null"]),
];
/// How an engine is asked for the number of tokens with every chunk.
const COUNTED: &str = r#"{"include_usage":true,"continuous_usage_stats":true}"#;

type Fields = BTreeMap<String, Box<RawValue>>;

/// A body taken apart; each value is as its caller wrote it.
#[derive(Debug)]
pub(super) struct Body {
    fields: Fields,
    messages: Vec<Box<RawValue>>,
}

impl Body {
    /// `None` when the answer to it could not be continued exactly.
    pub(super) fn read(prompt: &Prompt) -> Option<Self> {
        if !prompt.stream || prompt.endpoint != Endpoint::Chat {
            return None;
        }
        let mut fields: Fields = serde_json::from_slice(&prompt.body).ok()?;
        let is =
            |name: &str, values: &[&str]| fields.get(name).is_none_or(|value| values.contains(&value.get()));
        // Without a temperature the engine takes the model's own, which is seldom 0.
        let greedy = fields.get("temperature").is_some_and(|value| value.get().parse() == Ok(0.0));
        let harmless = fields.keys().all(|name| HARMLESS.contains(&name.as_str()));
        let neutral = NEUTRAL.iter().all(|(name, values)| is(name, values));
        let options: BTreeMap<String, Value> = match fields.get("stream_options") {
            Some(options) => serde_json::from_str(options.get()).ok()?,
            None => BTreeMap::new(),
        };
        let plain = options.keys().all(|name| name == "include_usage");
        if !(greedy && harmless && neutral && plain) {
            return None;
        }
        let messages = serde_json::from_str(fields.remove("messages")?.get()).ok()?;
        fields.insert("stream_options".into(), RawValue::from_string(COUNTED.into()).ok()?);
        Some(Self { fields, messages })
    }

    /// From the beginning.
    pub(super) fn whole(&self) -> Bytes {
        self.with(&self.messages, &[])
    }

    /// From behind what was said.
    pub(super) fn after(&self, said: &Said) -> Bytes {
        if said.text.is_empty() {
            return self.whole();
        }
        let mut messages = self.messages.clone();
        messages.extend(to_raw_value(&json!({"role": "assistant", "content": said.text})));
        let left = ["max_tokens", "max_completion_tokens"].into_iter().filter_map(|name| {
            let most: u64 = self.fields.get(name)?.get().parse().ok()?;
            Some((name, json!(most.saturating_sub(said.tokens).max(1))))
        });
        let open = [("continue_final_message", json!(true)), ("add_generation_prompt", json!(false))];
        self.with(&messages, &left.chain(open).collect::<Vec<_>>())
    }

    fn with(&self, messages: &[Box<RawValue>], changed: &[(&str, Value)]) -> Bytes {
        let mut fields: BTreeMap<&str, Box<RawValue>> =
            self.fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let changed = changed.iter().filter_map(|(name, value)| Some((*name, to_raw_value(value).ok()?)));
        fields.extend(changed.chain(to_raw_value(messages).ok().map(|messages| ("messages", messages))));
        // A map of strings to JSON has nothing that could not be written.
        serde_json::to_vec(&fields).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Option<Body> {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}],"stream":true{more}}}"#);
        Body::read(&Prompt::read(Endpoint::Chat, Bytes::from(body)).unwrap())
    }

    #[test]
    fn only_what_greedy_decoding_repeats_is_continued() {
        assert!(read(r#","temperature":0,"n":1,"presence_penalty":0.0"#).is_some());
        assert!(read(r#","temperature":0.0,"stream_options":{"include_usage":true}"#).is_some());
        for more in [
            "",
            r#","temperature":0.1"#,
            r#","temperature":0,"n":2"#,
            r#","temperature":0,"tools":[]"#,
            r#","temperature":0,"logprobs":true"#,
            r#","temperature":0,"frequency_penalty":0.5"#,
            r#","temperature":0,"repetition_penalty":1.1"#,
            r#","temperature":0,"response_format":{"type":"json_object"}"#,
            r#","temperature":0,"structured_outputs":{"regex":"a"}"#,
            r#","temperature":0,"min_tokens":5"#,
            r#","temperature":0,"stop":["x"]"#,
            r#","temperature":0,"stream_options":{"include_usage":true,"continuous_usage_stats":true}"#,
        ] {
            assert!(read(more).is_none(), "{more}");
        }
    }

    #[test]
    fn the_rest_is_asked_for_with_what_is_left_of_the_tokens() {
        let body = read(r#","temperature":0,"max_tokens":10"#).unwrap();
        let whole: Value = serde_json::from_slice(&body.whole()).unwrap();
        assert_eq!(whole["stream_options"]["continuous_usage_stats"], true);
        assert_eq!((&whole["max_tokens"], &whole["temperature"]), (&json!(10), &json!(0)));
        let said = Said { text: "Hello \"you\"".into(), tokens: 4 };
        let rest: Value = serde_json::from_slice(&body.after(&said)).unwrap();
        assert_eq!(rest["messages"][1], json!({"role": "assistant", "content": "Hello \"you\""}));
        assert_eq!(rest["max_tokens"], 6);
        assert_eq!(
            (&rest["continue_final_message"], &rest["add_generation_prompt"]),
            (&json!(true), &json!(false))
        );
    }
}
