//! `BudgetService`, call by call.

use super::{Api, field, prices::user, record::MAX_MODEL};
use crate::{
    budgets::{
        Budget, Subject,
        change::{self, Update},
        lease::{self, Said, TellWindow, Told},
        spend::WindowKey,
        status::{self, Status},
    },
    error::{Error, Violation},
};
use ::budgets::{
    Amount, Ask, Limit,
    forecast::Method,
    window::{Calendar, Period},
};
use policy::{GroupId, KeyId, Time, UserId};
use pricing::Money;
use proto::monitoring::v1::{self as pb, budget_subject::Subject as Wire};
use shared::{auth::RequestExt, event::Origin, time};
use std::collections::BTreeMap;
use tonic::{Request, Response, Status as Refused};
use uuid::Uuid;

const MAX_NAME: usize = 100;
/// Leases of one call.
const MAX_ASKS: usize = 2_000;

#[tonic::async_trait]
impl pb::budget_service_server::BudgetService for Api {
    async fn create_budget(
        &self,
        request: Request<pb::CreateBudgetRequest>,
    ) -> Result<Response<pb::CreateBudgetResponse>, Refused> {
        let (by, origin) = (user(&request.caller()?), Origin::of(&request, "")?);
        let budget = change::create(&self.db, made(request.into_inner(), by, time::now())?, &origin).await?;
        Ok(Response::new(pb::CreateBudgetResponse { budget: Some(budget.into()) }))
    }

    async fn get_budget(
        &self,
        request: Request<pb::GetBudgetRequest>,
    ) -> Result<Response<pb::GetBudgetResponse>, Refused> {
        let budget = change::get(&self.db, id(&request.get_ref().budget_id)?).await?;
        Ok(Response::new(pb::GetBudgetResponse { budget: Some(budget.into()) }))
    }

    async fn list_budgets(
        &self,
        request: Request<pb::ListBudgetsRequest>,
    ) -> Result<Response<pb::ListBudgetsResponse>, Refused> {
        let asked = request.into_inner();
        let size = field::page_size(asked.page_size).map_err(Error::from)?;
        let (page, next_page_token) = change::list(&self.db, size, &asked.page_token).await?;
        let budgets = page.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListBudgetsResponse { budgets, next_page_token }))
    }

    async fn update_budget(
        &self,
        request: Request<pb::UpdateBudgetRequest>,
    ) -> Result<Response<pb::UpdateBudgetResponse>, Refused> {
        let (by, origin) = (user(&request.caller()?), Origin::of(&request, "")?);
        let budget =
            change::update(&self.db, update(request.into_inner(), by, time::now())?, &origin).await?;
        Ok(Response::new(pb::UpdateBudgetResponse { budget: Some(budget.into()) }))
    }

    async fn delete_budget(
        &self,
        request: Request<pb::DeleteBudgetRequest>,
    ) -> Result<Response<pb::DeleteBudgetResponse>, Refused> {
        let origin = Origin::of(&request, "")?;
        change::delete(&self.db, id(&request.get_ref().budget_id)?, &origin).await?;
        Ok(Response::new(pb::DeleteBudgetResponse {}))
    }

    async fn get_budget_status(
        &self,
        request: Request<pb::GetBudgetStatusRequest>,
    ) -> Result<Response<pb::GetBudgetStatusResponse>, Refused> {
        let status = status::status(&self.db, id(&request.get_ref().budget_id)?, time::now()).await?;
        Ok(Response::new(status.into()))
    }

    async fn release_leases(
        &self,
        request: Request<pb::ReleaseLeasesRequest>,
    ) -> Result<Response<pb::ReleaseLeasesResponse>, Refused> {
        let gateway = field::id("gateway_id", &request.get_ref().gateway_id).map_err(Error::from)?;
        let origin = Origin::of(&request, "")?;
        let released = lease::release(&self.db, gateway, time::now(), &origin).await?;
        let released = u32::try_from(released).unwrap_or(u32::MAX);
        Ok(Response::new(pb::ReleaseLeasesResponse { released }))
    }

    async fn sync_budgets(
        &self,
        request: Request<pb::SyncBudgetsRequest>,
    ) -> Result<Response<pb::SyncBudgetsResponse>, Refused> {
        let told = lease::sync(&self.db, said(&request.into_inner())?, time::now()).await?;
        Ok(Response::new(told.into()))
    }
}

fn id(text: &str) -> Result<Uuid, Error> {
    Ok(field::id("budget_id", text)?)
}

fn made(asked: pb::CreateBudgetRequest, by: UserId, now: Time) -> Result<Budget, Error> {
    let given = asked.budget.ok_or_else(|| Violation::new("budget", "is required"))?;
    let within = |violation: Violation| violation.within("budget");
    let period = match given.period() {
        pb::BudgetPeriod::Day => Period::Day,
        pb::BudgetPeriod::Month => Period::Month,
        pb::BudgetPeriod::Unspecified => return Err(Violation::new("budget.period", "is required").into()),
    };
    Calendar::new(period, &given.time_zone)
        .map_err(|fault| Violation::new("budget.time_zone", fault.to_string()))?;
    let id = field::optional_id("request_id", &asked.request_id)?;
    Ok(Budget {
        id: id.unwrap_or_else(Uuid::now_v7),
        name: name(given.name).map_err(within)?,
        subject: subject(given.subject).map_err(within)?,
        period,
        zone: given.time_zone,
        limit: limit(given.limit_usd.as_ref(), given.limit_tokens).map_err(within)?,
        hard: given.hard,
        created: now,
        updated: now,
        by,
        revision: 1,
    })
}

fn update(asked: pb::UpdateBudgetRequest, by: UserId, now: Time) -> Result<Update, Error> {
    let revision = match asked.etag.as_str() {
        "" => None,
        etag => Some(etag.parse().map_err(|_| Violation::new("etag", "is not an etag of a budget"))?),
    };
    Ok(Update {
        id: id(&asked.budget_id)?,
        name: name(asked.name)?,
        limit: limit(asked.limit_usd.as_ref(), asked.limit_tokens)?,
        hard: asked.hard,
        revision,
        by,
        now,
    })
}

fn name(given: String) -> Result<String, Violation> {
    let name = field::optional_text("name", given, MAX_NAME)?;
    name.ok_or_else(|| Violation::new("name", "is required"))
}

fn subject(given: Option<pb::BudgetSubject>) -> Result<Subject, Violation> {
    match given.and_then(|given| given.subject) {
        Some(Wire::UserId(id)) => Ok(Subject::User(UserId(field::id("subject.user_id", &id)?))),
        Some(Wire::GroupId(id)) => Ok(Subject::Group(GroupId(field::id("subject.group_id", &id)?))),
        Some(Wire::KeyId(id)) => Ok(Subject::Key(KeyId(field::id("subject.key_id", &id)?))),
        Some(Wire::Model(name)) => {
            let name = field::optional_text("subject.model", name, MAX_MODEL)?;
            Ok(Subject::Model(name.ok_or_else(|| Violation::new("subject.model", "is required"))?))
        }
        None => Err(Violation::new("subject", "is required: a user, group, key or model")),
    }
}

fn limit(dollars: Option<&String>, tokens: Option<u64>) -> Result<Limit, Violation> {
    let money = dollars.map(|text| text.parse::<Money>()).transpose();
    let money = money.map_err(|fault| Violation::new("limit_usd", fault.to_string()))?;
    if money.is_some_and(|money| money.0 < 0) {
        return Err(Violation::new("limit_usd", "must not be negative"));
    }
    let tokens = tokens.map(i64::try_from).transpose();
    let tokens = tokens.map_err(|_| Violation::new("limit_tokens", "must be at most 2^63 - 1"))?;
    if money.is_none() && tokens.is_none() {
        return Err(Violation::new("limit_usd", "or limit_tokens is required"));
    }
    Ok(Limit { money: money.map(|money| money.0), tokens })
}

fn said(asked: &pb::SyncBudgetsRequest) -> Result<Said, Error> {
    if asked.asks.len() > MAX_ASKS {
        return Err(Violation::new("asks", format!("must be at most {MAX_ASKS}")).into());
    }
    let mut asks: BTreeMap<WindowKey, Ask> = BTreeMap::new();
    for (index, ask) in asked.asks.iter().enumerate() {
        let within = |violation: Violation| violation.within(&format!("asks[{index}]"));
        let budget = field::id("budget_id", &ask.budget_id).map_err(within)?;
        let start = ask.window_start_time.as_ref();
        let start = start.ok_or_else(|| within(Violation::new("window_start_time", "is required")))?;
        let start = field::instant("window_start_time", start).map_err(within)?;
        let target = Amount { money: ask.target_pico_usd.into(), tokens: ask.target_tokens };
        let released = Amount { money: ask.released_pico_usd.into(), tokens: ask.released_tokens };
        asks.insert((budget, start.0), Ask { target: target.positive(), released: released.positive() });
    }
    let ended = asked.ended_gateway_ids.iter().map(|id| field::id("ended_gateway_ids", id));
    Ok(Said {
        gateway: field::id("gateway_id", &asked.gateway_id)?,
        asks,
        ended: ended.collect::<Result<_, _>>()?,
    })
}

impl From<Budget> for pb::Budget {
    fn from(budget: Budget) -> Self {
        let subject = match budget.subject {
            Subject::User(id) => Wire::UserId(id.to_string()),
            Subject::Group(id) => Wire::GroupId(id.to_string()),
            Subject::Key(id) => Wire::KeyId(id.to_string()),
            Subject::Model(name) => Wire::Model(name),
        };
        let period = match budget.period {
            Period::Day => pb::BudgetPeriod::Day,
            Period::Month => pb::BudgetPeriod::Month,
        };
        Self {
            budget_id: budget.id.to_string(),
            name: budget.name,
            subject: Some(pb::BudgetSubject { subject: Some(subject) }),
            period: period.into(),
            time_zone: budget.zone,
            limit_usd: budget.limit.money.map(|money| Money(money).to_string()),
            limit_tokens: budget.limit.tokens.map(i64::unsigned_abs),
            hard: budget.hard,
            created_time: Some(time::to_proto(budget.created)),
            updated_time: Some(time::to_proto(budget.updated)),
            updated_by: budget.by.to_string(),
            etag: budget.revision.to_string(),
        }
    }
}

impl From<Status> for pb::GetBudgetStatusResponse {
    fn from(status: Status) -> Self {
        let in_dollars = status.budget.limit.money.is_some();
        let scale = if in_dollars { 1e12 } else { 1.0 };
        let reached = status.reached.iter().map(|reached| pb::ReachedThreshold {
            percent: reached.percent.unsigned_abs(),
            time: Some(time::to_proto(reached.reached_time.0)),
        });
        let forecast = pb::BudgetForecast {
            method: match status.forecast.method {
                Method::Linear => pb::ForecastMethod::Linear.into(),
                Method::Weekdays => pb::ForecastMethod::Weekdays.into(),
            },
            p50: status.forecast.p50 / scale,
            p90: status.forecast.p90.map(|amount| amount / scale),
            unit: if in_dollars { "usd" } else { "tokens" }.into(),
            exhausted_time: status.forecast.exhausted.map(|at| time::to_proto(Time(at))),
            days: u32::try_from(status.days).unwrap_or(u32::MAX),
        };
        Self {
            window_start_time: Some(time::to_proto(Time(status.window.start))),
            window_end_time: Some(time::to_proto(Time(status.window.end))),
            spent_usd: Money::dollars(status.standing.spent.money),
            spent_tokens: status.standing.spent.tokens.max(0).unsigned_abs(),
            leased_usd: Money::dollars(status.leased.money),
            leased_tokens: status.leased.tokens.unsigned_abs(),
            unpriced: status.standing.unpriced.max(0).unsigned_abs(),
            used_ratio: status.used_ratio,
            thresholds: reached.collect(),
            forecast: Some(forecast),
            budget: Some(status.budget.into()),
        }
    }
}

impl From<Told> for pb::SyncBudgetsResponse {
    fn from(told: Told) -> Self {
        let window = |TellWindow { budget, window, exhausted }| pb::BudgetWindow {
            budget: Some(Budget::into(budget)),
            start_time: Some(time::to_proto(Time(window.start))),
            end_time: Some(time::to_proto(Time(window.end))),
            exhausted,
        };
        let grant = |((budget, start), granted): (WindowKey, Amount)| pb::LeaseGrant {
            budget_id: budget.to_string(),
            window_start_time: Some(time::to_proto(Time(start))),
            // A lease is a part of a limit, and that has 64 bits.
            granted_pico_usd: i64::try_from(granted.money).unwrap_or(i64::MAX),
            granted_tokens: granted.tokens,
        };
        let price = |price: crate::store::prices::CurrentPrice| pb::CurrentPrice {
            model: price.model,
            input: price.price.input.map(|money| money.0),
            cache_read: price.price.cache_read.map(|money| money.0),
            output: price.price.output.map(|money| money.0),
        };
        Self {
            windows: told.windows.into_iter().map(window).collect(),
            grants: told.granted.into_iter().map(grant).collect(),
            prices: told.prices.into_iter().map(price).collect(),
        }
    }
}
