//! Every grant as of one revision, read in parts from one transaction.

use crate::{
    error::Error,
    grants::{Filter, Grant},
    store::{self, events},
    token::Token,
};
use futures_util::Stream;
use policy::ModelId;
use shared::db::{Db, Tx};
use uuid::Uuid;

/// Grants of one part.
const PART: i64 = 1_000;

/// A part of the export.
#[derive(Debug)]
pub(crate) struct Part {
    /// What all of it is as of; in the first part alone.
    pub(crate) token: String,
    pub(crate) grants: Vec<Grant>,
}

struct Export {
    tx: Tx,
    token: String,
    filter: Filter,
    after: Uuid,
}

/// The grants, on one model or on all. There is at least one part.
pub(crate) async fn grants(
    db: &Db,
    model: Option<ModelId>,
) -> Result<impl Stream<Item = Result<Part, Error>> + Send + use<>, Error> {
    let mut tx = db.begin_read().await?;
    let head = events::head_in(&mut tx).await?;
    let token = Token { epoch: head.epoch, revision: head.revision }.encode();
    let export = Export { tx, token, filter: Filter { model, ..Filter::default() }, after: Uuid::nil() };
    Ok(futures_util::stream::unfold(Some(export), |export| async {
        let mut export = export?;
        match export.part().await {
            Ok(part) if part.grants.is_empty() && part.token.is_empty() => None,
            Ok(part) => Some((Ok(part), Some(export))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl Export {
    async fn part(&mut self) -> Result<Part, Error> {
        let grants = store::grants::list_in(&mut self.tx, &self.filter, self.after, PART).await?;
        if let Some(last) = grants.last() {
            self.after = last.fact.id.uuid();
        }
        Ok(Part { token: std::mem::take(&mut self.token), grants })
    }
}
