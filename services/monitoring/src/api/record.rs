//! Single records between the contract and the ledger.

use super::field;
use crate::{
    error::{Error, Violation},
    usage::course::Course,
    usage::record::Recorded,
    usage::records::Page,
    usage::{Entry, Kept, Outcome, Record, RecordKey},
};
use policy::{ModelId, UserId};
use prost::Message;
use proto::monitoring::v1 as pb;
use sha2::{Digest, Sha256};
use shared::time;
use uuid::Uuid;

/// Records in one call.
const MAX_RECORDS: usize = 1_000;

/// Malformed records that an answer names: details travel in a header, which has a limit.
const MAX_NAMED: usize = 16;

/// Longest texts of a record, in characters: as long as those that permissions and the engines' registry allow.
pub(super) const MAX_REQUEST_ID: usize = 128;
pub(super) const MAX_MODEL: usize = 200;
const MAX_ENGINE: usize = 500;
const MAX_ENDPOINT: usize = 100;

/// All records of a call, or what is wrong with those that are malformed.
pub(super) fn entries(request: pb::RecordUsageRequest) -> Result<Vec<Entry>, Error> {
    if !(1..=MAX_RECORDS).contains(&request.records.len()) {
        return Err(Violation::new("records", format!("must be 1 to {MAX_RECORDS}")).into());
    }
    let mut entries = Vec::with_capacity(request.records.len());
    let mut violations = Vec::new();
    for (index, mut message) in request.records.into_iter().enumerate() {
        let read = leased(&mut message).and_then(|leased| Ok((Record::try_from(message)?, leased)));
        match read {
            Ok(record) => entries.push(entry(record)),
            Err(violation) => violations.push(violation.within(&format!("records[{index}]"))),
        }
    }
    if violations.is_empty() {
        return Ok(entries);
    }
    violations.truncate(MAX_NAMED);
    Err(Error::Invalid(violations))
}

/// The hash is of what the ledger keeps, so it does not change with how a sender writes the same record.
fn entry((mut record, leased): (Record, Option<(Uuid, Vec<Uuid>)>)) -> Entry {
    let body = pb::UsageRecord::from(&record).encode_to_vec();
    if let Some((_, budgets)) = &leased {
        record.course.budgets.clone_from(budgets);
    }
    Entry { record, body_hash: Sha256::digest(body).into(), leased }
}

/// The gateway and the budgets of whose leases a record is.
fn leased(message: &mut pb::UsageRecord) -> Result<Option<(Uuid, Vec<Uuid>)>, Violation> {
    let gateway = field::optional_id("gateway_id", &message.gateway_id)?;
    let budgets = std::mem::take(&mut message.leased_budget_ids);
    let budgets = budgets.iter().map(|id| field::id("leased_budget_ids", id));
    Ok(gateway.zip(Some(budgets.collect::<Result<Vec<_>, _>>()?).filter(|budgets| !budgets.is_empty())))
}

impl TryFrom<pb::UsageRecord> for Record {
    type Error = Violation;

    fn try_from(message: pb::UsageRecord) -> Result<Self, Violation> {
        let prompt_tokens = field::tokens("prompt_tokens", message.prompt_tokens)?;
        let cached_prompt_tokens = field::tokens("cached_prompt_tokens", message.cached_prompt_tokens)?;
        if cached_prompt_tokens > prompt_tokens {
            return Err(Violation::new("cached_prompt_tokens", "must be at most prompt_tokens"));
        }
        if message.cached && message.prompt_tokens + message.completion_tokens > 0 {
            return Err(Violation::new("cached", "is for records that cost no tokens"));
        }
        let start = message.start_time.as_ref().ok_or_else(|| Violation::new("start_time", "is required"))?;
        Ok(Self {
            key: key(&message.usage_id, message.attempt)?,
            request_id: field::text("request_id", message.request_id, MAX_REQUEST_ID)?,
            user: UserId(field::id("user_id", &message.user_id)?),
            api_key: field::optional_id("key_id", &message.key_id)?,
            group: field::optional_id("group_id", &message.group_id)?,
            model_id: ModelId(field::id("model_id", &message.model_id)?),
            model: field::text("model", message.model, MAX_MODEL)?,
            served_model: field::text("served_model", message.served_model, MAX_MODEL)?,
            engine: field::text("engine", message.engine, MAX_ENGINE)?,
            endpoint: field::text("endpoint", message.endpoint, MAX_ENDPOINT)?,
            stream: message.stream,
            outcome: outcome(message.outcome)?.ok_or_else(|| Violation::new("outcome", "is required"))?,
            estimated: message.estimated,
            prompt_tokens,
            cached_prompt_tokens,
            completion_tokens: field::tokens("completion_tokens", message.completion_tokens)?,
            start: field::instant("start_time", start)?,
            queue: field::duration("queue_duration", message.queue_duration.as_ref())?,
            first_token: field::duration("time_to_first_token", message.time_to_first_token.as_ref())?,
            duration: field::duration("duration", message.duration.as_ref())?,
            cached: message.cached,
            saved_prompt_tokens: field::tokens("saved_prompt_tokens", message.saved_prompt_tokens)?,
            saved_completion_tokens: field::tokens(
                "saved_completion_tokens",
                message.saved_completion_tokens,
            )?,
            gpu: field::duration("gpu_time", message.gpu_time.as_ref())?,
            course: message.course.map(course).transpose()?.unwrap_or_default(),
        })
    }
}

fn course(message: pb::RequestCourse) -> Result<Course, Violation> {
    Course::try_from(message).map_err(|violation| violation.within("course"))
}

pub(super) fn key(usage_id: &str, attempt: u32) -> Result<RecordKey, Violation> {
    let usage_id = Uuid::try_parse(usage_id).ok().filter(|id| id.get_version_num() == 7);
    let usage_id = usage_id.ok_or_else(|| Violation::new("usage_id", "must be a UUIDv7"))?;
    if attempt == 0 {
        return Err(Violation::new("attempt", "must be 1 for the first engine tried, 2 for the next"));
    }
    Ok(RecordKey { usage_id, attempt })
}

/// An outcome of the contract, or nothing for the one that says nothing.
pub(super) fn outcome(number: i32) -> Result<Option<Outcome>, Violation> {
    match pb::Outcome::try_from(number) {
        Ok(pb::Outcome::Unspecified) => Ok(None),
        Ok(pb::Outcome::Finished) => Ok(Some(Outcome::Finished)),
        Ok(pb::Outcome::Cancelled) => Ok(Some(Outcome::Cancelled)),
        Ok(pb::Outcome::Failed) => Ok(Some(Outcome::Failed)),
        Ok(pb::Outcome::Crashed) => Ok(Some(Outcome::Crashed)),
        Err(_) => Err(Violation::new("outcome", "is not an outcome of this contract")),
    }
}

impl From<&Record> for pb::UsageRecord {
    fn from(record: &Record) -> Self {
        Self {
            usage_id: record.key.usage_id.to_string(),
            attempt: record.key.attempt,
            request_id: record.request_id.clone(),
            user_id: record.user.to_string(),
            key_id: record.api_key.map(|key| key.to_string()).unwrap_or_default(),
            model_id: record.model_id.to_string(),
            model: record.model.clone(),
            engine: record.engine.clone(),
            endpoint: record.endpoint.clone(),
            stream: record.stream,
            outcome: match record.outcome {
                Outcome::Finished => pb::Outcome::Finished,
                Outcome::Cancelled => pb::Outcome::Cancelled,
                Outcome::Failed => pb::Outcome::Failed,
                Outcome::Crashed => pb::Outcome::Crashed,
            }
            .into(),
            estimated: record.estimated,
            prompt_tokens: record.prompt_tokens.unsigned_abs(),
            cached_prompt_tokens: record.cached_prompt_tokens.unsigned_abs(),
            completion_tokens: record.completion_tokens.unsigned_abs(),
            start_time: Some(time::to_proto(record.start)),
            queue_duration: record.queue.map(time::duration_to_proto),
            time_to_first_token: record.first_token.map(time::duration_to_proto),
            duration: record.duration.map(time::duration_to_proto),
            cached: record.cached,
            saved_prompt_tokens: record.saved_prompt_tokens.unsigned_abs(),
            saved_completion_tokens: record.saved_completion_tokens.unsigned_abs(),
            group_id: record.group.map(|group| group.to_string()).unwrap_or_default(),
            served_model: record.served_model.clone(),
            gpu_time: record.gpu.map(time::duration_to_proto),
            course: (record.course != Course::default()).then(|| (&record.course).into()),
            ..Self::default()
        }
    }
}

impl From<&Kept> for pb::UsageRecord {
    fn from(kept: &Kept) -> Self {
        Self {
            cost_usd: kept.charge.cost.map(|cost| cost.to_string()),
            price_id: kept.charge.price.map(|price| price.to_string()).unwrap_or_default(),
            revision: kept.revision,
            ..Self::from(&kept.record)
        }
    }
}

impl From<Recorded> for pb::RecordUsageResponse {
    fn from(recorded: Recorded) -> Self {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Self { recorded: number(recorded.new), duplicates: number(recorded.known) }
    }
}

impl From<Page> for pb::ListUsageRecordsResponse {
    fn from(page: Page) -> Self {
        Self { records: page.records.iter().map(Into::into).collect(), next_page_token: page.next }
    }
}
