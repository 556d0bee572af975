//! What can go wrong with what is kept: jobs, batches and files.

use shared::{db::retry_after, status::Fault};
use std::{sync::Arc, time::Duration};
use tonic::Code;
use tonic_types::ErrorDetails;

/// What there is none of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// A job.
    Job,
    /// A batch.
    Batch,
    /// A file.
    File,
    /// A response that an engine keeps.
    Response,
}

impl Thing {
    const fn word(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Batch => "batch",
            Self::File => "file",
            Self::Response => "response",
        }
    }
}

/// Why something could not be kept, found or changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Kept {
    /// The database is away, busy or refuses.
    #[error(
        "the database of jobs, files and invalidations cannot be reached at the moment; send the request again in a moment"
    )]
    Store(#[source] Arc<sqlx::Error>),
    /// The database was not there yet.
    #[error(
        "the database of jobs, files and invalidations cannot be reached yet; send the request again in a moment"
    )]
    NotOpen,
    /// A row holds something that this version does not understand.
    #[error("what is stored is not understood by this version; upgrade or repair it")]
    Corrupt(#[source] Arc<sqlx::Error>),
    /// It is not there, or is another's.
    #[error("there is no {} `{id}` of yours", thing.word())]
    Missing {
        /// What.
        thing: Thing,
        /// As it was asked for.
        id: String,
    },
    /// Nothing of it is left to cancel.
    #[error("it is over already; there is nothing left to cancel")]
    Over,
    /// Somebody has as much waiting as they may.
    #[error("{limit} of your jobs are not over, and more may not wait; try again when some are")]
    Full {
        /// How many.
        limit: u32,
    },
    /// Other work holds the lock.
    #[error("other work that names the lock `{lock}` is not over")]
    Locked {
        /// The lock.
        lock: String,
    },
    /// A file is larger than files may be.
    #[error("the file is larger than {limit} bytes; split it")]
    LargeFile {
        /// The limit.
        limit: u64,
    },
    /// Somebody's files are as much as they may be.
    #[error("your files may have {limit} bytes in all; delete some first")]
    NoRoom {
        /// The limit.
        limit: u64,
    },
    /// A file is not what its purpose needs.
    #[error("the file cannot be used: {problem}")]
    BadFile {
        /// What is wrong with it.
        problem: String,
    },
}

/// After how long a caller may ask again when nothing better is known.
const SOON: Duration = Duration::from_secs(1);
/// After how long some job may be over.
const LATER: Duration = Duration::from_secs(10);

impl From<sqlx::Error> for Kept {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Self::Corrupt(Arc::new(error)),
            error => Self::Store(Arc::new(error)),
        }
    }
}

impl Kept {
    /// It is not there, or is another's.
    pub(crate) fn missing(thing: Thing, id: impl Into<String>) -> Self {
        Self::Missing { thing, id: id.into() }
    }

    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => Fault::retry(Code::Unavailable, "STORE_UNAVAILABLE", retry_after(error)),
            Self::NotOpen => Fault::retry(Code::Unavailable, "STORE_UNAVAILABLE", SOON),
            Self::Corrupt(_) => Fault::new(Code::Internal, "STORE_CORRUPT"),
            Self::Missing { thing: Thing::Job, .. } => Fault::new(Code::NotFound, "JOB_NOT_FOUND"),
            Self::Missing { thing: Thing::Batch, .. } => Fault::new(Code::NotFound, "BATCH_NOT_FOUND"),
            Self::Missing { thing: Thing::File, .. } => Fault::new(Code::NotFound, "FILE_NOT_FOUND"),
            Self::Missing { thing: Thing::Response, .. } => Fault::new(Code::NotFound, "RESPONSE_NOT_FOUND"),
            Self::Over => Fault::new(Code::FailedPrecondition, "JOB_OVER"),
            Self::Full { .. } => Fault::retry(Code::ResourceExhausted, "JOBS_FULL", LATER),
            Self::Locked { .. } => Fault::new(Code::AlreadyExists, "LOCKED"),
            Self::LargeFile { .. } => Fault::new(Code::InvalidArgument, "FILE_TOO_LARGE"),
            Self::NoRoom { .. } => Fault::new(Code::ResourceExhausted, "FILES_FULL"),
            Self::BadFile { .. } => Fault::new(Code::InvalidArgument, "FILE_MALFORMED"),
        }
    }

    pub(super) fn describe(&self, details: &mut ErrorDetails) {
        match self {
            Self::Missing { thing, id } => {
                details.set_resource_info(thing.word(), id, "", "not there, or not yours");
            }
            Self::Locked { lock } => {
                details.set_resource_info("lock", lock, "", "held");
            }
            Self::Full { .. } => {
                details.add_quota_failure_violation("user", "as many jobs wait as may");
            }
            Self::NoRoom { .. } => {
                details.add_quota_failure_violation("user", "the files are as large as they may be in all");
            }
            Self::BadFile { problem } => {
                details.add_bad_request_violation("file", problem);
            }
            Self::LargeFile { .. } => {
                details.add_bad_request_violation("file", "is too large");
            }
            _ => {}
        }
    }
}
