//! CacheService: what is kept, what that is worth, and what is to go.

use super::{Api, engines::origin};
use crate::{
    cache::{Chosen, Found, Kept, Key, Total, is_tag},
    error::Error,
    invalidate::{Invalidated, Standing},
};
use proto::inference::v1::{self as pb, cache_service_server::CacheService};
use serde_json::json;
use shared::{
    event::{Change, Origin},
    page, time,
};
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
        let models = counted.map(|(model, total)| row(&model, &total, cache.price(&model, &total))).collect();
        let (answers, bytes) = cache.size();
        let (sequence, standings) = (cache.mark().sequence, self.invalidations.standings().await);
        let gateways = standings.into_iter().map(gateway).collect();
        Ok(Response::new(pb::GetCacheStatisticsResponse { models, answers, bytes, sequence, gateways }))
    }

    async fn list_cached(
        &self,
        request: Request<pb::ListCachedRequest>,
    ) -> Result<Response<pb::ListCachedResponse>, Status> {
        let asked = request.into_inner();
        let invalid = Error::Invalid { param: "page_size", problem: "must be between 0 and 1,000" };
        let most = page::size(asked.page_size, PAGE.0, PAGE.1).map_err(|_| invalid)? as usize;
        let by = By {
            model: asked.model,
            revision: asked.revision,
            endpoint: asked.endpoint,
            template: asked.template,
            tag: asked.tag,
        };
        let (chosen, cache) = (by.chosen(&asked.key, false)?, &self.inference.cache);
        let listed = if asked.by_score { cache.by_score(&chosen, most) } else { cache.list(&chosen, most) };
        let now = time::now();
        let answers = listed.into_iter().map(|(key, kept)| answer(key, &kept, now));
        Ok(Response::new(pb::ListCachedResponse { answers: answers.collect() }))
    }

    async fn invalidate_cached(
        &self,
        request: Request<pb::InvalidateCachedRequest>,
    ) -> Result<Response<pb::InvalidateCachedResponse>, Status> {
        let origin = origin(&request, |asked| &asked.reason)?;
        let asked = request.into_inner();
        let by = By {
            model: asked.model,
            revision: asked.revision,
            endpoint: asked.endpoint,
            template: asked.template,
            tag: asked.tag,
        };
        let chosen = by.chosen(&asked.key, asked.cascade)?;
        if chosen.is_all() {
            let problem = "or `model`, `endpoint`, `tag`, `template` or `revision` must say what is to go; \
                           `model: *` is everything";
            return Err(Error::Invalid { param: "key", problem }.into());
        }
        let done = match asked.validate_only {
            true => self.invalidations.preview(chosen).await?,
            false => self.invalidations.invalidate(chosen, &origin).await?,
        };
        let Invalidated { answers, sequence, chosen } = done;
        if !asked.validate_only {
            let Origin { actor, reason, .. } = &origin;
            tracing::info!(actor, reason, answers, sequence, ?chosen, "answers were dropped");
        }
        let dependent_tags = chosen.dependents;
        Ok(Response::new(pb::InvalidateCachedResponse { answers, sequence, dependent_tags }))
    }

    async fn warm_cache(
        &self,
        request: Request<pb::WarmCacheRequest>,
    ) -> Result<Response<pb::WarmCacheResponse>, Status> {
        let origin = origin(&request, |asked| &asked.reason)?;
        let asked = request.into_inner();
        let invalid = Error::Invalid { param: "limit", problem: "must be between 0 and 1,000" };
        let most = page::size(asked.limit, PAGE.0, PAGE.1).map_err(|_| invalid)?;
        let most = (asked.limit != 0).then_some(most);
        let by = By {
            model: asked.model,
            revision: asked.revision,
            endpoint: asked.endpoint,
            template: asked.template,
            tag: asked.tag,
        };
        let chosen = by.chosen(&asked.key, false)?;
        let answers = self.warming.now(&chosen, most, asked.validate_only).await?;
        if !asked.validate_only {
            let change =
                Change::created("cache_warming", "", json!({ "answers": answers, "chosen": chosen }));
            self.events.note(&origin, change).await;
        }
        Ok(Response::new(pb::WarmCacheResponse { answers }))
    }

    async fn set_cache_dependencies(
        &self,
        request: Request<pb::SetCacheDependenciesRequest>,
    ) -> Result<Response<pb::SetCacheDependenciesResponse>, Status> {
        let origin = origin(&request, |asked| &asked.reason)?;
        let pb::SetCacheDependenciesRequest { tag, depends_on, validate_only, .. } = request.into_inner();
        for (param, tags) in [("tag", std::slice::from_ref(&tag)), ("depends_on", &depends_on)] {
            if !tags.iter().all(|tag| is_tag(tag)) {
                return Err(Error::Invalid { param, problem: "must have 1 to 64 characters" }.into());
            }
        }
        self.invalidations.depend(&tag, &depends_on, &origin, validate_only).await?;
        if !validate_only {
            let Origin { actor, reason, .. } = &origin;
            tracing::info!(actor, reason, tag, ?depends_on, "what a tag depends on was set");
        }
        Ok(Response::new(pb::SetCacheDependenciesResponse {}))
    }

    async fn list_cache_dependencies(
        &self,
        request: Request<pb::ListCacheDependenciesRequest>,
    ) -> Result<Response<pb::ListCacheDependenciesResponse>, Status> {
        let listed = self.invalidations.dependencies(&request.into_inner().tag).await?.into_iter();
        let dependencies = listed.map(|(tag, depends_on)| pb::CacheDependency { tag, depends_on }).collect();
        Ok(Response::new(pb::ListCacheDependenciesResponse { dependencies }))
    }
}

/// What answers are chosen by, beside their keys.
struct By {
    model: String,
    revision: String,
    endpoint: String,
    template: String,
    tag: String,
}

impl By {
    fn chosen(self, key: &str, cascade: bool) -> Result<Chosen, Error> {
        let Self { model, revision, endpoint, template, tag } = self;
        let invalid = Error::Invalid { param: "key", problem: "must have 64 hexadecimal digits" };
        let key = (!key.is_empty()).then(|| key.parse::<Key>().map_err(|_| invalid)).transpose()?;
        for (param, pattern) in [
            ("model", &model),
            ("revision", &revision),
            ("endpoint", &endpoint),
            ("template", &template),
            ("tag", &tag),
        ] {
            if pattern.len() > PATTERN {
                return Err(Error::Invalid { param, problem: "must have at most 200 characters" });
            }
        }
        Ok(Chosen { key, model, revision, endpoint, template, tag, cascade, dependents: Vec::new() })
    }
}

fn gateway(Standing { gateway, sequence, seen }: Standing) -> pb::CacheGateway {
    pb::CacheGateway { gateway, sequence, seen_time: Some(time::to_proto(seen)) }
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

fn answer(key: Key, kept: &Kept, now: policy::Time) -> pb::CachedAnswer {
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
        template: kept.of.template.to_string(),
        revision: kept.of.revision.to_string(),
        score: kept.score(now),
    }
}
