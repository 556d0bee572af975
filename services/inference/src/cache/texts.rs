//! Vectors are kept text by text: of many texts in one call, those go to an engine that are not known.
//!
//! Engines say how many tokens the texts of a call were together. Of one text alone that is exact; of several, each is
//! held to have as many as its part of the bytes, so that those of a call add up to what was said.

use super::{
    canonical,
    kept::Kept,
    key::{Key, Parts},
};
use crate::{
    prompt::Prompt,
    vectors::{Answer, Around},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use std::{ops::Range, sync::Arc};

/// The texts of a call, where they stand in its body.
#[derive(Debug, Clone)]
pub struct Texts {
    texts: Vec<(Key, Range<usize>)>,
    /// Where all of them stand.
    input: Range<usize>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
}

/// Vectors that an engine made, each with its tokens, and what it said around them.
#[derive(Debug)]
pub struct Made {
    /// In the order in which they were asked for.
    pub vectors: Vec<(Key, Bytes, u64)>,
    id: Option<Box<RawValue>>,
    created: Option<Box<RawValue>>,
}

impl Texts {
    /// The texts of a body. `rest` is the hash of everything else that decides what their vectors are.
    pub(super) fn read(prompt: &Prompt, rest: &Parts) -> Option<Self> {
        let body = &prompt.body;
        let input = serde_json::from_slice::<Body<'_>>(body).ok()?.input;
        let stands = |raw: &RawValue| {
            let start = raw.get().as_ptr() as usize - body.as_ptr() as usize;
            start..start + raw.get().len()
        };
        let list = input.get().starts_with('[');
        let mut texts = if list { serde_json::from_str(input.get()).ok()? } else { vec![input] };
        // A list of numbers is one text.
        if texts.iter().all(|text: &&RawValue| text.get().starts_with(|first: char| first.is_ascii_digit())) {
            texts = vec![input];
        }
        let mut scratch = Vec::new();
        let keyed = texts.into_iter().map(|text| {
            scratch.clear();
            canonical::value(text.get().as_bytes(), &mut scratch).ok()?;
            Some((rest.clone().key(&scratch), stands(text)))
        });
        Some(Self { texts: keyed.collect::<Option<_>>()?, input: stands(input) })
    }

    /// What each text's vector is kept under.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.texts.iter().map(|(key, _)| *key)
    }

    /// Each text as it stands in the body, and what its vector is kept under.
    #[must_use]
    pub fn pieces(&self, body: &Bytes) -> Vec<(Key, Bytes)> {
        self.texts.iter().map(|(key, stands)| (*key, body.slice(stands.clone()))).collect()
    }

    /// The places of the texts that are not known.
    #[must_use]
    pub fn unknown(&self, known: &[Option<Arc<Kept>>]) -> Vec<usize> {
        let places = self.texts.iter().zip(known).enumerate();
        places.filter(|(_, (_, known))| known.is_none()).map(|(place, _)| place).collect()
    }

    /// The body that asks for some of them only, and the bytes of its texts.
    #[must_use]
    pub fn body(&self, body: &Bytes, places: &[usize]) -> (Bytes, usize) {
        if places.len() == self.texts.len() {
            return (body.clone(), self.input.len());
        }
        let mut less = Vec::with_capacity(body.len());
        less.extend_from_slice(&body[..self.input.start]);
        let start = less.len();
        less.push(b'[');
        for (number, place) in places.iter().enumerate() {
            if number > 0 {
                less.push(b',');
            }
            less.extend_from_slice(&body[self.texts[*place].1.clone()]);
        }
        less.push(b']');
        let bytes = less.len() - start;
        less.extend_from_slice(&body[self.input.end..]);
        (less.into(), bytes)
    }

    /// The vectors of an answer to a call for some of the texts; `None` when it is not understood.
    #[must_use]
    pub fn made(&self, json: &[u8], places: &[usize]) -> Option<Made> {
        let answer = Answer::read(json, places.len())?;
        let sizes: Vec<u64> = places.iter().map(|place| self.texts[*place].1.len() as u64).collect();
        let tokens = apportioned(answer.tokens(), &sizes);
        let vectors = answer.vectors().zip(places).zip(tokens).map(|((vector, place), tokens)| {
            (self.texts[*place].0, Bytes::copy_from_slice(vector.get().as_bytes()), tokens)
        });
        Some(Made {
            vectors: vectors.collect(),
            id: answer.id.map(ToOwned::to_owned),
            created: answer.created.map(ToOwned::to_owned),
        })
    }
}

/// So many tokens to texts of these sizes: each its part of the whole, and none lost.
fn apportioned(tokens: u64, sizes: &[u64]) -> Vec<u64> {
    let all = u128::from(sizes.iter().sum::<u64>()).max(1);
    let (mut size, mut given) = (0_u128, 0);
    let part = |next: &u64| {
        size += u128::from(*next);
        // Up to here, rounded; the next part begins where this one ended.
        let until = u64::try_from((u128::from(tokens) * size + all / 2) / all).unwrap_or(tokens);
        let part = until - given;
        given = until;
        part
    };
    sizes.iter().map(part).collect()
}

/// The answer to a whole call from the vectors of its texts.
#[must_use]
pub fn together(
    model: &str,
    usage_id: uuid::Uuid,
    vectors: &[(Bytes, u64)],
    made: Option<&Made>,
) -> Option<Bytes> {
    let raw = |bytes: &Bytes| -> Option<Box<RawValue>> { serde_json::from_slice(bytes).ok() };
    let vectors_raw: Vec<Box<RawValue>> =
        vectors.iter().map(|(bytes, _)| raw(bytes)).collect::<Option<_>>()?;
    let id = made.and_then(|made| made.id.clone());
    let id = id.or_else(|| to_raw_value(&format!("embd-{}", usage_id.simple())).ok())?;
    let created = made.and_then(|made| made.created.clone());
    let created = created.or_else(|| to_raw_value(&(shared::time::now().0 / 1_000_000)).ok())?;
    let tokens = vectors.iter().map(|(_, tokens)| tokens).sum();
    let around = Around { id: &id, created: Some(&*created), model: Some(model), tokens };
    around.write(vectors_raw.iter().map(|vector| &**vector))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Endpoint;
    use proptest::prelude::*;
    use serde_json::json;

    fn texts(input: &serde_json::Value) -> (Prompt, Texts) {
        let body = json!({"model": "m", "input": input, "dimensions": 2}).to_string();
        let prompt = Prompt::read(Endpoint::Embeddings, body.into()).unwrap();
        let texts = Texts::read(&prompt, &Parts::default()).unwrap();
        (prompt, texts)
    }

    fn known() -> Option<Arc<Kept>> {
        Some(Arc::new(Kept::vector(Bytes::from_static(b"[1]"), 1, crate::cache::Origin::none())))
    }

    #[test]
    fn texts_are_told_apart_and_numbers_are_one() {
        for (input, count) in [
            (json!("one"), 1),
            (json!(["one", "two", "one"]), 3),
            (json!([1, 2, 3]), 1),
            (json!([[1, 2], [3]]), 2),
        ] {
            assert_eq!(texts(&input).1.keys().count(), count, "{input}");
        }
        let key = |input| texts(&input).1.keys().next().unwrap();
        assert_eq!(key(json!("one")), key(json!(["one"])));
        assert_ne!(key(json!("1")), key(json!([1])));
        assert_ne!(key(json!([[1, 2]])), key(json!([[12]])));
    }

    #[test]
    fn only_what_is_not_known_is_asked_for() {
        let (prompt, texts) = texts(&json!(["a", "b", "c", "d"]));
        let unknown = texts.unknown(&[known(), None, known(), None]);
        assert_eq!(unknown, [1, 3]);
        let (body, _) = texts.body(&prompt.body, &unknown);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({"model": "m", "input": ["b", "d"], "dimensions": 2}));
        let answer = json!({"id": "e", "created": 1, "usage": {"prompt_tokens": 7},
            "data": [{"index": 1, "embedding": [0.25]}, {"index": 0, "embedding": "AA=="}]});
        let made = texts.made(answer.to_string().as_bytes(), &unknown).unwrap();
        let vectors: Vec<&[u8]> = made.vectors.iter().map(|(_, bytes, _)| &bytes[..]).collect();
        assert_eq!(vectors, [&b"\"AA==\""[..], b"[0.25]"]);
        assert!(texts.made(answer.to_string().as_bytes(), &[1]).is_none(), "another number of vectors");
    }

    proptest! {
        #[test]
        fn no_token_is_lost_and_equal_texts_differ_by_one_at_most(
            tokens in 0_u64..1_000_000,
            sizes in prop::collection::vec(0_u64..10_000, 1..200),
        ) {
            let parts = apportioned(tokens, &sizes);
            let none = sizes.iter().all(|size| *size == 0);
            prop_assert_eq!(parts.iter().sum::<u64>(), if none { 0 } else { tokens });
            for (one, part) in sizes.iter().zip(&parts) {
                for (other, others) in sizes.iter().zip(&parts) {
                    prop_assert!(one != other || part.abs_diff(*others) <= 1);
                }
            }
        }
    }
}
