//! `PriceService`, call by call.

use super::{Api, field, record::MAX_MODEL};
use crate::{
    error::{Error, Violation},
    prices::{self, Imported, Imports, PriceVersion, Query},
};
use policy::{Time, UserId};
use pricing::{Money, Price, Tokens, litellm};
use proto::monitoring::v1 as pb;
use sha2::{Digest, Sha256};
use shared::{
    auth::{Caller, RequestExt},
    event::Origin,
    time,
};
use std::collections::HashSet;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// The longest reason, in characters.
pub(super) const MAX_REASON: usize = 500;
/// Bytes of a price list.
const MAX_LIST: usize = 3 * 1024 * 1024;
/// Names of models of an import.
const MAX_MODELS: usize = 1_000;

#[tonic::async_trait]
impl pb::price_service_server::PriceService for Api {
    async fn put_price(
        &self,
        request: Request<pb::PutPriceRequest>,
    ) -> Result<Response<pb::PutPriceResponse>, Status> {
        let by = user(&request.caller()?);
        let origin = Origin::of(&request, &request.get_ref().reason)?;
        let asked = request.into_inner();
        let (named, validate_only) = (!asked.request_id.is_empty(), asked.validate_only);
        let version = version(asked, by, time::now())?;
        let price = prices::put(&self.db, version, named, validate_only, &origin).await?;
        Ok(Response::new(pb::PutPriceResponse { price: Some(price.into()) }))
    }

    async fn list_prices(
        &self,
        request: Request<pb::ListPricesRequest>,
    ) -> Result<Response<pb::ListPricesResponse>, Status> {
        let asked = request.into_inner();
        let size = field::page_size(asked.page_size).map_err(Error::from)?;
        let page = prices::list(&self.db, &query(&asked)?, size, &asked.page_token).await?;
        let prices = page.prices.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListPricesResponse { prices, next_page_token: page.next }))
    }

    async fn import_prices(
        &self,
        request: Request<pb::ImportPricesRequest>,
    ) -> Result<Response<pb::ImportPricesResponse>, Status> {
        let by = user(&request.caller()?);
        let origin = Origin::of(&request, &request.get_ref().reason)?;
        let imports = imports(request.into_inner(), by, time::now())?;
        Ok(Response::new(prices::import(&self.db, imports, &origin).await?.into()))
    }

    async fn quote_cost(
        &self,
        request: Request<pb::QuoteCostRequest>,
    ) -> Result<Response<pb::QuoteCostResponse>, Status> {
        let asked = request.into_inner();
        let (tokens, at) = quoted(&asked)?;
        let (charge, price) = prices::quote(&self.db, &asked.model, tokens, at).await?;
        let cost_usd = charge.cost.map(|cost| cost.to_string());
        Ok(Response::new(pb::QuoteCostResponse { cost_usd, price: price.map(Into::into) }))
    }
}

/// Who asks; services are nobody in particular.
pub(super) fn user(caller: &Caller) -> UserId {
    match caller {
        Caller::Person(person) => person.user,
        Caller::Service => UserId(Uuid::nil()),
    }
}

fn version(asked: pb::PutPriceRequest, by: UserId, now: Time) -> Result<PriceVersion, Error> {
    let given = asked.price.ok_or_else(|| Violation::new("price", "is required"))?;
    let amount = |field: &str, text: Option<&String>| {
        let read = |text: &String| {
            let amount = text.parse::<Money>().map_err(|fault| Violation::new(field, fault.to_string()))?;
            if amount.0 < 0 { Err(Violation::new(field, "must not be negative")) } else { Ok(amount) }
        };
        text.map(read).transpose()
    };
    let id = field::optional_id("request_id", &asked.request_id)?;
    Ok(PriceVersion {
        id: id.unwrap_or_else(Uuid::now_v7),
        model: field::optional_text("price.model", given.model, MAX_MODEL)?
            .ok_or_else(|| Violation::new("price.model", "is required"))?,
        price: Price {
            input: amount("price.input_usd", given.input_usd.as_ref())?,
            cache_read: amount("price.cache_read_usd", given.cache_read_usd.as_ref())?,
            output: amount("price.output_usd", given.output_usd.as_ref())?,
        },
        from: field::optional_instant("price.effective_from", given.effective_from.as_ref())?.unwrap_or(now),
        source: "put".into(),
        reason: field::text("reason", asked.reason, MAX_REASON)?,
        by,
        created: now,
    })
}

fn query(asked: &pb::ListPricesRequest) -> Result<Query, Error> {
    Ok(Query {
        model: field::optional_text("model", asked.model.clone(), MAX_MODEL)?,
        at: field::optional_instant("at_time", asked.at_time.as_ref())?,
    })
}

fn quoted(asked: &pb::QuoteCostRequest) -> Result<(Tokens, Time), Error> {
    if asked.model.is_empty() {
        return Err(Violation::new("model", "is required").into());
    }
    field::text("model", asked.model.clone(), MAX_MODEL)?;
    let prompt = field::tokens("prompt_tokens", asked.prompt_tokens)?.unsigned_abs();
    let cached = field::tokens("cached_prompt_tokens", asked.cached_prompt_tokens)?.unsigned_abs();
    if cached > prompt {
        return Err(Violation::new("cached_prompt_tokens", "must be at most prompt_tokens").into());
    }
    let completion = field::tokens("completion_tokens", asked.completion_tokens)?.unsigned_abs();
    let at = field::optional_instant("at_time", asked.at_time.as_ref())?.unwrap_or_else(time::now);
    Ok((Tokens::of_openai(prompt, cached, completion), at))
}

fn imports(asked: pb::ImportPricesRequest, by: UserId, now: Time) -> Result<Imports, Error> {
    let list = &asked.litellm_json;
    if list.len() > MAX_LIST {
        return Err(Violation::new("litellm_json", format!("must have at most {MAX_LIST} bytes")).into());
    }
    if asked.models.len() > MAX_MODELS {
        return Err(Violation::new("models", format!("must be at most {MAX_MODELS}")).into());
    }
    let mut entries = litellm::read(list)
        .map_err(|fault| Violation::new("litellm_json", format!("is no JSON object of models: {fault}")))?;
    let models: HashSet<&str> = asked.models.iter().map(String::as_str).collect();
    let wanted = |model: &str| models.is_empty() || models.contains(model);
    let named =
        |model: &str| (1..=MAX_MODEL).contains(&model.chars().count()) && !model.contains(char::is_control);
    entries.retain(|(model, entry)| {
        let offered =
            asked.provider.is_empty() || entry.as_ref().is_ok_and(|entry| entry.provider == asked.provider);
        wanted(model) && offered && named(model)
    });
    let hash = [&asked.litellm_json, &asked.provider, &asked.models.join("\0")]
        .into_iter()
        .fold(Sha256::new(), |hash, part| {
            hash.chain_update((part.len() as u64).to_le_bytes()).chain_update(part)
        });
    Ok(Imports {
        entries,
        from: field::optional_instant("effective_from", asked.effective_from.as_ref())?.unwrap_or(now),
        reason: field::text("reason", asked.reason, MAX_REASON)?,
        by,
        now,
        request: field::optional_id("request_id", &asked.request_id)?,
        body_hash: hash.finalize().into(),
        validate_only: asked.validate_only,
    })
}

impl From<PriceVersion> for pb::Price {
    fn from(version: PriceVersion) -> Self {
        let dollars = |amount: Option<Money>| amount.map(|amount| amount.to_string());
        Self {
            price_id: version.id.to_string(),
            model: version.model,
            input_usd: dollars(version.price.input),
            cache_read_usd: dollars(version.price.cache_read),
            output_usd: dollars(version.price.output),
            effective_from: Some(time::to_proto(version.from)),
            source: version.source,
            reason: version.reason,
            created_by: version.by.to_string(),
            created_time: Some(time::to_proto(version.created)),
        }
    }
}

impl From<Imported> for pb::ImportPricesResponse {
    fn from(imported: Imported) -> Self {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let left_out = imported.left_out.into_iter();
        let left_out =
            left_out.map(|row| pb::LeftOut { model: row.model, problem: row.problem, fields: row.fields });
        Self {
            imported: number(imported.imported),
            unchanged: number(imported.unchanged),
            refused: number(imported.refused),
            left_out: left_out.collect(),
            prices: imported.prices.into_iter().map(Into::into).collect(),
        }
    }
}
