//! Batches: a file of requests, run line by line in class batch, on what the engines have to spare.
//!
//! A batch is a job of the same id. Whoever holds its claim reads the file ([`check`]), asks for each line ([`line`]),
//! keeps what was answered ([`keep`]), and writes the files of the answers ([`finalize`]); [`run`] is all of that. What
//! was kept is not asked again, so that each line is in the output once, whatever becomes of the gateways.

mod check;
mod finalize;
mod keep;
pub(crate) mod line;
mod places;
pub mod run;

use crate::{
    error::{Error, Kept, Thing},
    jobs::Jobs,
    prompt::Endpoint,
    store,
};
use policy::{Time, UserId};
use serde::{Deserialize, Serialize};
use shared::{seal::rows::Vault, time};
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

const DAY: u64 = 24 * 60 * 60;
/// Pairs of metadata, characters of a name, characters of a value.
const METADATA: (usize, usize, usize) = (16, 64, 512);

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its file is being read.
    Validating,
    /// Its file is not as it must be.
    Failed,
    /// Its lines are asked.
    InProgress,
    /// Its output is being written.
    Finalizing,
    /// All of it is done.
    Completed,
    /// Its time was over before.
    Expired,
    /// Its owner wants it no more.
    Cancelling,
    /// The same, and that is done.
    Cancelled,
}

impl Status {
    const ALL: [Self; 8] = [
        Self::Validating,
        Self::Failed,
        Self::InProgress,
        Self::Finalizing,
        Self::Completed,
        Self::Expired,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// The number in the table; never given to another one.
    pub(crate) const fn number(self) -> i32 {
        match self {
            Self::Validating => 1,
            Self::Failed => 2,
            Self::InProgress => 3,
            Self::Finalizing => 4,
            Self::Completed => 5,
            Self::Expired => 6,
            Self::Cancelling => 7,
            Self::Cancelled => 8,
        }
    }

    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }

    /// As OpenAI's API says it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Lines that are done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered.
    pub completed: u32,
    /// Refused or failed.
    pub failed: u32,
}

/// The route that a path names, where it is one that can be asked in the background.
///
/// # Errors
/// [`Error::Invalid`] that names those that can.
pub(crate) fn endpoint(path: &str) -> Result<Endpoint, Error> {
    let problem = "must be /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings, /v1/rerank or /v1/score";
    let known = path.parse().ok().filter(|endpoint: &Endpoint| endpoint.has_batches());
    known.ok_or(Error::Invalid { param: "endpoint", problem })
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// In snake_case.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// The field that it is about.
    pub param: Option<String>,
    /// Counted from 1; nothing when it is about the whole file.
    pub line: Option<u32>,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of OpenAI's object")]
pub struct Batch {
    pub id: Uuid,
    pub owner: Uuid,
    pub input: Uuid,
    pub endpoint: Endpoint,
    pub window: String,
    pub metadata: BTreeMap<String, String>,
    pub status: Status,
    pub faults: Vec<Fault>,
    pub total: u32,
    pub counts: Counts,
    pub output: Option<Uuid>,
    pub error_output: Option<Uuid>,
    pub created: Time,
    pub expires: Time,
    pub in_progress: Option<Time>,
    pub finalizing: Option<Time>,
    pub cancelling: Option<Time>,
    pub ended: Option<Time>,
}

/// A batch to be made.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// The file, by its id.
    pub input: Uuid,
    /// What each line asks.
    pub endpoint: Endpoint,
    /// How long it may take; empty: a day.
    pub window: String,
    /// Whatever its owner wants to remember.
    pub metadata: BTreeMap<String, String>,
    /// How long what it writes is kept.
    pub keep: Option<Duration>,
}

/// The id of a batch as callers write it.
#[must_use]
pub fn name(id: Uuid) -> String {
    format!("batch_{}", id.simple())
}

/// An id as callers write it, or as their job's.
///
/// # Errors
/// When there can be no such batch.
pub fn id(name: &str) -> Result<Uuid, Error> {
    let id = name.strip_prefix("batch_").unwrap_or(name).parse();
    Ok(id.map_err(|_| Kept::missing(Thing::Batch, name))?)
}

/// Makes one, to be entered.
pub(crate) async fn prepare(
    vault: &Vault,
    id: Uuid,
    owner: UserId,
    new: NewBatch,
    now: Time,
) -> Result<Batch, Error> {
    check_metadata(&new.metadata)?;
    let window = if new.window.is_empty() { "24h".to_owned() } else { new.window };
    let expires = now.plus(window_of(&window)?);
    let input = store::files::get(vault, new.input, owner.uuid(), now).await?;
    let input = input.ok_or_else(|| Kept::missing(Thing::File, crate::files::name(new.input)))?;
    if input.purpose != crate::files::BATCH {
        return Err(Error::Invalid {
            param: "input_file_id",
            problem: "must be a file with purpose `batch`",
        });
    }
    Ok(Batch {
        id,
        owner: owner.uuid(),
        input: input.id,
        endpoint: new.endpoint,
        window,
        metadata: new.metadata,
        status: Status::Validating,
        faults: Vec::new(),
        total: 0,
        counts: Counts::default(),
        output: None,
        error_output: None,
        created: now,
        expires,
        in_progress: None,
        finalizing: None,
        cancelling: None,
        ended: None,
    })
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), Error> {
    let (pairs, name, value) = METADATA;
    let long = |text: &str, most: usize| text.chars().nth(most).is_some() || text.contains('\0');
    if metadata.len() > pairs || metadata.iter().any(|(key, said)| long(key, name) || long(said, value)) {
        let problem = "may have 16 pairs, with names of up to 64 characters and values of up to 512";
        return Err(Error::Invalid { param: "metadata", problem });
    }
    Ok(())
}

/// A duration such as `24h`.
fn window_of(text: &str) -> Result<Duration, Error> {
    let invalid = Error::Invalid {
        param: "completion_window",
        problem: "must be a number and s, m, h or d, up to 30d",
    };
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 60 * 60,
        Some(b'd') => DAY,
        _ => return Err(invalid),
    };
    let number: Option<u64> = text.get(..text.len() - 1).and_then(|number| number.parse().ok());
    let seconds = number.and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| (1..=30 * DAY).contains(seconds)).map(Duration::from_secs).ok_or(invalid)
}

impl Jobs {
    /// A batch of somebody's.
    ///
    /// # Errors
    /// When there is none, or the store is away.
    pub async fn batch(&self, id: Uuid, owner: UserId) -> Result<Batch, Error> {
        let found = store::batches::get(self.store.vault()?, id, owner.uuid()).await?;
        Ok(found.ok_or_else(|| Kept::missing(Thing::Batch, name(id)))?)
    }

    /// Somebody's batches, the newest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn batches(
        &self,
        owner: UserId,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Batch>, Error> {
        store::batches::page(self.store.vault()?, owner.uuid(), before, limit).await
    }

    /// Cancels a batch of somebody's.
    ///
    /// # Errors
    /// [`Kept::Over`] when there is nothing left to cancel.
    pub async fn cancel_batch(&self, id: Uuid, owner: UserId) -> Result<Batch, Error> {
        self.batch(id, owner).await?;
        self.cancel(id, owner).await?;
        self.batch(id, owner).await
    }
}

/// The time now, for those below that are not told.
fn now() -> Time {
    time::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_numbers_with_units() {
        let seconds = |text| window_of(text).ok().map(|window| window.as_secs());
        assert_eq!([seconds("24h"), seconds("90s"), seconds("1d")], [Some(86_400), Some(90), Some(86_400)]);
        for wrong in ["", "h", "24", "0s", "31d", "-1h", "1 h", "h24", "99999999999999999999d", "1ü"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ids_are_written_in_two_ways() {
        let made = Uuid::now_v7();
        assert_eq!((id(&name(made)).ok(), id(&made.to_string()).ok()), (Some(made), Some(made)));
        assert!(id("batch_x").is_err());
    }
}
