//! Single records as a file, oldest first, page by page as it is read.

use crate::{
    error::Error,
    store::records,
    usage::records::{Order, Position, Query},
    usage::{Kept, Outcome},
};
use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde::Serialize;
use shared::db::Db;
use std::time::Duration;
use tracing::Instrument;

/// Records of one piece.
const PAGE: u32 = 500;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    JsonLines,
}

/// A line, in the order of the columns.
#[derive(Serialize)]
struct Line<'a> {
    usage_id: String,
    attempt: u32,
    start_time: String,
    request_id: &'a str,
    user_id: String,
    key_id: Option<String>,
    group_id: Option<String>,
    model_id: String,
    model: &'a str,
    served_model: &'a str,
    engine: &'a str,
    endpoint: &'a str,
    outcome: &'static str,
    estimated: bool,
    cached: bool,
    prompt_tokens: i64,
    cached_prompt_tokens: i64,
    completion_tokens: i64,
    saved_prompt_tokens: i64,
    saved_completion_tokens: i64,
    queue_seconds: Option<f64>,
    time_to_first_token_seconds: Option<f64>,
    duration_seconds: Option<f64>,
    gpu_seconds: Option<f64>,
    cost_usd: Option<String>,
    price_id: Option<String>,
    revision: u32,
}

/// The file, piece by piece.
pub(crate) fn export(
    db: Db,
    query: Query,
    format: Format,
) -> impl Stream<Item = Result<Vec<u8>, Error>> + Send {
    let span = tracing::Span::current();
    stream::try_unfold(Some(None), move |place: Option<Option<Position>>| {
        let (db, query, span) = (db.clone(), query.clone(), span.clone());
        let piece = async move {
            let Some(after) = place else { return Ok(None) };
            let page = records::page(&db, &query, Order::OldestFirst, after.as_ref(), PAGE).await?;
            let next = page.last().map(|kept| Position::of(&kept.record));
            let next = next.filter(|_| page.len() == PAGE as usize).map(Some);
            let piece = write(&page, format, after.is_none()).map_err(|_| Error::Unwritable)?;
            Ok(Some((piece, next)))
        };
        piece.instrument(span)
    })
}

fn write(page: &[Kept], format: Format, first: bool) -> Result<Vec<u8>, csv::Error> {
    let lines = page.iter().map(Line::of);
    match format {
        Format::Csv => {
            let mut writer = csv::WriterBuilder::new().has_headers(first).from_writer(Vec::new());
            for line in lines {
                writer.serialize(line)?;
            }
            Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
        }
        Format::JsonLines => {
            let mut text = Vec::new();
            for line in lines {
                serde_json::to_writer(&mut text, &line).map_err(std::io::Error::from)?;
                text.push(b'\n');
            }
            Ok(text)
        }
    }
}

impl<'a> Line<'a> {
    fn of(kept: &'a Kept) -> Self {
        let record = &kept.record;
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
        Self {
            usage_id: record.key.usage_id.to_string(),
            attempt: record.key.attempt,
            start_time: Timestamp::from_microsecond(record.start.0)
                .map(|time| format!("{time:.6}"))
                .unwrap_or_default(),
            request_id: &record.request_id,
            user_id: record.user.to_string(),
            key_id: record.api_key.map(|key| key.to_string()),
            group_id: record.group.map(|group| group.to_string()),
            model_id: record.model_id.to_string(),
            model: &record.model,
            served_model: record.priced_as(),
            engine: &record.engine,
            endpoint: &record.endpoint,
            outcome: match record.outcome {
                Outcome::Finished => "finished",
                Outcome::Cancelled => "cancelled",
                Outcome::Failed => "failed",
                Outcome::Crashed => "crashed",
            },
            estimated: record.estimated,
            cached: record.cached,
            prompt_tokens: record.prompt_tokens,
            cached_prompt_tokens: record.cached_prompt_tokens,
            completion_tokens: record.completion_tokens,
            saved_prompt_tokens: record.saved_prompt_tokens,
            saved_completion_tokens: record.saved_completion_tokens,
            queue_seconds: seconds(record.queue),
            time_to_first_token_seconds: seconds(record.first_token),
            duration_seconds: seconds(record.duration),
            gpu_seconds: seconds(record.gpu),
            cost_usd: kept.charge.cost.map(|cost| cost.to_string()),
            price_id: kept.charge.price.map(|price| price.to_string()),
            revision: kept.revision,
        }
    }
}
