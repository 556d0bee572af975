//! Vectors of many texts: those that are known are not made again.

use super::{Inference, Inferred};
use crate::{
    admit::Admitted,
    cache::{Cached, Found, Hit, Kept, Plan, Texts, together},
    dispatch::Answer,
    error::Error,
    goodput::Used,
    sse::Usage,
};
use bytes::Bytes;
use shared::time;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

impl Inference {
    /// The answer to a call whose vectors are all known.
    pub(super) fn known(
        &self,
        admitted: &Admitted,
        vectors: &[Option<Arc<Kept>>],
        request_id: &str,
    ) -> Option<Result<Inferred, Error>> {
        let vectors: Vec<&Arc<Kept>> = vectors.iter().map(Option::as_ref).collect::<Option<_>>()?;
        let usage_id = Uuid::now_v7();
        let told: Vec<(Bytes, u64)> =
            vectors.iter().map(|one| (one.bytes.clone(), one.usage.prompt)).collect();
        let json = together(admitted.prompt.served(), usage_id, &told, None)?;
        let saved = Usage { prompt: told.iter().map(|(_, tokens)| tokens).sum(), ..Usage::default() };
        let hit = Hit::open(&self.ledger.journal, admitted, usage_id, request_id).whole(saved);
        let now = time::now();
        let oldest = vectors.iter().map(|one| one.age(now)).max().unwrap_or_default();
        vectors.iter().for_each(|one| one.used());
        self.cache.statistics().count(admitted.prompt.served(), Found::Memory);
        self.cache.statistics().saved(admitted.prompt.served(), saved, Duration::ZERO);
        let (cached, answer) = (Cached::Hit(oldest), Answer::Whole(json, Used::default()));
        Some(hit.map(|()| Inferred { usage_id, instead: None, cached, elsewhere: Duration::ZERO, answer }))
    }

    /// Has the vectors made that are not known, and puts all of them together.
    pub(super) async fn embed(
        &self,
        admitted: &Admitted,
        plan: &Plan,
        texts: &Texts,
        request_id: &str,
    ) -> Result<Inferred, Error> {
        let wish = &admitted.prompt.wish;
        let mut known = self.cache.vectors(texts, wish);
        self.cache.second_vectors(plan, texts, wish, &mut known).await;
        if let Some(answer) = self.known(admitted, &known, request_id) {
            return answer;
        }
        let model = admitted.prompt.served();
        self.cache.statistics().count(model, Found::Missed);
        let unknown = texts.unknown(&known);
        let saved = known.iter().flatten().map(|one| one.usage.prompt).sum();
        let mut part = admitted.clone();
        (part.prompt.body, part.prompt.input_bytes) = texts.body(&admitted.prompt.body, &unknown);
        part.prompt.saved = saved;
        let answer = self.fresh(&part, request_id, None).await?;
        let whole = unknown.len() == known.len();
        let Inferred { usage_id, instead, elsewhere, answer: Answer::Whole(json, used), .. } = answer else {
            return Err(Error::EngineFailed { cause: "its answer was of the wrong kind" });
        };
        if instead.is_some() && !whole {
            // Vectors of two models say nothing beside each other.
            return self.fresh(admitted, request_id, None).await;
        }
        let cached = Cached::Miss;
        let as_it_came = |json| Inferred {
            usage_id,
            instead: instead.clone(),
            cached,
            elsewhere,
            answer: Answer::Whole(json, used),
        };
        let made = texts.made(&json, &unknown).filter(|_| instead.is_none());
        let Some(made) = made else {
            let not_understood = Error::EngineFailed { cause: "its answer was not understood" };
            return if whole { Ok(as_it_came(json)) } else { Err(not_understood) };
        };
        self.cache.keep(plan, &made);
        self.cache.statistics().saved(model, Usage { prompt: saved, ..Usage::default() }, Duration::ZERO);
        if whole {
            return Ok(as_it_came(json));
        }
        let mut new = made.vectors.iter();
        let all = known.iter().map(|known| match known {
            Some(known) => Some((known.bytes.clone(), known.usage.prompt)),
            None => new.next().map(|(_, bytes, tokens)| (bytes.clone(), *tokens)),
        });
        let all: Option<Vec<(Bytes, u64)>> = all.collect();
        let json = all.and_then(|all| together(model, usage_id, &all, Some(&made)));
        json.map(as_it_came).ok_or(Error::EngineFailed { cause: "its answer was not understood" })
    }
}
