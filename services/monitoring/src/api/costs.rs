//! `CostService`, call by call.

use super::{
    Api, field,
    prices::{MAX_REASON, user},
    query,
};
use crate::{
    error::{Error, Violation},
    gpus::{
        self, GpuPriceVersion,
        advise::{self, Advised},
        cost::{self, Part, Query, Row, Total},
    },
    usage::{hour_ceil, hour_floor, report::Bucket},
};
use advice::{Advice, Confidence, Kind, Withheld};
use policy::{Time, UserId};
use pricing::{Money, gpu::GpuPrice};
use proto::monitoring::v1 as pb;
use shared::{auth::RequestExt, event::Origin, time};
use std::time::Duration;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// The longest name of a pool, in characters.
const MAX_POOL: usize = 100;
/// Microseconds.
const DAY: i64 = 24 * 3_600_000_000;
/// Days that are looked at at once.
const LONGEST: i64 = 31 * DAY;
/// How long the moves of instances are kept.
const KEPT: i64 = 90 * DAY;

#[tonic::async_trait]
impl pb::cost_service_server::CostService for Api {
    async fn put_gpu_price(
        &self,
        request: Request<pb::PutGpuPriceRequest>,
    ) -> Result<Response<pb::PutGpuPriceResponse>, Status> {
        let by = user(&request.caller()?);
        let origin = Origin::of(&request, &request.get_ref().reason)?;
        let asked = request.into_inner();
        let named = !asked.request_id.is_empty();
        let price = gpus::put(&self.db, version(asked, by, time::now())?, named, &origin).await?;
        Ok(Response::new(pb::PutGpuPriceResponse { price: Some(price.into()) }))
    }

    async fn list_gpu_prices(
        &self,
        request: Request<pb::ListGpuPricesRequest>,
    ) -> Result<Response<pb::ListGpuPricesResponse>, Status> {
        let asked = request.into_inner();
        let size = field::page_size(asked.page_size).map_err(Error::from)?;
        let pool = field::optional_text("pool", asked.pool, MAX_POOL)?;
        let (page, next_page_token) = gpus::list(&self.db, pool.as_deref(), size, &asked.page_token).await?;
        let prices = page.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListGpuPricesResponse { prices, next_page_token }))
    }

    async fn get_gpu_cost(
        &self,
        request: Request<pb::GetGpuCostRequest>,
    ) -> Result<Response<pb::GetGpuCostResponse>, Status> {
        let (asked, now) = (request.into_inner(), time::now());
        let (size, open_ended) = (field::page_size(asked.page_size)?, asked.end_time.is_none());
        let (query, token) = (costs(&asked, now)?, asked.page_token.as_str());
        let told = cost::cost(&self.db, query, open_ended, self.weights, now, (size, token)).await?;
        Ok(Response::new(told.into()))
    }

    async fn get_advice(
        &self,
        request: Request<pb::GetAdviceRequest>,
    ) -> Result<Response<pb::GetAdviceResponse>, Status> {
        let asked = request.into_inner();
        let (start, end) = advised(&asked, time::now())?;
        let told = advise::advise(&self.db, start, end, self.weights).await?;
        Ok(Response::new(answer(told, start, end)))
    }
}

fn version(asked: pb::PutGpuPriceRequest, by: UserId, now: Time) -> Result<GpuPriceVersion, Error> {
    let given = asked.price.ok_or_else(|| Violation::new("price", "is required"))?;
    let amount = |field: &str, text: Option<&String>| {
        let read = |text: &String| {
            let amount = text.parse::<Money>().map_err(|fault| Violation::new(field, fault.to_string()))?;
            if amount.0 < 0 { Err(Violation::new(field, "must not be negative")) } else { Ok(amount) }
        };
        text.map(read).transpose()
    };
    if given.capacity.is_some_and(|capacity| capacity == 0 || i64::try_from(capacity).is_err()) {
        return Err(Violation::new("price.capacity", "must be from 1 to 2^63 - 1").into());
    }
    let id = field::optional_id("request_id", &asked.request_id)?;
    Ok(GpuPriceVersion {
        id: id.unwrap_or_else(Uuid::now_v7),
        pool: field::optional_text("price.pool", given.pool, MAX_POOL)?
            .ok_or_else(|| Violation::new("price.pool", "is required"))?,
        price: GpuPrice {
            hour: amount("price.hour_usd", given.hour_usd.as_ref())?,
            spot_hour: amount("price.spot_hour_usd", given.spot_hour_usd.as_ref())?,
            capacity: given.capacity,
        },
        from: field::optional_instant("price.effective_from", given.effective_from.as_ref())?.unwrap_or(now),
        reason: field::text("reason", asked.reason, MAX_REASON)?,
        by,
        created: now,
    })
}

fn costs(asked: &pb::GetGpuCostRequest, now: Time) -> Result<Query, Error> {
    let end = hour_ceil(field::optional_instant("end_time", asked.end_time.as_ref())?.unwrap_or(now));
    let start = field::optional_instant("start_time", asked.start_time.as_ref())?;
    let start = hour_floor(start.unwrap_or_else(|| Time((end.0 - DAY).max(0))));
    in_reach(start, end, now)?;
    let group_by = query::dimensions(&asked.group_by)?;
    if group_by.model || group_by.endpoint || group_by.engine {
        return Err(Violation::new("group_by", "may be USER, KEY, GROUP and SERVED_MODEL").into());
    }
    let bucket = query::bucket(asked.bucket)?;
    if bucket == Bucket::Month {
        return Err(Violation::new("bucket", "may be HOUR or DAY").into());
    }
    let pool = field::optional_text("pool", asked.pool.clone(), MAX_POOL)?;
    Ok(Query { start, end, group_by, bucket, pool })
}

/// The whole hours to look at.
fn advised(asked: &pb::GetAdviceRequest, now: Time) -> Result<(Time, Time), Error> {
    let end = hour_floor(field::optional_instant("end_time", asked.end_time.as_ref())?.unwrap_or(now));
    let start = field::optional_instant("start_time", asked.start_time.as_ref())?;
    let start = hour_floor(start.unwrap_or_else(|| Time((end.0 - 7 * DAY).max(0))));
    in_reach(start, end, now)?;
    Ok((start, end))
}

fn in_reach(start: Time, end: Time, now: Time) -> Result<(), Violation> {
    if end < start || end.0 - start.0 > LONGEST {
        return Err(Violation::new("end_time", "must be after start_time, by at most 31 days"));
    }
    if now.0 - start.0 > KEPT {
        return Err(Violation::new(
            "start_time",
            "must be at most 90 days ago: what instances did is kept so long",
        ));
    }
    Ok(())
}

impl From<GpuPriceVersion> for pb::GpuPrice {
    fn from(version: GpuPriceVersion) -> Self {
        let dollars = |amount: Option<Money>| amount.map(|amount| amount.to_string());
        Self {
            price_id: version.id.to_string(),
            pool: version.pool,
            hour_usd: dollars(version.price.hour),
            spot_hour_usd: dollars(version.price.spot_hour),
            capacity: version.price.capacity,
            effective_from: Some(time::to_proto(version.from)),
            reason: version.reason,
            created_by: version.by.to_string(),
            created_time: Some(time::to_proto(version.created)),
        }
    }
}

fn span(micros: i128) -> Option<prost_types::Duration> {
    let micros = u64::try_from(micros).unwrap_or(0);
    Some(time::duration_to_proto(Duration::from_micros(micros)))
}

/// What is known of a cost: nothing, where no part of the time has a price.
fn dollars(part: &Part) -> Option<String> {
    (part.micros > part.unpriced || part.cost > 0).then(|| Money::dollars(part.cost))
}

impl From<Row> for pb::GpuCostRow {
    fn from(row: Row) -> Self {
        let id = |id: Uuid| if id.is_nil() { String::new() } else { id.to_string() };
        let (idle, who) = (row.who.is_none(), row.who.unwrap_or_default());
        Self {
            bucket_time: Some(time::to_proto(row.bucket)),
            pool: row.pool,
            idle,
            user_id: id(who.user),
            key_id: id(who.key),
            group_id: id(who.group),
            model: who.model,
            prompt_tokens: row.tokens.prompt,
            cached_prompt_tokens: row.tokens.cached,
            completion_tokens: row.tokens.completion,
            gpu_time: span(row.part.micros),
            unpriced_gpu_time: span(row.part.unpriced),
            cost_usd: dollars(&row.part),
        }
    }
}

fn pool((pool, total): (String, Total)) -> pb::GpuPool {
    pb::GpuPool {
        pool,
        gpu_time: span(total.all.micros),
        spot_gpu_time: span(total.spot),
        unpriced_gpu_time: span(total.all.unpriced),
        cost_usd: Money::dollars(total.all.cost),
        allocated_usd: Money::dollars(total.all.cost - total.idle.cost),
        idle_usd: Money::dollars(total.idle.cost),
        capacity: total.capacity.tokens,
        capacity_said: total.capacity.said,
    }
}

impl From<cost::Told> for pb::GetGpuCostResponse {
    fn from(told: cost::Told) -> Self {
        Self {
            rows: told.rows.into_iter().map(Into::into).collect(),
            next_page_token: told.next,
            pools: told.pools.into_iter().map(pool).collect(),
        }
    }
}

fn answer(told: Advised, start: Time, end: Time) -> pb::GetAdviceResponse {
    let advice = |advice: Advice| pb::Advice {
        kind: kind(advice.kind).into(),
        subject: advice.subject,
        text: advice.text,
        saving_usd: advice.saving,
        inputs: advice
            .inputs
            .into_iter()
            .map(|input| pb::AdviceInput {
                name: input.name.into(),
                value: input.value,
                unit: input.unit.into(),
            })
            .collect(),
        formula: advice.formula.into(),
        confidence: match advice.confidence {
            Confidence::Low => pb::AdviceConfidence::Low.into(),
            Confidence::Medium => pb::AdviceConfidence::Medium.into(),
            Confidence::High => pb::AdviceConfidence::High.into(),
        },
        because: advice.because,
    };
    let withheld = |withheld: Withheld| pb::WithheldAdvice {
        kind: kind(withheld.kind).into(),
        subject: withheld.subject,
        because: withheld.because,
    };
    pb::GetAdviceResponse {
        advice: told.advice.into_iter().map(advice).collect(),
        withheld: told.withheld.into_iter().map(withheld).collect(),
        start_time: Some(time::to_proto(start)),
        end_time: Some(time::to_proto(end)),
    }
}

fn kind(kind: Kind) -> pb::AdviceKind {
    match kind {
        Kind::Idle => pb::AdviceKind::Idle,
        Kind::Instance => pb::AdviceKind::Instance,
        Kind::Model => pb::AdviceKind::Model,
        Kind::Spot => pb::AdviceKind::Spot,
    }
}
