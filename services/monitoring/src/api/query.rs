//! What is asked of the ledger, restricted to what the caller may see, and the answer to it.

use super::{
    field,
    record::{MAX_MODEL, MAX_REQUEST_ID, outcome},
};
use crate::{
    error::{Error, Violation},
    usage::export::Format,
    usage::records,
    usage::report,
    usage::report::{Bucket, Dimensions},
    usage::restrict::restrict,
    usage::{hour_ceil, hour_floor, zone::Zone},
};
use policy::Time;
use pricing::Money;
use proto::monitoring::v1 as pb;
use shared::{auth::Caller, time};
use std::time::Duration;
use uuid::Uuid;

/// A report as it is asked for.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) query: report::Query,
    /// No end was named.
    pub(super) open_ended: bool,
    pub(super) size: u32,
    pub(super) token: String,
}

/// A list as it is asked for.
#[derive(Debug)]
pub(super) struct List {
    pub(super) query: records::Query,
    pub(super) size: u32,
    pub(super) token: String,
}

/// A file as it is asked for.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) query: records::Query,
    pub(super) format: Format,
}

impl Export {
    /// Reads a request of `caller`'s at the time `now`.
    pub(super) fn read(request: pb::ExportUsageRequest, caller: &Caller, now: Time) -> Result<Self, Error> {
        let start = field::optional_instant("start_time", request.start_time.as_ref())?;
        let end = field::optional_instant("end_time", request.end_time.as_ref())?.unwrap_or(now);
        in_order(start, Some(end))?;
        let format = match pb::ExportFormat::try_from(request.format) {
            Ok(pb::ExportFormat::Unspecified | pb::ExportFormat::Csv) => Format::Csv,
            Ok(pb::ExportFormat::JsonLines) => Format::JsonLines,
            Err(_) => return Err(Violation::new("format", "is not a format of this contract").into()),
        };
        let query = records::Query {
            user: restrict(caller, field::optional_id("user_id", &request.user_id)?)?,
            api_key: field::optional_id("key_id", &request.key_id)?,
            model: field::optional_text("model", request.model, MAX_MODEL)?,
            start,
            end: Some(end),
            ..records::Query::default()
        };
        Ok(Self { query, format })
    }
}

impl Report {
    /// Reads a request of `caller`'s at the time `now`.
    pub(super) fn read(request: pb::GetUsageRequest, caller: &Caller, now: Time) -> Result<Self, Error> {
        let start = field::optional_instant("start_time", request.start_time.as_ref())?;
        let end = field::optional_instant("end_time", request.end_time.as_ref())?;
        in_order(start, end)?;
        let query = report::Query {
            // The ledger holds nothing from before 1970.
            start: hour_floor(start.unwrap_or(Time(0))),
            end: hour_ceil(end.unwrap_or(now)),
            group_by: dimensions(&request.group_by)?,
            bucket: bucket(request.bucket)?,
            zone: zone(request.time_zone)?,
            user: restrict(caller, field::optional_id("user_id", &request.user_id)?)?,
            api_key: field::optional_id("key_id", &request.key_id)?,
            group: field::optional_id("group_id", &request.group_id)?,
            model: field::optional_text("model", request.model, MAX_MODEL)?,
        };
        let size = field::page_size(request.page_size)?;
        Ok(Self { query, open_ended: end.is_none(), size, token: request.page_token })
    }
}

impl List {
    /// Reads a request of `caller`'s.
    pub(super) fn read(request: pb::ListUsageRecordsRequest, caller: &Caller) -> Result<Self, Error> {
        let start = field::optional_instant("start_time", request.start_time.as_ref())?;
        let end = field::optional_instant("end_time", request.end_time.as_ref())?;
        in_order(start, end)?;
        let query = records::Query {
            request_id: field::optional_text("request_id", request.request_id, MAX_REQUEST_ID)?,
            usage_id: field::optional_id("usage_id", &request.usage_id)?,
            user: restrict(caller, field::optional_id("user_id", &request.user_id)?)?,
            api_key: field::optional_id("key_id", &request.key_id)?,
            model: field::optional_text("model", request.model, MAX_MODEL)?,
            outcome: outcome(request.outcome)?,
            start,
            end,
        };
        Ok(Self { query, size: field::page_size(request.page_size)?, token: request.page_token })
    }
}

fn in_order(start: Option<Time>, end: Option<Time>) -> Result<(), Violation> {
    match (start, end) {
        (Some(start), Some(end)) if end < start => {
            Err(Violation::new("end_time", "must not be before start_time"))
        }
        _ => Ok(()),
    }
}

pub(super) fn dimensions(numbers: &[i32]) -> Result<Dimensions, Violation> {
    let mut dimensions = Dimensions::default();
    for (index, number) in numbers.iter().enumerate() {
        *match pb::UsageDimension::try_from(*number) {
            Ok(pb::UsageDimension::User) => &mut dimensions.user,
            Ok(pb::UsageDimension::Key) => &mut dimensions.key,
            Ok(pb::UsageDimension::Model) => &mut dimensions.model,
            Ok(pb::UsageDimension::Endpoint) => &mut dimensions.endpoint,
            Ok(pb::UsageDimension::Group) => &mut dimensions.group,
            Ok(pb::UsageDimension::ServedModel) => &mut dimensions.served_model,
            Ok(pb::UsageDimension::Engine) => &mut dimensions.engine,
            Ok(pb::UsageDimension::Unspecified) | Err(_) => {
                return Err(Violation::new(
                    format!("group_by[{index}]"),
                    "is not a dimension of this contract",
                ));
            }
        } = true;
    }
    Ok(dimensions)
}

pub(super) fn bucket(number: i32) -> Result<Bucket, Violation> {
    Ok(match pb::TimeBucket::try_from(number) {
        Ok(pb::TimeBucket::Unspecified) => Bucket::Whole,
        Ok(pb::TimeBucket::Hour) => Bucket::Hour,
        Ok(pb::TimeBucket::Day) => Bucket::Day,
        Ok(pb::TimeBucket::Month) => Bucket::Month,
        Err(_) => return Err(Violation::new("bucket", "is not a time bucket of this contract")),
    })
}

fn zone(name: String) -> Result<Zone, Violation> {
    let problem = "is no time zone of the IANA database, like Europe/Berlin";
    Zone::named(name).ok_or_else(|| Violation::new("time_zone", problem))
}

/// A report's page, with the fields it is grouped by.
pub(super) fn answer(report: report::Report, group_by: Dimensions) -> pb::GetUsageResponse {
    let rows = report.rows.into_iter().map(|row| self::row(row, group_by)).collect();
    pb::GetUsageResponse { rows, next_page_token: report.next }
}

fn row(row: report::Row, group_by: Dimensions) -> pb::UsageRow {
    let report::Row { group, sums } = row;
    let known = sums.requests() > sums.unpriced;
    let span = |micros: i64| time::duration_to_proto(Duration::from_micros(micros.unsigned_abs()));
    let id = |shown: bool, id: Uuid| if shown && !id.is_nil() { id.to_string() } else { String::new() };
    pb::UsageRow {
        bucket_time: Some(time::to_proto(group.bucket)),
        user_id: id(group_by.user, group.user),
        key_id: id(group_by.key, group.key),
        model: group.model,
        endpoint: group.endpoint,
        requests: sums.requests().unsigned_abs(),
        finished: sums.finished.unsigned_abs(),
        cancelled: sums.cancelled.unsigned_abs(),
        failed: sums.failed.unsigned_abs(),
        crashed: sums.crashed.unsigned_abs(),
        prompt_tokens: sums.prompt_tokens.unsigned_abs(),
        cached_prompt_tokens: sums.cached_prompt_tokens.unsigned_abs(),
        completion_tokens: sums.completion_tokens.unsigned_abs(),
        estimated_tokens: sums.estimated_tokens.unsigned_abs(),
        cached: sums.cached.unsigned_abs(),
        saved_prompt_tokens: sums.saved_prompt_tokens.unsigned_abs(),
        saved_completion_tokens: sums.saved_completion_tokens.unsigned_abs(),
        group_id: id(group_by.group, group.group),
        cost_usd: known.then(|| Money::dollars(sums.cost.total())),
        input_cost_usd: known.then(|| Money::dollars(sums.cost.input)),
        cache_read_cost_usd: known.then(|| Money::dollars(sums.cost.cache_read)),
        output_cost_usd: known.then(|| Money::dollars(sums.cost.output)),
        served_model: group.served_model,
        engine: group.engine,
        engine_time: Some(span(sums.engine_micros)),
        gpu_time: Some(span(sums.gpu_micros)),
        unpriced: sums.unpriced.unsigned_abs(),
    }
}
