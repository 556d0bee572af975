//! How many tokens a text has, as its engine counts them.
//!
//! An engine says what a call used in all. That is the count of a text that went by itself, or beside others whose counts
//! are known. A list of tokens is as long as it is. Of other texts the engine is asked, while they wait anyway.

use super::Part;
use crate::{
    cache::Key,
    engines::{Engine, Fleet},
};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, StatusCode};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

/// Texts whose counts are remembered: some 10 MB.
const REMEMBERED: u64 = 50_000;
/// Texts of one caller for whose counts an engine is asked; more are not worth it, they fill a call by themselves.
const ASKED: usize = 16;
/// Longest time to wait for a count, and largest answer: it holds every token of the text.
const PATIENCE: Duration = Duration::from_secs(1);
const LARGEST: usize = 4 * 1024 * 1024;

/// The counts that are known.
#[derive(Debug)]
pub(super) struct Counts(Cache<Key, u64>);

impl Default for Counts {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    prompt: &'a RawValue,
}

#[derive(Deserialize)]
struct Answer {
    count: u64,
}

impl Counts {
    fn one(&self, (key, text): &(Key, Bytes)) -> Option<u64> {
        if text.starts_with(b"[") {
            return Some(text.iter().filter(|byte| **byte == b',').count() as u64 + 1);
        }
        self.0.get(key)
    }

    /// The tokens of all texts of a part, when each is known.
    pub(super) fn of(&self, part: &Part) -> Option<u64> {
        part.texts.iter().map(|text| self.one(text)).sum()
    }

    /// A part had so many tokens: that tells those of a text of it, when the others are known.
    pub(super) fn learn(&self, part: &Part, tokens: u64) {
        let (mut rest, mut unknown) = (Some(tokens), None);
        for text in &part.texts {
            match self.one(text) {
                Some(count) => rest = rest.and_then(|rest| rest.checked_sub(count)),
                None if unknown.is_none() => unknown = Some(text.0),
                None => return,
            }
        }
        if let (Some(key), Some(count @ 1..)) = (unknown, rest) {
            self.0.insert(key, count);
        }
    }

    /// They were wrong: another model has come to be called so, perhaps.
    pub(super) fn forget(&self) {
        self.0.invalidate_all();
    }

    /// Whether an engine can be asked for those that are not known: they are texts, and few.
    pub(super) fn may_ask(&self, part: &Part) -> bool {
        let mut unknown = part.texts.iter().filter(|text| self.one(text).is_none());
        part.is_plain && unknown.clone().count() <= ASKED && unknown.all(|(_, text)| text.starts_with(b"\""))
    }

    /// Asks an engine for those that are not known. Returns the tokens of all, unless it does not say.
    pub(super) async fn ask(&self, fleet: &Fleet, engine: &Engine, part: &Part) -> Option<u64> {
        let unknown: Vec<_> = part.texts.iter().filter(|text| self.one(text).is_none()).collect();
        let asked = unknown.iter().map(|(_, text)| count(fleet, engine, &part.model, text));
        let counted = tokio::time::timeout(PATIENCE, join_all(asked)).await.ok()?;
        for ((key, _), count) in unknown.into_iter().zip(counted) {
            self.0.insert(*key, count?);
        }
        self.of(part)
    }
}

async fn count(fleet: &Fleet, engine: &Engine, model: &str, text: &Bytes) -> Option<u64> {
    let prompt: &RawValue = serde_json::from_slice(text).ok()?;
    let body = serde_json::to_vec(&Question { model, prompt }).ok()?;
    let request = engine.request(Method::POST, "/tokenize", body.into());
    let (status, answer) = fleet.whole(request, "/tokenize", LARGEST).await.ok()?;
    let answer: Answer = (status == StatusCode::OK).then(|| serde_json::from_slice(&answer).ok())??;
    Some(answer.count)
}
