//! The few fields of a body that decide something, found in one pass.

use super::{Endpoint, Repeats, options::Options};
use crate::error::Error;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow, default)]
    pub(super) model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) stream: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) stream_options: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) n: Option<&'a RawValue>,
    #[serde(borrow, default)]
    best_of: Option<&'a RawValue>,
    #[serde(borrow, default)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow, default)]
    seed: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) tollgate: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) tollgate_lock: Option<&'a RawValue>,
    #[serde(borrow, default)]
    documents: Option<&'a RawValue>,
    #[serde(borrow, default)]
    items: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text_2: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_2: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    background: Option<&'a RawValue>,
    #[serde(borrow, default)]
    previous_response_id: Option<&'a RawValue>,
    /// Read where it is replaced; here so that it is there once.
    #[serde(borrow, default, rename = "request_id")]
    _request_id: Option<&'a RawValue>,
}

impl<'a> Head<'a> {
    /// What to work on, as it stands in the body.
    pub(super) fn input(&self, endpoint: Endpoint) -> Option<&'a str> {
        let input = match endpoint {
            Endpoint::Chat | Endpoint::Messages | Endpoint::CountTokens => self.messages,
            Endpoint::Completions => self.prompt,
            Endpoint::Embeddings | Endpoint::Responses => self.input,
            Endpoint::Rerank => self.documents,
            Endpoint::Score => self.text_2.or(self.data_2).or(self.documents).or(self.items),
            Endpoint::Tokenize => self.prompt.or(self.messages),
            Endpoint::Detokenize => self.tokens,
        };
        input.map(RawValue::get).filter(|input| *input != "null")
    }

    /// Most tokens that may be made.
    pub(super) fn most(&self, endpoint: Endpoint) -> Result<Option<u64>, Error> {
        const PROBLEM: &str = "must be a whole number, 1 or more";
        let said = |raw: &&RawValue| raw.get() != "null";
        match endpoint {
            Endpoint::Chat => {
                field(self.max_completion_tokens.filter(said).or(self.max_tokens), "max_tokens", PROBLEM)
            }
            Endpoint::Responses => field(self.max_output_tokens, "max_output_tokens", PROBLEM),
            Endpoint::Messages => {
                let missing = Error::Invalid { param: "max_tokens", problem: "is required" };
                field(self.max_tokens, "max_tokens", PROBLEM)?.map(Some).ok_or(missing)
            }
            _ => field(self.max_tokens, "max_tokens", PROBLEM),
        }
    }

    /// The response that it goes on from.
    pub(super) fn previous(&self, endpoint: Endpoint) -> Result<Option<Box<str>>, Error> {
        if endpoint != Endpoint::Responses {
            return Ok(None);
        }
        if field(self.background, "background", "must be true or false")?.unwrap_or(false) {
            // The engine would go on without anybody to count what it makes.
            let problem = "is not offered, because nobody would count its tokens; use /v1/batches or a job";
            return Err(Error::Invalid { param: "background", problem });
        }
        let previous: Option<Cow<'_, str>> =
            field(self.previous_response_id, "previous_response_id", "must be a string")?;
        Ok(previous.map(|id| id.into_owned().into()))
    }
}

/// Bytes of one block of input: some hundred tokens.
const BLOCK: usize = 512;
/// Blocks that are told apart; what is longer shares the rest.
const BLOCKS: usize = 1_024;

/// The hashes of an input's beginnings, and of all of it as far as it is looked at.
pub(super) fn beginnings(input: &[u8]) -> (Arc<[u64]>, u64) {
    let mut hasher = DefaultHasher::new();
    let blocks = input.chunks_exact(BLOCK).take(BLOCKS).map(|block| {
        hasher.write(block);
        hasher.finish()
    });
    let blocks = blocks.collect();
    hasher.write(input.chunks_exact(BLOCK).remainder());
    hasher.write_usize(input.len());
    (blocks, hasher.finish())
}

/// Whether the same would be answered the same.
pub(super) fn repeats(endpoint: Endpoint, head: &Head<'_>, options: &Options<'_>, choices: u64) -> Repeats {
    let is = |raw: Option<&RawValue>, good: fn(f64) -> bool| {
        raw.and_then(|raw| raw.get().parse().ok()).is_some_and(good)
    };
    let one = choices == 1 && head.best_of.is_none_or(|raw| matches!(raw.get(), "1" | "null"));
    let exact = is(head.temperature, |temperature| temperature == 0.0) || is(head.seed, |_| true);
    match endpoint {
        _ if options.more => Repeats::Never,
        Endpoint::Chat | Endpoint::Completions if !(one && exact) => Repeats::Otherwise,
        Endpoint::Chat | Endpoint::Completions => Repeats::Exactly,
        Endpoint::Embeddings | Endpoint::Rerank | Endpoint::Score => Repeats::Exactly,
        // A response has a name and an owner; the others say nothing that would be worth its place, or in an answer
        // that was cut short nothing of it.
        Endpoint::Responses | Endpoint::Messages => Repeats::Never,
        Endpoint::CountTokens | Endpoint::Tokenize | Endpoint::Detokenize => Repeats::Never,
    }
}

pub(super) fn text(raw: Option<&RawValue>) -> Result<String, Error> {
    let missing = Error::Invalid { param: "model", problem: "is required: name the model to use" };
    let raw = raw.filter(|raw| raw.get() != "null").ok_or(missing)?;
    let name: String = serde_json::from_str(raw.get())
        .map_err(|_| Error::Invalid { param: "model", problem: "must be a string" })?;
    if name.is_empty() || name.len() > 200 {
        return Err(Error::Invalid { param: "model", problem: "must have 1 to 200 characters" });
    }
    Ok(name)
}

pub(super) fn field<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    param: &'static str,
    problem: &'static str,
) -> Result<Option<T>, Error> {
    match raw {
        Some(raw) if raw.get() != "null" => {
            serde_json::from_str(raw.get()).map(Some).map_err(|_| Error::Invalid { param, problem })
        }
        _ => Ok(None),
    }
}

pub(super) fn malformed(body: &Bytes, error: &serde_json::Error) -> Error {
    if body.is_empty() {
        return Error::Malformed("the body is empty: send a JSON object".into());
    }
    if let Err(error) = std::str::from_utf8(body) {
        return Error::Malformed(format!("the body is not UTF-8 (byte {})", error.valid_up_to()));
    }
    if error.is_data() {
        return Error::Malformed(format!("the body must be a JSON object with each field once: {error}"));
    }
    Error::Malformed(format!("the body is not valid JSON: {error}"))
}
