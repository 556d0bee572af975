//! Pages of lists: one row more than asked for is read, and tells whether there is a next page.

use crate::error::Error;
use shared::page;
use uuid::Uuid;

/// The page that a request asks for.
#[derive(Debug)]
pub(crate) struct Page {
    filter: String,
    size: u32,
    after: Option<String>,
}

/// The rows of one page, and the token of the next one or nothing.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) next: String,
}

impl Page {
    /// A page of the list that `filter` describes, of 1 to 100 rows.
    pub(crate) fn new(filter: String, size: i32, token: &str) -> Result<Self, Error> {
        Self::sized(filter, page::size(size, 50, 100), token)
    }

    /// A page of 1 to 1,000 rows, for lists that are answered from memory.
    pub(crate) fn long(filter: String, size: i32, token: &str) -> Result<Self, Error> {
        Self::sized(filter, page::size(size, 100, 1_000), token)
    }

    fn sized(filter: String, size: Result<u32, page::PageError>, token: &str) -> Result<Self, Error> {
        let size = size.map_err(Error::page)?;
        let after = page::start(&filter, token).map_err(Error::page)?;
        Ok(Self { filter, size, after })
    }

    /// The row after which this page starts; empty at the beginning.
    pub(crate) fn after(&self) -> &str {
        self.after.as_deref().unwrap_or_default()
    }

    /// The id after which this page starts; nil at the beginning, which no row has.
    pub(crate) fn after_id(&self) -> Result<Uuid, Error> {
        let after = self.after.as_deref().map(Uuid::try_parse).transpose();
        after.map(Option::unwrap_or_default).map_err(|_| Error::page(page::PageError::Token))
    }

    /// The name and the id after which this page starts; empty and nil at the beginning.
    pub(crate) fn after_name(&self) -> Result<(&str, Uuid), Error> {
        let Some(after) = self.after.as_deref() else { return Ok(("", Uuid::nil())) };
        let place = after.rsplit_once(' ').and_then(|(name, id)| Some((name, Uuid::try_parse(id).ok()?)));
        place.ok_or_else(|| Error::page(page::PageError::Token))
    }

    /// The id before which this page starts, for lists with the newest first.
    pub(crate) fn before_id(&self) -> Result<Option<Uuid>, Error> {
        let before = self.after.as_deref().map(Uuid::try_parse).transpose();
        before.map_err(|_| Error::page(page::PageError::Token))
    }

    /// The token of the page after the row with this key.
    pub(crate) fn next(&self, last: &str) -> String {
        page::token(&self.filter, last)
    }

    /// How many rows to read.
    pub(crate) fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// How many rows the page has at most.
    pub(crate) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    /// The token of the page that starts after `last`, for lists that are not read row by row.
    pub(crate) fn token(&self, last: &str) -> String {
        page::token(&self.filter, last)
    }

    /// Takes the page from what was read; `key` is what [`Page::after`] is told next time.
    pub(crate) fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> String) -> Listed<T> {
        let more = rows.len() > self.size();
        rows.truncate(self.size());
        let last = rows.last().filter(|_| more).map(key);
        let next = last.map(|last| self.next(&last)).unwrap_or_default();
        Listed { rows, next }
    }
}
