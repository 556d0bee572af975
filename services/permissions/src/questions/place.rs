//! Where a list goes on: the state its first page was made from, and the last row of the page before.
//!
//! Pages of one list are made from one state as long as that can be had. When it cannot, the list goes on from the
//! current one and says so.

use crate::{
    error::Error,
    freshness::{Consistency, Moment, View, settle},
    history::History,
    list::Page,
    tail::Tail,
    token::Token,
};
use shared::page::PageError;
use std::time::Duration;

/// The state and the row that a page starts from.
#[derive(Debug)]
pub(crate) struct Place {
    first: Option<(Token, String)>,
    row: String,
}

impl Place {
    /// Reads it from the page's token.
    pub(crate) fn of(tail: &Tail, page: &Page) -> Result<Self, Error> {
        if page.after().is_empty() {
            return Ok(Self { first: None, row: String::new() });
        }
        let (token, row) = page.after().split_once(' ').ok_or_else(|| Error::page(PageError::Token))?;
        let first = tail.tokens().decode("page_token", token)?;
        Ok(Self { first: Some((first, token.to_owned())), row: row.to_owned() })
    }

    /// The state to make the page from: as fresh as asked for if it is the first one.
    pub(crate) async fn settle(
        &self,
        history: &History,
        wanted: Consistency,
        left: Duration,
    ) -> Result<Moment, Error> {
        let Some((first, _)) = self.first else { return settle(history, wanted, left).await };
        if history.tail().place() == Some(first) {
            return Ok(Moment::Now);
        }
        match settle(history, Consistency::AtRevision(first), left).await {
            Err(Error::TooLongAgo { .. } | Error::OtherEpoch { .. } | Error::Store(_) | Error::PastBusy) => {
                Ok(Moment::Now)
            }
            settled => settled,
        }
    }

    /// The row after which the page starts.
    pub(crate) fn row(&self) -> &str {
        &self.row
    }

    /// Whether the page is made from another state than the first one.
    pub(crate) fn drifted(&self, view: &View<'_>) -> bool {
        self.first.as_ref().is_some_and(|(first, _)| *first != view.place())
    }

    /// What the next page's token says; `view` is what this page is made from.
    pub(crate) fn next(&self, view: &View<'_>, row: &str) -> String {
        let token = self.first.as_ref().map_or_else(|| view.token(), |(_, token)| token.clone());
        format!("{token} {row}")
    }
}
