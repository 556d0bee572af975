//! The request body, read once and kept as it came.
//!
//! No tree is built: one pass finds the few fields that decide something and where they stand, so that everything
//! else, known or not, reaches the engine byte for byte.

mod body;
mod endpoint;
mod head;
mod options;
mod own;

pub use endpoint::{Dialect, Endpoint};

use crate::{
    cache::Wish,
    error::Error,
    lock::{self, LockName},
    queue::{Class, EngineId},
};
use body::{MAX_DEPTH, ask_for_usage, position, replaced, too_deep, with_field, without_field};
use bytes::Bytes;
use head::{Head, beginnings, field, malformed, repeats, text};
use options::Options;
use own::Own;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, sync::Arc, time::Duration};

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
    /// Whether it is done only as far as others leave time for it.
    pub spare: bool,
    /// Whether the same again would be answered the same.
    pub repeats: Repeats,
    /// What its caller wants of the cache.
    pub wish: Wish,
    /// Tokens of texts whose vectors are known already, and which are not in the body any more.
    pub saved: u64,
    /// What its caller calls it, so that it is done once however often it is sent.
    pub idempotency_key: Option<Arc<str>>,
    /// How long its caller waits for it, where the body says so.
    pub timeout: Option<Duration>,
    /// What the engine gets.
    pub body: Bytes,
    /// The lock that its body names.
    pub lock: Option<LockName>,
    /// The response that it goes on from, which one engine keeps.
    pub previous: Option<Box<str>>,
    /// The one engine that can answer it.
    pub only: Option<EngineId>,
    /// The model as engines name it, when that is another name.
    served: Option<String>,
}

/// Where the name of a response stands, which is not for callers to choose.
#[derive(Deserialize)]
struct Called<'a> {
    #[serde(borrow, default)]
    request_id: Option<&'a RawValue>,
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

/// Where the most tokens to make stand.
#[derive(Deserialize)]
struct Generated<'a> {
    #[serde(borrow)]
    max_tokens: &'a RawValue,
}

/// The same of responses.
#[derive(Deserialize)]
struct Made<'a> {
    #[serde(borrow)]
    max_output_tokens: &'a RawValue,
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

    /// The model as engines name it, when its caller used another name.
    #[must_use]
    pub fn renamed(&self) -> Option<&str> {
        self.served.as_deref()
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

    /// The same, of which no more is made than so many tokens for each choice.
    #[must_use]
    pub fn bounded(mut self, most: u64) -> Self {
        let (name, value) = (self.endpoint.bound(), most.to_string());
        let stands = match name {
            "max_output_tokens" => {
                serde_json::from_slice(&self.body).ok().map(|Made { max_output_tokens }| max_output_tokens)
            }
            _ => serde_json::from_slice(&self.body).ok().map(|Generated { max_tokens }| max_tokens),
        };
        self.body = match stands.map(|raw| position(&self.body, raw)) {
            Some(stands) => replaced(&self.body, stands, &value),
            None => with_field(&self.body, name, &value),
        };
        self.max_tokens = Some(most);
        self
    }

    /// What an engine gets that is to keep the response under this name.
    #[must_use]
    pub fn called(&self, name: &str) -> Bytes {
        let name = serde_json::Value::from(name).to_string();
        let stands = serde_json::from_slice(&self.body).ok().and_then(|Called { request_id }| request_id);
        match stands.map(|raw| position(&self.body, raw)) {
            Some(stands) => replaced(&self.body, stands, &name),
            None => with_field(&self.body, "request_id", &name),
        }
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
        let stream = stream && endpoint.streams().is_some();
        let max_tokens = head.most(endpoint)?;
        let previous = head.previous(endpoint)?;
        let choices = field(head.n, "n", "must be a whole number, 1 or more")?.unwrap_or(1);
        let lock: Option<Cow<'_, str>> = field(head.tollgate_lock, lock::FIELD, "must be a string")?;
        let lock = LockName::read_optional(lock.as_deref().map(str::as_bytes))?;
        let input = head.input(endpoint);
        let input =
            input.ok_or_else(|| Error::Invalid { param: endpoint.input(), problem: "is required" })?;
        let input_bytes = if endpoint.computes() { input.len() } else { 0 };
        let (prefix, asks) = beginnings(input.as_bytes());
        let options = match endpoint.streams() {
            Some(Dialect::Chunks) => Options::read(head.stream_options, stream)?,
            _ => Options::none(),
        };
        let repeats = repeats(endpoint, &head, &options, choices);
        let own = head.tollgate.filter(|raw| raw.get() != "null").map(RawValue::get);
        let wish = own.map(Wish::field).transpose()?.unwrap_or_default();
        let own = own.map(str::to_owned);
        let wants_usage = options.include_usage;
        let (stands, ours) = (head.stream_options, head.tollgate);
        let [stands, ours] = [stands, ours].map(|raw| raw.map(|raw| position(&body, raw)));
        // Whatever stands further back is changed first, so that the other still stands where it was found.
        let ours_first = ours.as_ref().map(|ours| ours.start) > stands.as_ref().map(|stands| stands.start);
        let cut = |body: &Bytes| ours.clone().map(|ours| without_field(body, ours));
        // The others say it unasked.
        let untold = stream && !wants_usage && endpoint.streams() == Some(Dialect::Chunks);
        let ask = |body: &Bytes| untold.then(|| ask_for_usage(body, stands.clone(), &options));
        let first = if ours_first { cut(&body) } else { ask(&body) };
        let changed = first.as_ref().unwrap_or(&body);
        let changed = if ours_first { ask(changed) } else { cut(changed) }.or(first);
        let body = changed.unwrap_or(body);
        let body = if lock.is_some() { without_lock(body) } else { body };
        let prompt = Self {
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
            spare: false,
            repeats,
            wish,
            saved: 0,
            idempotency_key: None,
            timeout: None,
            body,
            lock,
            previous,
            only: None,
            served: None,
        };
        match own {
            Some(own) => Own::read(&own)?.on(prompt),
            None => Ok(prompt),
        }
    }
}

/// The same body without the name of a lock in it.
fn without_lock(body: Bytes) -> Bytes {
    match serde_json::from_slice(&body) {
        Ok(Guarded { tollgate_lock }) => replaced(&body, position(&body, tollgate_lock), "null"),
        Err(_) => body,
    }
}

#[cfg(test)]
mod tests;
