//! Why a request was refused, slow or dear: what the ledger and the refusals know of it, as one story.

pub(crate) mod refusals;
mod summary;

use crate::{
    error::Error,
    prices::PriceVersion,
    store::{self, prices, records, refusals as rows},
    usage::{
        Kept, Outcome, Record,
        course::Attempt,
        records::{Order, Query},
    },
};
use policy::UserId;
use refusals::Refusal;
use shared::db::Db;
use std::time::Duration;
use uuid::Uuid;

/// Stories in one answer: an id that a caller made may be of many requests.
const MOST: u32 = 20;

/// One request, from its arrival to its end.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) told: Told,
    pub(crate) price: Option<PriceVersion>,
}

/// What is known of a request: what it used, what its caller was told instead of an answer, or both.
#[derive(Debug)]
pub(crate) enum Told {
    Answered(Box<Kept>),
    Refused(Box<Refusal>),
    /// It reached an engine, and its caller got none of it.
    Failed(Box<Kept>, Box<Refusal>),
}

/// All that is known of the requests of this id, newest first; only those of `user` when there is one.
///
/// # Errors
/// [`Error::NoRequest`] when there is none, or the store is away.
pub(crate) async fn why(db: &Db, id: &str, user: Option<UserId>) -> Result<Vec<Story>, Error> {
    let (kept, refused) = store::timed(db, "why_request", find(db, id, user)).await?;
    let mut told = together(kept, refused);
    told.truncate(MOST as usize);
    if told.is_empty() {
        return Err(Error::NoRequest);
    }
    let ids: Vec<Uuid> = told.iter().filter_map(Told::price).collect();
    let versions = prices::versions(db, &ids).await?;
    let of = |id| versions.iter().find(|version| Some(version.id) == id).cloned();
    Ok(told.into_iter().map(|told| Story { price: of(told.price()), told }).collect())
}

async fn find(db: &Db, id: &str, user: Option<UserId>) -> Result<(Vec<Kept>, Vec<Refusal>), sqlx::Error> {
    let mut kept = Vec::new();
    // The ids that gateways make for requests without one look like those of records.
    if let Ok(usage_id) = Uuid::try_parse(id) {
        let query = Query { usage_id: Some(usage_id), user, ..Query::default() };
        kept = records::page(db, &query, Order::NewestFirst, None, MOST).await?;
    }
    let request_id = kept.first().map_or_else(|| id.to_owned(), |kept| kept.record.request_id.clone());
    if kept.is_empty() {
        let query = Query { request_id: Some(request_id.clone()), user, ..Query::default() };
        kept = records::page(db, &query, Order::NewestFirst, None, MOST).await?;
    }
    let refused = if request_id.is_empty() { vec![] } else { rows::of(db, &request_id, user, MOST).await? };
    Ok((kept, refused))
}

/// Each request once, newest first.
fn together(kept: Vec<Kept>, mut refused: Vec<Refusal>) -> Vec<Told> {
    let mut told: Vec<Told> = kept
        .into_iter()
        .map(|kept| match refused.iter().position(|refusal| refusal.is_of(&kept.record)) {
            Some(at) => Told::Failed(Box::new(kept), Box::new(refused.remove(at))),
            None => Told::Answered(Box::new(kept)),
        })
        .collect();
    told.extend(refused.into_iter().map(|refusal| Told::Refused(Box::new(refusal))));
    told.sort_by_key(|told| std::cmp::Reverse(told.start()));
    told
}

impl Told {
    pub(crate) fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Answered(kept) | Self::Failed(kept, _) => Some(kept),
            Self::Refused(_) => None,
        }
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) | Self::Failed(_, refusal) => Some(refusal),
            Self::Answered(_) => None,
        }
    }

    fn price(&self) -> Option<Uuid> {
        self.kept().and_then(|kept| kept.charge.price)
    }

    fn start(&self) -> policy::Time {
        match self {
            Self::Answered(kept) | Self::Failed(kept, _) => kept.record.start,
            Self::Refused(refusal) => refusal.start,
        }
    }
}

impl Story {
    /// What happened and where the time went, in sentences.
    pub(crate) fn summary(&self) -> Vec<String> {
        summary::of(self)
    }

    /// The engines that were asked, in their order.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.told.kept().map(|kept| attempts(&kept.record)).unwrap_or_default()
    }

    /// Why the cost is not known, where it is not.
    pub(crate) fn cost_unknown(&self) -> Option<String> {
        let kept = self.told.kept().filter(|kept| kept.charge.cost.is_none())?;
        let model = kept.record.priced_as();
        Some(match &self.price {
            Some(_) => format!("the price of `{model}` does not say what tokens of each of these kinds cost"),
            None => format!("`{model}` had no price when the request began"),
        })
    }
}

fn attempts(record: &Record) -> Vec<Attempt> {
    let course = &record.course;
    let last = course.asked_after.map(|asked_after| Attempt {
        engine: record.engine.clone(),
        ended: match record.outcome {
            Outcome::Finished => "answered".into(),
            Outcome::Cancelled if course.reason.is_empty() => "its caller went away".into(),
            Outcome::Crashed => "the gateway stopped".into(),
            Outcome::Cancelled | Outcome::Failed => course.reason.clone(),
        },
        asked_after,
        duration: record.duration.unwrap_or(Duration::ZERO).saturating_sub(asked_after),
    });
    course.failed.iter().cloned().chain(last).collect()
}
