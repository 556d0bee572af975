//! Fields of requests, read into what they mean. Each reader names the field when it is malformed.

use crate::{error::Violation, place::is_time};
use policy::Time;
use prost_types::{Duration as WireDuration, Timestamp};
use shared::{page, time};
use std::time::Duration;
use uuid::Uuid;

/// Far above what any model reads or writes; keeps sums of billions of records within 64 bits.
const MAX_TOKENS: u64 = 1_000_000_000;

/// Rows of a page when none are asked for, and at most.
const PAGE: (u32, u32) = (100, 1_000);

/// A UUID other than nil.
pub(super) fn id(field: &str, text: &str) -> Result<Uuid, Violation> {
    let id = Uuid::try_parse(text).ok().filter(|id| !id.is_nil());
    id.ok_or_else(|| Violation::new(field, "must be a UUID, like 01890a5d-ac96-774b-bcce-b302099a8057"))
}

/// The same, or nothing when the text is empty.
pub(super) fn optional_id<T: From<Uuid>>(field: &str, text: &str) -> Result<Option<T>, Violation> {
    if text.is_empty() { Ok(None) } else { id(field, text).map(|id| Some(T::from(id))) }
}

/// Text of at most `max` characters that can be stored.
pub(super) fn text(field: &str, text: String, max: usize) -> Result<String, Violation> {
    if text.chars().nth(max).is_some() {
        return Err(Violation::new(field, format!("must have at most {max} characters")));
    }
    // PostgreSQL cannot store NUL, and other control characters would only garble logs and tables.
    if text.chars().any(char::is_control) {
        return Err(Violation::new(field, "must not contain control characters"));
    }
    Ok(text)
}

/// The same, or nothing when the text is empty.
pub(super) fn optional_text(field: &str, given: String, max: usize) -> Result<Option<String>, Violation> {
    text(field, given, max).map(|text| (!text.is_empty()).then_some(text))
}

/// A time that the ledger can hold.
pub(super) fn instant(field: &str, given: &Timestamp) -> Result<Time, Violation> {
    let time = time::from_proto(given).filter(|time| is_time(*time));
    time.ok_or_else(|| Violation::new(field, "must be a time from 1970 to 9999"))
}

/// The same, or nothing when it was left out.
pub(super) fn optional_instant(field: &str, given: Option<&Timestamp>) -> Result<Option<Time>, Violation> {
    given.map(|given| instant(field, given)).transpose()
}

/// A duration that is not negative and that the ledger can hold.
pub(super) fn duration(field: &str, given: Option<&WireDuration>) -> Result<Option<Duration>, Violation> {
    let Some(given) = given else { return Ok(None) };
    let duration = time::duration_from_proto(given)
        .filter(|duration| given.nanos < 1_000_000_000 && i64::try_from(duration.as_micros()).is_ok());
    duration.map(Some).ok_or_else(|| Violation::new(field, "must be a duration that is not negative"))
}

/// A count of tokens.
pub(super) fn tokens(field: &str, given: u64) -> Result<i64, Violation> {
    let count = i64::try_from(given).ok().filter(|_| given <= MAX_TOKENS);
    count.ok_or_else(|| Violation::new(field, format!("must be at most {MAX_TOKENS}")))
}

/// The number of rows of a page.
pub(super) fn page_size(given: i32) -> Result<u32, Violation> {
    let (default, max) = PAGE;
    page::size(given, default, max).map_err(|problem| Violation::new("page_size", problem.to_string()))
}
