//! What one caller brings into a call: their texts, and all else that decides what the vectors are.

use crate::{
    cache::Key,
    prompt::{Endpoint, Prompt},
};
use bytes::Bytes;

/// The texts of one caller, and what they have in common with those of others.
#[derive(Debug)]
pub struct Part {
    /// A hash of everything but the texts.
    pub kind: Key,
    /// The texts, each under a hash of it and of all else.
    pub texts: Vec<(Key, Bytes)>,
    /// Their length.
    pub bytes: usize,
    /// Everything but the model and the texts, in canonical form.
    pub rest: Bytes,
    /// The model as engines name it.
    pub model: String,
    /// Whether nothing is asked for that may change how texts are cut into tokens.
    pub is_plain: bool,
}

impl Part {
    /// The part of a request; `None` when it is none for vectors, or is not understood.
    #[must_use]
    pub fn of(prompt: &Prompt) -> Option<Self> {
        if prompt.endpoint != Endpoint::Embeddings {
            return None;
        }
        let (kind, rest, texts) = Key::of_kind(prompt)?;
        let texts = texts.pieces(&prompt.body);
        let bytes = texts.iter().map(|(_, text)| text.len()).sum();
        let is_plain = Key::is_plain(&rest);
        Some(Self { kind, texts, bytes, rest: rest.into(), model: prompt.served().to_owned(), is_plain })
    }
}
