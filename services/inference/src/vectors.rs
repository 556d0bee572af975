//! Answers with vectors, as engines write them: taken apart, and put together anew.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An engine's answer, as far as it is put together anew.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) created: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Vec<Vector<'a>>,
    usage: Usage,
}

#[derive(Debug, Deserialize)]
struct Vector<'a> {
    index: usize,
    #[serde(borrow)]
    embedding: &'a RawValue,
}

#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: u64,
}

impl<'a> Answer<'a> {
    /// The answer to a call for so many vectors; `None` when it is not understood.
    pub(crate) fn read(json: &'a [u8], vectors: usize) -> Option<Self> {
        let mut answer: Self = serde_json::from_slice(json).ok()?;
        answer.data.sort_unstable_by_key(|vector| vector.index);
        let in_order = answer.data.iter().enumerate().all(|(place, vector)| vector.index == place);
        (in_order && answer.data.len() == vectors).then_some(answer)
    }

    /// The vectors, in the order in which they were asked for.
    pub(crate) fn vectors(&self) -> impl Iterator<Item = &'a RawValue> + '_ {
        self.data.iter().map(|vector| vector.embedding)
    }

    /// Tokens of all texts together.
    pub(crate) const fn tokens(&self) -> u64 {
        self.usage.prompt_tokens
    }
}

/// What stands around the vectors of an answer.
#[derive(Debug)]
pub(crate) struct Around<'a, I, M> {
    pub(crate) id: I,
    pub(crate) created: Option<&'a RawValue>,
    pub(crate) model: Option<M>,
    /// Tokens of all texts together.
    pub(crate) tokens: u64,
}

#[derive(Serialize)]
struct Told<'a, I, M> {
    id: I,
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<M>,
    data: Vec<ToldVector<'a>>,
    usage: ToldUsage,
}

#[derive(Serialize)]
struct ToldVector<'a> {
    index: usize,
    object: &'static str,
    embedding: &'a RawValue,
}

#[derive(Serialize)]
struct ToldUsage {
    prompt_tokens: u64,
    total_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<()>,
}

impl<'a, I: Serialize, M: Serialize> Around<'a, I, M> {
    /// The answer with these vectors.
    pub(crate) fn write(self, vectors: impl Iterator<Item = &'a RawValue>) -> Option<Bytes> {
        let Self { id, created, model, tokens } = self;
        let data = vectors.enumerate();
        let data = data.map(|(index, embedding)| ToldVector { index, object: "embedding", embedding });
        let usage = ToldUsage {
            prompt_tokens: tokens,
            total_tokens: tokens,
            completion_tokens: 0,
            prompt_tokens_details: None,
        };
        let told = Told { id, object: "list", created, model, data: data.collect(), usage };
        serde_json::to_vec(&told).ok().map(Bytes::from)
    }
}
