//! Imports that can be taken up again: a part is taken in together with how far the import has come, so whatever
//! breaks, a caller asks where to go on, or sends everything again.
//!
//! What a part is made of, `batches` (grants) and `users::import` know.

use crate::{error::Error, store, write::Write};
use policy::{Time, UserId};
use serde::{Deserialize, Serialize};
use shared::{db::Db, status::IntoStatus};
use uuid::Uuid;

/// Rows of one part.
pub(crate) const MOST: usize = 1_000;
/// Failures that are kept.
const FAILURES: usize = 100;

/// What is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Grants,
    Users,
}

impl Kind {
    /// The word it is kept as.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Grants => "grants",
            Self::Users => "users",
        }
    }

    /// What a row is called in a request.
    const fn rows(self) -> &'static str {
        match self {
            Self::Grants => "grants",
            Self::Users => "rows",
        }
    }
}

/// How far an import has come.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) id: Uuid,
    pub(crate) kind: Kind,
    pub(crate) next: u64,
    pub(crate) created: u64,
    pub(crate) existing: u64,
    pub(crate) failed: u64,
    /// The first failures.
    pub(crate) failures: Vec<Failure>,
    pub(crate) at: Time,
}

/// One row that was not taken over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Its place in the whole.
    pub(crate) offset: u64,
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// The field that broke its rules, and what is wrong with it.
    #[serde(default)]
    pub(crate) violation: Option<(String, String)>,
}

/// What became of a row that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Created,
    /// It was there already; nothing was changed.
    Existing,
}

/// Where an import stands, which begins with its first part. `before` is where a trial stands: nothing is kept of it.
pub(crate) async fn stand(
    write: &mut Write,
    kind: Kind,
    id: Uuid,
    before: Option<Progress>,
) -> Result<Progress, Error> {
    let known = if write.origin.validate_only && before.is_some() {
        before
    } else {
        store::imports::find(&mut write.tx, &write.origin.name(), id).await?
    };
    let progress = known.unwrap_or_else(|| Progress::new(kind, id, write.now()));
    if progress.kind == kind {
        Ok(progress)
    } else {
        let problem = format!("is that of an import of {}; take another one", progress.kind.as_str());
        Err(Error::invalid("begin.import_id", problem))
    }
}

/// How far an import of the caller's has come.
pub(crate) async fn progress(db: &Db, caller: UserId, kind: Kind, id: Uuid) -> Result<Progress, Error> {
    let mut tx = db.begin_read().await?;
    let found = store::imports::find(&mut tx, &caller.to_string(), id).await?;
    tx.commit().await?;
    found.filter(|found| found.kind == kind).ok_or_else(|| Error::not_found("import", id))
}

impl Progress {
    const fn new(kind: Kind, id: Uuid, now: Time) -> Self {
        Self { id, kind, next: 0, created: 0, existing: 0, failed: 0, failures: Vec::new(), at: now }
    }

    /// How many rows of a part that stands there were taken in before.
    pub(crate) fn over(&self, offset: u64) -> Result<usize, Error> {
        match self.next.checked_sub(offset) {
            Some(over) => Ok(usize::try_from(over).unwrap_or(usize::MAX)),
            None => Err(Error::ImportGap { next: self.next }),
        }
    }

    /// Goes on by what became of the next rows, and keeps that.
    pub(crate) async fn advance(
        mut self,
        write: &mut Write,
        results: impl IntoIterator<Item = Result<Taken, Error>>,
    ) -> Result<Self, Error> {
        let before = self.next;
        for result in results {
            match result {
                Ok(Taken::Created) => self.created += 1,
                Ok(Taken::Existing) => self.existing += 1,
                Err(error) => self.fail(error),
            }
            self.next += 1;
        }
        if self.next > before {
            self.at = write.now();
            store::imports::put(&mut write.tx, &write.origin.name(), &self).await?;
        }
        Ok(self)
    }

    fn fail(&mut self, error: Error) {
        self.failed += 1;
        if self.failures.len() < FAILURES {
            let error = error.within(format!("{}[{}]", self.kind.rows(), self.next));
            let fault = error.fault();
            self.failures.push(Failure {
                offset: self.next,
                code: fault.code.into(),
                reason: fault.reason.to_owned(),
                message: error.to_string(),
                violation: match error {
                    Error::Invalid { field, problem } => Some((field.into_owned(), problem)),
                    _ => None,
                },
            });
        }
    }
}
