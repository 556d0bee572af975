//! The events of a stream, byte for byte as recorded: the order of the fields, which of them are null, and in which
//! event the usage and the fingerprint appear.

mod message;
mod response;

pub(crate) use message::{Speaking, failed};
pub(crate) use response::Responding;

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;

use crate::text::Finish;

/// What `system_fingerprint` says, so that nobody takes an answer for a model's.
pub(crate) const FINGERPRINT: &str = "tollgate-simulator";
/// The last event of every stream, good or bad.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// Whose events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Completion,
}

/// Tokens so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt: u32,
    pub(crate) completion: u32,
}

/// How much of a prompt was in the cache, where the engine was told to say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Reused {
    pub(crate) cached_tokens: u32,
    /// Tokens that are in the cache because of this prompt; only a chat says so.
    pub(crate) created_cache_tokens: Option<u32>,
    /// There are no images or sounds here.
    pub(crate) multimodal_tokens: (),
}

/// One event's share of an answer.
#[derive(Debug, Default)]
pub(crate) struct Piece<'a> {
    pub(crate) index: u32,
    pub(crate) text: &'a str,
    /// Log probabilities, as JSON.
    pub(crate) logprobs: Option<String>,
    pub(crate) finish: Option<&'a Finish>,
    /// The prompt's tokens, in the event that repeats the prompt.
    pub(crate) prompt_tokens: Option<&'a [u32]>,
    pub(crate) usage: Option<Usage>,
    /// Where no usage follows, the last piece of each answer carries the fingerprint.
    pub(crate) fingerprint: bool,
}

/// Writes the events of one stream.
#[derive(Debug)]
pub(crate) struct Events {
    kind: Kind,
    /// What every event begins with.
    head: String,
}

impl Kind {
    pub(crate) fn id_prefix(self) -> &'static str {
        match self {
            Self::Chat => "chatcmpl-",
            Self::Completion => "cmpl-",
        }
    }

    fn object(self) -> &'static str {
        match self {
            Self::Chat => "chat.completion.chunk",
            Self::Completion => "text_completion",
        }
    }
}

impl Events {
    pub(crate) fn new(kind: Kind, id: &str, created: i64, model: &str) -> Self {
        let (id, object, model) = (json(id), kind.object(), json(model));
        let head = format!(
            "data: {{\"id\":{id},\"object\":\"{object}\",\"created\":{created},\"model\":{model},\"choices\":["
        );
        Self { kind, head }
    }

    /// The event that opens an answer of a chat.
    pub(crate) fn role(&self, index: u32, usage: Option<Usage>) -> Bytes {
        let mut event = self.begin();
        let _ = write!(event, "{{\"index\":{index},\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},");
        event.push_str("\"logprobs\":null,\"finish_reason\":null}]");
        self.push_usage(&mut event, usage);
        event.push_str(",\"prompt_token_ids\":null,\"prompt_text\":null}\n\n");
        event.into()
    }

    /// One more token of an answer.
    pub(crate) fn piece(&self, piece: &Piece<'_>) -> Bytes {
        let mut event = self.begin();
        let (index, text) = (piece.index, json(piece.text));
        let logprobs = piece.logprobs.as_deref().unwrap_or("null");
        let finish = piece.finish.map_or("null", finish_reason);
        let stop = piece.finish.map_or_else(|| "null".to_owned(), stop_reason);
        let _ = match self.kind {
            Kind::Chat => {
                let stop =
                    if piece.finish.is_some() { format!("\"stop_reason\":{stop},") } else { String::new() };
                write!(
                    event,
                    "{{\"index\":{index},\"delta\":{{\"content\":{text}}},\"logprobs\":{logprobs},\
                     \"finish_reason\":{finish},{stop}\"token_ids\":null}}]"
                )
            }
            Kind::Completion => {
                let prompt = json(&piece.prompt_tokens);
                write!(
                    event,
                    "{{\"index\":{index},\"text\":{text},\"logprobs\":{logprobs},\"finish_reason\":{finish},\
                     \"stop_reason\":{stop},\"prompt_token_ids\":{prompt},\"token_ids\":null}}]"
                )
            }
        };
        self.push_usage(&mut event, piece.usage);
        self.end(event, piece.fingerprint)
    }

    /// The event that only counts.
    pub(crate) fn usage(&self, usage: Usage, reused: Option<Reused>) -> Bytes {
        let mut event = self.begin();
        event.push(']');
        push_counts(&mut event, usage);
        if let Some(Reused { cached_tokens, created_cache_tokens, .. }) = reused {
            let _ = write!(event, ",\"prompt_tokens_details\":{{\"cached_tokens\":{cached_tokens}");
            if let Some(created) = created_cache_tokens {
                let _ = write!(event, ",\"created_cache_tokens\":{created}");
            }
            event.push('}');
        }
        event.push('}');
        self.end(event, true)
    }

    fn begin(&self) -> String {
        let mut event = String::with_capacity(self.head.len() + 192);
        event.push_str(&self.head);
        event
    }

    fn end(&self, mut event: String, fingerprint: bool) -> Bytes {
        if fingerprint {
            let _ = write!(event, ",\"system_fingerprint\":\"{FINGERPRINT}\"");
        }
        event.push_str("}\n\n");
        event.into()
    }

    fn push_usage(&self, event: &mut String, usage: Option<Usage>) {
        if let Some(usage) = usage {
            push_counts(event, usage);
            event.push_str(if self.kind == Kind::Chat {
                ",\"completion_tokens_details\":null}"
            } else {
                "}"
            });
        }
    }
}

/// The `finish_reason` of an answer that has ended, as JSON.
pub(crate) fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Length => "\"length\"",
        Finish::Stop | Finish::StopString(_) | Finish::StopToken(_) => "\"stop\"",
    }
}

/// The `stop_reason` of an answer that has ended, as JSON.
pub(crate) fn stop_reason(finish: &Finish) -> String {
    match finish {
        Finish::Length | Finish::Stop => "null".to_owned(),
        Finish::StopString(stop) => json(stop),
        Finish::StopToken(id) => id.to_string(),
    }
}

/// Any value as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn push_counts(event: &mut String, Usage { prompt, completion }: Usage) {
    let total = prompt + completion;
    let _ = write!(
        event,
        ",\"usage\":{{\"prompt_tokens\":{prompt},\"total_tokens\":{total},\"completion_tokens\":{completion}"
    );
}
