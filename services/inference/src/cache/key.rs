//! What an answer is kept under: a hash of everything that decides what it is.
//!
//! Engines are told nothing of who asks, so an answer is decided by the model that serves it, which of its weights and
//! prompt templates that is, the route and the body. Who may ask is decided before the cache is looked into. Callers
//! who name tags share answers only with those who name the same ones.

use super::{canonical, texts::Texts};
use crate::{
    admit::Admitted,
    prompt::{Endpoint, Prompt},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use sha2::{Digest, Sha256};

/// A hash of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 32]);

/// Fields that engines do not read, or that only say how the answer is to come, and those whose default is said.
fn decides_nothing(name: &str, value: &[u8]) -> bool {
    match name {
        "model" | "stream" | "stream_options" | "user" | "metadata" | "store" | "safety_identifier"
        | "prompt_cache_key" | "service_tier" | "priority" | "request_id" => true,
        "n" | "best_of" => matches!(value, b"1" | b"null"),
        "presence_penalty" | "frequency_penalty" => matches!(value, b"0" | b"null"),
        "logprobs" | "echo" => matches!(value, b"false" | b"null"),
        _ => value == b"null",
    }
}

/// A hash to which more may come.
#[derive(Clone, Default)]
pub(super) struct Parts(Sha256);

impl Parts {
    fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            // With its length, so that none can look like two.
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part);
        }
        hasher.update([0xff; 8]);
        Self(hasher)
    }

    fn body(mut self, body: &[u8], leave_out: impl Fn(&str, &[u8]) -> bool) -> Option<Self> {
        let mut canonical = Vec::with_capacity(body.len());
        canonical::write(body, &mut canonical, leave_out).ok()?;
        self.0.update(&canonical);
        Some(self)
    }

    /// The key with one part more.
    pub(super) fn key(mut self, part: &[u8]) -> Key {
        self.0.update(part);
        Key(self.0.finalize().into())
    }
}

impl Key {
    /// The key of a request's answer, and its texts when it is vectors that are asked for; `None` when its body is not
    /// understood, which is for the engine to say.
    #[must_use]
    pub fn of(admitted: &Admitted, revision: &str) -> Option<(Self, Option<Texts>)> {
        let prompt = &admitted.prompt;
        let parts = [
            prompt.endpoint.name().as_bytes(),
            &admitted.model.uuid().into_bytes(),
            prompt.served().as_bytes(),
            revision.as_bytes(),
            prompt.wish.template.as_bytes(),
        ];
        let parts = Parts::of(parts.into_iter().chain(prompt.wish.tags.iter().map(|tag| tag.as_bytes())));
        if prompt.endpoint != Endpoint::Embeddings {
            return Some((parts.body(&prompt.body, decides_nothing)?.key(&[]), None));
        }
        let rest = |name: &str, value: &[u8]| name == "input" || decides_nothing(name, value);
        let rest = parts.body(&prompt.body, rest)?;
        let texts = Texts::read(prompt, &rest)?;
        let all: Vec<u8> = texts.keys().flat_map(|key| key.0).collect();
        Some((rest.key(&all), Some(texts)))
    }

    /// What a call for vectors has in common with others that an engine could answer together with it: a hash of it, and
    /// its canonical form without the model; and its texts. An engine's own priority is part of it.
    #[must_use]
    pub fn of_kind(prompt: &Prompt) -> Option<(Self, Vec<u8>, Texts)> {
        let rest = |name: &str, value: &[u8]| {
            name == "input" || (name != "priority" && decides_nothing(name, value)) || value == b"null"
        };
        let mut canonical = Vec::new();
        canonical::write(&prompt.body, &mut canonical, rest).ok()?;
        let parts = Parts::of([prompt.endpoint.name().as_bytes(), prompt.served().as_bytes(), &canonical]);
        let texts = Texts::read(prompt, &parts)?;
        Some((parts.key(&[]), canonical, texts))
    }

    /// Whether such a form asks for nothing that may change how texts are cut into tokens.
    #[must_use]
    pub fn is_plain(canonical: &[u8]) -> bool {
        let mut other = Vec::new();
        let known = |name: &str, _: &[u8]| matches!(name, "dimensions" | "encoding_format" | "priority");
        canonical::write(canonical, &mut other, known).is_ok() && other == b"{}"
    }

    /// What makes a request the one that its `Idempotency-Key` was used for.
    #[must_use]
    pub fn fingerprint(prompt: &Prompt) -> Option<Self> {
        let parts = Parts::of([prompt.endpoint.name().as_bytes(), prompt.served().as_bytes()]);
        let told = |name: &str, _: &[u8]| matches!(name, "model" | "priority");
        Some(parts.body(&prompt.body, told)?.key(&[]))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

impl std::str::FromStr for Key {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key)?;
        Ok(Self(key))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{ModelId, Role, UserId};
    use shared::auth::Person;
    use std::time::Instant;
    use uuid::Uuid;

    fn asked(user: u128, model: u128, body: &str) -> Admitted {
        let user = UserId(Uuid::from_u128(user));
        let person =
            Person { user, key: None, session: None, role: Role::Member, scopes: policy::Scopes::ALL };
        let prompt = Prompt::read(Endpoint::Chat, body.to_owned().into()).unwrap();
        let model = ModelId(Uuid::from_u128(model));
        Admitted { person, model, prompt, group: None, path: Vec::new(), accepted: Instant::now() }
    }

    fn of(admitted: &Admitted, revision: &str) -> Key {
        Key::of(admitted, revision).unwrap().0
    }

    fn key(body: &str) -> Key {
        of(&asked(1, 2, body), "")
    }

    const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0}"#;

    #[test]
    fn what_decides_nothing_is_not_in_the_key() {
        for same in [
            r#"{"temperature":0.0,"messages":[{"content":"hi","role":"user"}],"model":"m"}"#,
            r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}],"temperature":0,"user":"u"}"#,
            r#"{"model":"m","n":1,"stop":null,"messages":[{"role":"user","content":"\u0068i"}],"temperature":0,"metadata":{"a":"b"}}"#,
            r#"{"model":"m","tollgate":{"cache":"max-age=5"},"messages":[{"role":"user","content":"hi"}],"temperature":0}"#,
        ] {
            assert_eq!(key(same), key(PLAIN), "{same}");
        }
        assert_eq!(of(&asked(9, 2, PLAIN), ""), of(&asked(1, 2, PLAIN), ""), "who asks");
    }

    #[test]
    fn what_decides_something_is_in_the_key() {
        for other in [
            r#"{"model":"m","messages":[{"role":"user","content":"ho"}],"temperature":0}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"seed":1}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"max_tokens":1}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"cache_salt":"s"}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"tollgate":{"tags":["t"]}}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"chat_template":"x"}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"tollgate":{"template":"t"}}"#,
            r#"{"model":"n","messages":[{"role":"user","content":"hi"}],"temperature":0}"#,
        ] {
            assert_ne!(key(other), key(PLAIN), "{other}");
        }
        assert_ne!(of(&asked(1, 3, PLAIN), ""), of(&asked(1, 2, PLAIN), ""), "the model");
        assert_ne!(of(&asked(1, 2, PLAIN), "2"), of(&asked(1, 2, PLAIN), ""), "its revision");
    }

    #[test]
    fn an_idempotent_request_is_the_same_with_all_of_its_fields() {
        let of = |body: &str| Key::fingerprint(&asked(1, 2, body).prompt).unwrap();
        let other = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"user":"u"}"#;
        assert_ne!(of(PLAIN), of(other));
        assert_eq!(of(PLAIN), of(&PLAIN.replace(':', " : ")));
        let text = of(PLAIN).to_string();
        assert_eq!((text.len(), text.parse().unwrap()), (64, of(PLAIN)));
    }
}
