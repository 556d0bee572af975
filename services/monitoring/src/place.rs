//! Where a page of a list starts: the place of the last row before it, as its token carries it.
//!
//! Anybody can make a token, so what is read of one has to be something that a store can be asked for.

use crate::error::Violation;
use policy::Time;
use serde::{Serialize, de::DeserializeOwned};
use shared::page::{self, PageError};

/// The first microsecond of the year 10000: the last time that both engines, and RFC 3339, can still write is before.
pub(crate) const END_OF_TIME: Time = Time(253_402_300_800_000_000);

/// The place of a row.
pub(crate) trait Place: Serialize + DeserializeOwned {
    /// Whether rows can be there.
    fn is_possible(&self) -> bool;
}

/// Whether a row can be of this time.
pub(crate) fn is_time(time: Time) -> bool {
    (Time(0)..END_OF_TIME).contains(&time)
}

/// The token of the page that starts after this row.
pub(crate) fn token(filter: &str, last: &impl Place) -> String {
    page::token(filter, &serde_json::to_string(last).unwrap_or_default())
}

/// The token of the next page, when there is one; `rows` has one more than a page then.
pub(crate) fn next<T, P: Place>(
    filter: &str,
    rows: &mut Vec<T>,
    size: u32,
    place: impl Fn(&T) -> P,
) -> String {
    if rows.len() <= size as usize {
        return String::new();
    }
    rows.truncate(size as usize);
    rows.last().map(|last| token(filter, &place(last))).unwrap_or_default()
}

/// After which row the page starts, or nothing at the beginning.
pub(crate) fn read<P: Place>(filter: &str, token: &str) -> Result<Option<P>, Violation> {
    let refused = |problem: PageError| Violation::new("page_token", problem.to_string());
    let Some(text) = page::start(filter, token).map_err(refused)? else { return Ok(None) };
    let place: Option<P> = serde_json::from_str(&text).ok();
    place.filter(P::is_possible).map(Some).ok_or_else(|| refused(PageError::Token))
}
