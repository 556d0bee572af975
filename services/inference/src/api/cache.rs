//! CacheService: what is kept, what that is worth, and what is to go.

use super::{
    Api,
    engines::{actor, checked},
};
use crate::{
    cache::{Chosen, Found, Kept, Key, Total},
    error::Error,
};
use proto::inference::v1::{self as pb, cache_service_server::CacheService};
use shared::{page, time};
use tonic::{Request, Response, Status};

/// Answers of a list when nothing is said, and at most.
const PAGE: (u32, u32) = (100, 1_000);
/// Longest pattern, in bytes.
const PATTERN: usize = 200;

#[tonic::async_trait]
impl CacheService for Api {
    async fn get_cache_statistics(
        &self,
        request: Request<pb::GetCacheStatisticsRequest>,
    ) -> Result<Response<pb::GetCacheStatisticsResponse>, Status> {
        let only = request.into_inner().model;
        let cache = &self.inference.cache;
        let counted = cache.statistics().read().into_iter();
        let counted = counted.filter(|(model, _)| only.is_empty() || **model == *only);
        let models = counted.map(|(model, total)| row(&model, &total, cache.price(&model, &total)));
        let (answers, bytes) = cache.size();
        Ok(Response::new(pb::GetCacheStatisticsResponse { models: models.collect(), answers, bytes }))
    }

    async fn list_cached(
        &self,
        request: Request<pb::ListCachedRequest>,
    ) -> Result<Response<pb::ListCachedResponse>, Status> {
        let pb::ListCachedRequest { key, model, endpoint, tag, page_size } = request.into_inner();
        let invalid = Error::Invalid { param: "page_size", problem: "must be between 0 and 1,000" };
        let most = page::size(page_size, PAGE.0, PAGE.1).map_err(|_| invalid)?;
        let chosen = chosen(&key, [model, endpoint, tag], false)?;
        let listed = self.inference.cache.list(&chosen, most as usize);
        let answers = listed.into_iter().map(|(key, kept)| answer(key, &kept));
        Ok(Response::new(pb::ListCachedResponse { answers: answers.collect() }))
    }

    async fn invalidate_cached(
        &self,
        request: Request<pb::InvalidateCachedRequest>,
    ) -> Result<Response<pb::InvalidateCachedResponse>, Status> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let reason = checked(asked.reason)?;
        let chosen = chosen(&asked.key, [asked.model, asked.endpoint, asked.tag], asked.cascade)?;
        if chosen == (Chosen { cascade: chosen.cascade, ..Chosen::default() }) {
            let problem = "or `model`, `endpoint` or `tag` must say what is to go; `model: *` is everything";
            return Err(Error::Invalid { param: "key", problem }.into());
        }
        let cache = &self.inference.cache;
        if asked.validate_only {
            let answers = cache.list(&chosen, usize::MAX).len() as u64;
            return Ok(Response::new(pb::InvalidateCachedResponse { answers }));
        }
        let answers = cache.drop_those(&chosen);
        tracing::info!(actor, reason, answers, ?chosen, "answers were dropped");
        Ok(Response::new(pb::InvalidateCachedResponse { answers }))
    }
}

fn chosen(key: &str, [model, endpoint, tag]: [String; 3], cascade: bool) -> Result<Chosen, Error> {
    let invalid = Error::Invalid { param: "key", problem: "must have 64 hexadecimal digits" };
    let key = (!key.is_empty()).then(|| key.parse::<Key>().map_err(|_| invalid)).transpose()?;
    for (param, pattern) in [("model", &model), ("endpoint", &endpoint), ("tag", &tag)] {
        if pattern.len() > PATTERN {
            return Err(Error::Invalid { param, problem: "must have at most 200 characters" });
        }
    }
    Ok(Chosen { key, model, endpoint, tag, cascade })
}

fn row(model: &str, total: &Total, saved_micro_dollars: u64) -> pb::ModelCache {
    let found = |found: Found| total.found[found as usize];
    let requests = total.asked();
    pb::ModelCache {
        model: model.to_owned(),
        requests,
        from_memory: found(Found::Memory),
        from_redis: found(Found::Redis),
        from_flights: found(Found::Flight),
        repeated: found(Found::Repeated),
        missed: found(Found::Missed),
        hit_rate: if requests == 0 { 0.0 } else { total.hits() as f64 / requests as f64 },
        saved_prompt_tokens: total.prompt_tokens,
        saved_completion_tokens: total.completion_tokens,
        saved_time: Some(time::duration_to_proto(total.time)),
        saved_micro_dollars,
    }
}

fn answer(key: Key, kept: &Kept) -> pb::CachedAnswer {
    let life = i64::try_from(kept.ttl.as_micros()).unwrap_or(i64::MAX);
    pb::CachedAnswer {
        key: key.to_string(),
        model: kept.of.model.to_string(),
        endpoint: kept.of.endpoint.to_owned(),
        tags: kept.of.tags.iter().map(ToString::to_string).collect(),
        stream: kept.usage_event.is_some(),
        bytes: u32::try_from(kept.bytes.len()).unwrap_or(u32::MAX),
        uses: kept.uses(),
        create_time: Some(time::to_proto(kept.made)),
        expire_time: Some(time::to_proto(policy::Time(kept.made.0.saturating_add(life)))),
        prompt_tokens: kept.usage.prompt,
        completion_tokens: kept.usage.completion,
    }
}
