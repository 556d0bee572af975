//! The wall clock, read where an answer carries a date; everything that takes time runs on tokio's clock instead.

use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// Seconds since 1970, as in `created`.
pub(crate) fn unix_seconds() -> i64 {
    Timestamp::now().as_second()
}

/// Seconds since 1970 with their fraction, as in the `_created` series of the metrics.
pub(crate) fn unix_seconds_exact() -> f64 {
    Timestamp::now().as_duration().as_secs_f64()
}

/// The `date` header.
pub(crate) fn http_date() -> HeaderValue {
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&Timestamp::now())
        .ok()
        .and_then(|date| HeaderValue::try_from(date).ok())
        .unwrap_or_else(|| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}
