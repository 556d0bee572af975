//! The request body, read once and kept as it came.
//!
//! No tree is built: one pass finds the few fields that decide something and where they stand, so that everything
//! else, known or not, reaches the engine byte for byte.

mod body;

use crate::{
    cache::Wish,
    error::Error,
    lock::{self, LockName},
    queue::Class,
};
use body::{MAX_DEPTH, ask_for_usage, position, replaced, too_deep, with_field, without_field};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

/// A route of the engines' HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/embeddings`
    Embeddings,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Completions, Self::Embeddings];

    /// The path on an engine.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// The name in the usage ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        }
    }

    /// `gen_ai.operation.name` of the OpenTelemetry conventions.
    #[must_use]
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
        }
    }

    /// The field that holds what to work on.
    const fn input(self) -> &'static str {
        match self {
            Self::Chat => "messages",
            Self::Completions => "prompt",
            Self::Embeddings => "input",
        }
    }
}

impl std::str::FromStr for Endpoint {
    type Err = ();

    fn from_str(path: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path).ok_or(())
    }
}

/// Whether the same request again would be answered the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// One answer at temperature 0 or with a seed, or vectors.
    Exactly,
    /// Another answer may be as good, if the caller says so.
    Otherwise,
    /// It wants more in its stream than is kept.
    Never,
}

/// A request that is well-formed enough to be decided upon.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// The model as the caller names it.
    pub model: String,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// Whether the caller wants the usage at the end of the stream.
    pub wants_usage: bool,
    /// Most tokens that may be made, per choice; `None` leaves it to the engine.
    pub max_tokens: Option<u64>,
    /// How many continuations are asked for.
    pub choices: u64,
    /// Length of the input in bytes, from which its tokens are guessed.
    pub input_bytes: usize,
    /// Hashes of the beginnings of the input, block by block: equal ones are equal beginnings.
    pub prefix: Arc<[u64]>,
    /// A hash of all of the input: who asks the same again comes back.
    pub asks: u64,
    /// How urgent it is.
    pub class: Class,
    /// Whether the same again would be answered the same.
    pub repeats: Repeats,
    /// What its caller wants of the cache.
    pub wish: Wish,
    /// Tokens of texts whose vectors are known already, and which are not in the body any more.
    pub saved: u64,
    /// What its caller calls it, so that it is done once however often it is sent.
    pub idempotency_key: Option<Arc<str>>,
    /// What the engine gets.
    pub body: Bytes,
    /// The lock that its body names.
    pub lock: Option<LockName>,
    /// The model as engines name it, when that is another name.
    served: Option<String>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    n: Option<&'a RawValue>,
    #[serde(borrow, default)]
    best_of: Option<&'a RawValue>,
    #[serde(borrow, default)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow, default)]
    seed: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tollgate: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tollgate_lock: Option<&'a RawValue>,
}

/// Where the name of a lock stands, which is not for engines to read.
#[derive(Deserialize)]
struct Guarded<'a> {
    #[serde(borrow)]
    tollgate_lock: &'a RawValue,
}

/// Where the model stands, read once more where it has to be replaced.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
}

/// Where an engine's own priority stands, which is not for callers to say.
#[derive(Deserialize)]
struct Ranked<'a> {
    #[serde(borrow, default)]
    priority: Option<&'a RawValue>,
}

/// The header, or metadata, that says how urgent a request is.
pub const PRIORITY: &str = "x-tollgate-priority";
/// The header, or metadata, by which a request that is sent again is known.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

impl Prompt {
    /// The same with the priority that its caller gave it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when that is none.
    pub fn with_priority(self, said: Option<&[u8]>) -> Result<Self, Error> {
        let Some(said) = said else { return Ok(self) };
        let class = std::str::from_utf8(said).ok().and_then(Class::from_word);
        // What the installation does for itself comes before everybody; nobody else says so.
        let class = class.filter(|class| *class != Class::System);
        let invalid = Error::Invalid { param: PRIORITY, problem: "must be interactive, default or batch" };
        class.map(|class| Self { class, ..self }).ok_or(invalid)
    }

    /// The same with what the headers say about the cache: `cache-control` and our own.
    ///
    /// # Errors
    /// [`Error::Invalid`] when our own is not understood.
    pub fn with_wishes(self, standard: Option<&[u8]>, own: Option<&[u8]>) -> Result<Self, Error> {
        if standard.is_none() && own.is_none() {
            return Ok(self);
        }
        let wish = self.wish.and_headers(standard, own)?;
        Ok(Self { wish, ..self })
    }

    /// The same with the name that makes it one request however often it is sent.
    ///
    /// # Errors
    /// [`Error::Invalid`] when that is none.
    pub fn with_idempotency_key(self, said: Option<&[u8]>) -> Result<Self, Error> {
        let Some(said) = said else { return Ok(self) };
        let key = std::str::from_utf8(said).ok().filter(|key| (1..=255).contains(&key.len()));
        let invalid = Error::Invalid { param: IDEMPOTENCY_KEY, problem: "must have 1 to 255 characters" };
        Ok(Self { idempotency_key: Some(key.ok_or(invalid)?.into()), ..self })
    }

    /// The model as engines name it.
    #[must_use]
    pub fn served(&self) -> &str {
        self.served.as_deref().unwrap_or(&self.model)
    }

    /// The same for a caller who used a further name of the model: engines know only its own.
    #[must_use]
    pub fn served_as(mut self, name: String) -> Self {
        if let Ok(Named { model }) = serde_json::from_slice(&self.body) {
            let own = serde_json::Value::from(name.as_str()).to_string();
            self.body = replaced(&self.body, position(&self.body, model), &own);
        }
        self.served = Some(name);
        self
    }

    /// The same with its class as the engine's `priority`, whatever its caller put there: a lower one goes first, and
    /// requests that come to the engine by other ways have 0.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the field is there twice: engines would believe the other one.
    pub fn telling(mut self) -> Result<Self, Error> {
        let Ranked { priority } =
            serde_json::from_slice(&self.body).map_err(|error| malformed(&self.body, &error))?;
        let rank: i8 = match self.class {
            Class::System => -2,
            Class::Interactive => -1,
            Class::Default => 0,
            Class::Batch => 1,
        };
        let rank = rank.to_string();
        self.body = match priority.map(|raw| position(&self.body, raw)) {
            Some(stands) => replaced(&self.body, stands, &rank),
            None => with_field(&self.body, "priority", &rank),
        };
        Ok(self)
    }

    /// The same for another model, by its own name.
    #[must_use]
    pub fn for_model(self, name: String) -> Self {
        Self { model: name.clone(), served: None, ..self.served_as(name) }
    }

    /// Reads a body. A stream that does not ask for its usage is made to, because the ledger needs it.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the field, as the engine would name it.
    pub fn read(endpoint: Endpoint, body: Bytes) -> Result<Self, Error> {
        if too_deep(&body) {
            return Err(Error::Malformed(format!("the body is nested deeper than {MAX_DEPTH} levels")));
        }
        // Serde would take an array for a struct, field by field.
        if body.trim_ascii_start().first().is_some_and(|&byte| byte != b'{') {
            return Err(Error::Malformed("the body must be a JSON object".into()));
        }
        let head: Head<'_> = serde_json::from_slice(&body).map_err(|error| malformed(&body, &error))?;
        let model = text(head.model)?;
        let stream = field(head.stream, "stream", "must be true or false")?.unwrap_or(false);
        let max_tokens = match endpoint {
            Endpoint::Chat => {
                head.max_completion_tokens.filter(|raw| raw.get() != "null").or(head.max_tokens)
            }
            _ => head.max_tokens,
        };
        let max_tokens = field(max_tokens, "max_tokens", "must be a whole number, 1 or more")?;
        let choices = field(head.n, "n", "must be a whole number, 1 or more")?.unwrap_or(1);
        let lock: Option<Cow<'_, str>> = field(head.tollgate_lock, lock::FIELD, "must be a string")?;
        let lock = LockName::read_optional(lock.as_deref().map(str::as_bytes))?;
        let input = match endpoint {
            Endpoint::Chat => head.messages,
            Endpoint::Completions => head.prompt,
            Endpoint::Embeddings => head.input,
        };
        let input = input
            .filter(|raw| raw.get() != "null")
            .map(RawValue::get)
            .ok_or_else(|| Error::Invalid { param: endpoint.input(), problem: "is required" })?;
        let (input_bytes, (prefix, asks)) = (input.len(), beginnings(input.as_bytes()));
        let options = Options::read(head.stream_options, stream)?;
        let repeats = repeats(endpoint, &head, &options, choices);
        let own = head.tollgate.filter(|raw| raw.get() != "null").map(|raw| Wish::field(raw.get()));
        let wish = own.transpose()?.unwrap_or_default();
        let wants_usage = options.include_usage;
        let (stands, ours) = (head.stream_options, head.tollgate);
        let [stands, ours] = [stands, ours].map(|raw| raw.map(|raw| position(&body, raw)));
        // Whatever stands further back is changed first, so that the other still stands where it was found.
        let ours_first = ours.as_ref().map(|ours| ours.start) > stands.as_ref().map(|stands| stands.start);
        let cut = |body: &Bytes| ours.clone().map(|ours| without_field(body, ours));
        let untold = stream && !wants_usage;
        let ask = |body: &Bytes| untold.then(|| ask_for_usage(body, stands.clone(), &options));
        let first = if ours_first { cut(&body) } else { ask(&body) };
        let changed = first.as_ref().unwrap_or(&body);
        let changed = if ours_first { ask(changed) } else { cut(changed) }.or(first);
        let body = changed.unwrap_or(body);
        let body = if lock.is_some() { without_lock(body) } else { body };
        Ok(Self {
            endpoint,
            model,
            stream,
            wants_usage,
            max_tokens,
            choices,
            input_bytes,
            prefix,
            asks,
            class: Class::Default,
            repeats,
            wish,
            saved: 0,
            idempotency_key: None,
            body,
            lock,
            served: None,
        })
    }
}

/// The same body without the name of a lock in it.
fn without_lock(body: Bytes) -> Bytes {
    match serde_json::from_slice(&body) {
        Ok(Guarded { tollgate_lock }) => replaced(&body, position(&body, tollgate_lock), "null"),
        Err(_) => body,
    }
}

/// Bytes of one block of input: some hundred tokens.
const BLOCK: usize = 512;
/// Blocks that are told apart; what is longer shares the rest.
const BLOCKS: usize = 1_024;

/// The hashes of an input's beginnings, and of all of it as far as it is looked at.
fn beginnings(input: &[u8]) -> (Arc<[u64]>, u64) {
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
fn repeats(endpoint: Endpoint, head: &Head<'_>, options: &Options<'_>, choices: u64) -> Repeats {
    let is = |raw: Option<&RawValue>, good: fn(f64) -> bool| {
        raw.and_then(|raw| raw.get().parse().ok()).is_some_and(good)
    };
    let one = choices == 1 && head.best_of.is_none_or(|raw| matches!(raw.get(), "1" | "null"));
    let exact = is(head.temperature, |temperature| temperature == 0.0) || is(head.seed, |_| true);
    match endpoint {
        _ if options.more => Repeats::Never,
        Endpoint::Chat | Endpoint::Completions if !(one && exact) => Repeats::Otherwise,
        _ => Repeats::Exactly,
    }
}

struct Options<'a> {
    include_usage: bool,
    /// Whether anything else is asked of the stream.
    more: bool,
    others: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Options<'a> {
    fn read(raw: Option<&'a RawValue>, stream: bool) -> Result<Self, Error> {
        let none = Self { include_usage: false, more: false, others: Vec::new() };
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(none) };
        if !stream {
            return Err(Error::Invalid {
                param: "stream_options",
                problem: "can only be given together with `stream: true`",
            });
        }
        let invalid = Error::Invalid { param: "stream_options", problem: "must be an object" };
        let fields: std::collections::BTreeMap<Cow<'a, str>, &'a RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| invalid)?;
        let more = fields.keys().any(|name| name != "include_usage");
        let include_usage = fields.get("include_usage").copied();
        let include_usage =
            field(include_usage, "stream_options.include_usage", "must be true or false")?.unwrap_or(false);
        // On its own the engine ignores `continuous_usage_stats`; beside the usage that we ask for it would not.
        let ours = |name: &str| matches!(name, "include_usage" | "continuous_usage_stats");
        let others = fields.into_iter().filter(|(name, _)| !ours(name)).collect();
        Ok(Self { include_usage, more, others })
    }
}

fn text(raw: Option<&RawValue>) -> Result<String, Error> {
    let missing = Error::Invalid { param: "model", problem: "is required: name the model to use" };
    let raw = raw.filter(|raw| raw.get() != "null").ok_or(missing)?;
    let name: String = serde_json::from_str(raw.get())
        .map_err(|_| Error::Invalid { param: "model", problem: "must be a string" })?;
    if name.is_empty() || name.len() > 200 {
        return Err(Error::Invalid { param: "model", problem: "must have 1 to 200 characters" });
    }
    Ok(name)
}

fn field<'a, T: Deserialize<'a>>(
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

fn malformed(body: &Bytes, error: &serde_json::Error) -> Error {
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

#[cfg(test)]
mod tests;
