//! What can go wrong, and what a caller is told of it. Reasons are listed in `docs/errors.md`.

mod sign_in;

pub use sign_in::SignInError;

use crate::{approval, sessions::RefreshError, store::StoreError};
use policy::Revision;
use shared::{
    auth::Refusal,
    limits::{self, Refused},
    page::PageError,
    seal::SealError,
    status::{DOMAIN, Fault, IntoStatus},
};
use std::{borrow::Cow, collections::HashMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::ErrorDetails;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field breaks its rules.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field as the contract names it.
        field: Cow<'static, str>,
        /// What it must be.
        problem: String,
    },
    /// The request names something that is not there.
    #[error("there is no {kind} {id}")]
    NotFound {
        /// What kind of thing.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// What should be created is there already.
    #[error("there is already a {kind} {with}")]
    Exists {
        /// What kind of thing.
        kind: &'static str,
        /// In what it is the same.
        with: &'static str,
    },
    /// The caller may call this method, but not for this object.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// One operation of an atomic batch failed, so none was done.
    #[error("operations[{index}]: {error}; nothing was done")]
    Operation {
        /// Its place in the batch, from 0.
        index: usize,
        /// Why.
        error: Box<Self>,
    },
    /// A part of an import does not follow what was taken in.
    #[error("offset: the next part of this import starts at {next}")]
    ImportGap {
        /// Where the next part starts.
        next: u64,
    },
    /// A group would be in itself.
    #[error("the group would become a member of itself; take it out of the other group first")]
    GroupCycle,
    /// The key was revoked or is past its end, and stays so.
    #[error("the key was revoked or has ended; create another one")]
    KeyEnded,
    /// A set would be in itself.
    #[error("the set would be in itself; take it out of the other set first")]
    SetCycle,
    /// What should be changed is no longer as the caller read it.
    #[error("it has changed since it was read; read it again, and send the change with the new etag")]
    EtagMismatch,
    /// The caller asks for what they have.
    #[error("you may do this with this model already")]
    AlreadyAllowed,
    /// The caller asks for what a deny stands against.
    #[error("a deny stands against it, which no approval lifts; ask whoever may manage the model")]
    DenyStands,
    /// The caller broke the glass before, and nobody has looked at it yet.
    #[error("an earlier use of break_glass waits for its review; ask without it")]
    ReviewOutstanding,
    /// A request for access does not stand so that this could be done.
    #[error("{0}")]
    Approval(ApprovalRefusal),
    /// Nobody would be left who may do everything.
    #[error("this is the last enabled owner; make another user owner first")]
    LastOwner,
    /// A revision or time of which nothing is known, not any more or not yet.
    #[error("only the revisions {earliest} to {latest} are known; ask for one of them")]
    NotKept {
        /// The first one whose state is known.
        earliest: Revision,
        /// The last one.
        latest: Revision,
    },
    /// A watcher does not read as fast as things happen.
    #[error("this watch reads too slowly and was ended; go on from the resume token")]
    TooSlow {
        /// Leads on after the last message.
        resume_token: String,
    },
    /// The store is not the one that the watch began with.
    #[error("the store was restored or replaced; read the state anew and begin without a token")]
    StoreReplaced,
    /// The credential in the request is none.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody was signed in.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The settings are not usable.
    #[error("the configuration has faults: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The caller has seen a later revision than this process.
    #[error("the revision of the token has not arrived here yet; try again in a moment")]
    NotYetApplied,
    /// The token is of before the store was restored or replaced.
    #[error("{field}: is of a store that was replaced since; ask again without it")]
    OtherEpoch {
        /// Where the token stands.
        field: &'static str,
    },
    /// The token is of another installation.
    #[error("{field}: is of another installation; send one that this installation handed out")]
    OtherCluster {
        /// Where the token stands.
        field: &'static str,
    },
    /// What is asked for lies further back than events are kept.
    #[error(
        "{field}: lies further back than events are kept, so that state is not known any more; ask for revision \
        {earliest} or a later one"
    )]
    TooLongAgo {
        /// What was asked for.
        field: &'static str,
        /// The first revision whose state is known.
        earliest: Revision,
    },
    /// Too many different states of the past are asked for at once.
    #[error("too many states of the past are being worked out; try again in a moment")]
    PastBusy,
    /// This process has lost touch with the store for too long to answer.
    #[error("permissions have not been refreshed for too long to be relied on; try again in a moment")]
    Stale,
    /// This process is about to end.
    #[error("this process is shutting down; connect again")]
    Stopping,
    /// The store failed.
    #[error("the permission store cannot be reached; try again in a moment")]
    Store(#[source] StoreError),
    /// The store holds what this version does not understand.
    #[error(
        "the permission store holds something that this version does not understand; upgrade or repair it"
    )]
    Corrupt(#[source] StoreError),
    /// There is nothing to encrypt with.
    #[error("permissions.encryption_keys: {0}")]
    EncryptionKeys(&'static str),
    /// An encrypted value cannot be read.
    #[error("a stored value cannot be decrypted; check that every encryption key in use is configured")]
    Sealed(#[from] SealError),
    /// The answer kept for a repeated request is not one of this version.
    #[error("this request was answered by another version; ask again with a new request_id")]
    UnreadableAnswer,
    /// Wrong address, wrong password, or somebody who may not sign in: which of them is not said.
    #[error("the e-mail address or the password is not right")]
    SignInRefused,
    /// Too many tries failed, or too many are made at once.
    #[error("too many tries to sign in; wait before the next one")]
    SignInLimited {
        /// How long.
        after: Duration,
    },
    /// A limit is used up.
    #[error(transparent)]
    Limited(#[from] Refused),
    /// The refresh token carries nothing any more.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// There is no key to sign access tokens with.
    #[error("no access token can be signed at the moment; try again in a moment")]
    NoSigningKey,
    /// A password could not be hashed.
    #[error("a password could not be hashed")]
    Hash(#[source] argon2::password_hash::Error),
}

/// What a caller may not do to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Only an owner touches owners.
    #[error("only an owner may create, change or act for an owner")]
    OwnerRequired,
    /// Changing a model or a set and its grants needs `manage`.
    #[error("you may not manage this model or set; ask its owner, or an owner or admin")]
    ManageRequired,
    /// Only owners and admins see and do this.
    #[error("only an owner or admin may do this; ask one of them")]
    AdminRequired,
    /// Only approvers decide about a request.
    #[error("only an approver of this request may do this")]
    ApproverRequired,
    /// This is another user's affair.
    #[error("you may only do this for yourself; ask an owner or admin")]
    NotYourself,
    /// The credential is a key for some models, and this goes beyond them.
    #[error("the API key of this request is limited to its own models; use another one")]
    KeyNarrowed,
    /// The current password was asked for, and this is not it.
    #[error("the current password is not right")]
    PasswordWrong,
}

impl Error {
    /// A field that breaks its rules.
    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// The same about a part of a request: what it says of a field is of that field in the part.
    pub(crate) fn within(self, part: impl std::fmt::Display) -> Self {
        match self {
            Self::Invalid { field, problem } => Self::invalid(format!("{part}.{field}"), problem),
            other => other,
        }
    }

    /// Something that is not there.
    pub(crate) fn not_found(kind: &'static str, id: impl ToString) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    /// A grant like this is there.
    pub(crate) const fn grant_exists() -> Self {
        Self::Exists { kind: "grant", with: "of the same grantee, model or set, action and effect" }
    }

    /// The error as that of one operation of a batch.
    pub(crate) fn of_operation(self, index: usize) -> Self {
        Self::Operation { index, error: Box::new(self) }
    }

    /// A page that cannot be.
    pub(crate) fn page(error: PageError) -> Self {
        let field = if matches!(error, PageError::Size(_)) { "page_size" } else { "page_token" };
        Self::invalid(field, error.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(_) => Self::Store(error),
            StoreError::Shared(ref fault) if matches!(**fault, StoreError::Database(_)) => Self::Store(error),
            StoreError::Corrupt(_) | StoreError::Unwritable(_) | StoreError::Shared(_) => {
                Self::Corrupt(error)
            }
            StoreError::Sealed(error) => Self::Sealed(error),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        StoreError::Database(error).into()
    }
}

impl IntoStatus for Error {
    fn fault(&self) -> Fault {
        let soon = Duration::from_millis(250);
        let later = Duration::from_secs(1);
        match self {
            Self::Invalid { .. } => Fault::new(Code::InvalidArgument, "INVALID_FIELD"),
            Self::NotFound { .. } => Fault::new(Code::NotFound, "NOT_FOUND"),
            Self::Operation { error, .. } => error.fault(),
            Self::ImportGap { .. } => Fault::new(Code::OutOfRange, "IMPORT_GAP"),
            Self::Exists { .. } => Fault::new(Code::AlreadyExists, "ALREADY_EXISTS"),
            Self::Forbidden(forbidden) => Fault::new(Code::PermissionDenied, forbidden.reason()),
            Self::GroupCycle => Fault::new(Code::FailedPrecondition, "GROUP_CYCLE"),
            Self::KeyEnded => Fault::new(Code::FailedPrecondition, "KEY_ENDED"),
            Self::SetCycle => Fault::new(Code::FailedPrecondition, "SET_CYCLE"),
            Self::EtagMismatch => Fault::new(Code::Aborted, "ETAG_MISMATCH"),
            Self::AlreadyAllowed => Fault::new(Code::FailedPrecondition, "ALREADY_ALLOWED"),
            Self::DenyStands => Fault::new(Code::FailedPrecondition, "DENY_STANDS"),
            Self::ReviewOutstanding => Fault::new(Code::FailedPrecondition, "REVIEW_OUTSTANDING"),
            Self::Approval(refusal) => refusal.fault(),
            Self::LastOwner => Fault::new(Code::FailedPrecondition, "LAST_OWNER"),
            Self::NotKept { .. } => Fault::new(Code::OutOfRange, "REVISION_NOT_KEPT"),
            Self::TooSlow { .. } => Fault::retry(Code::ResourceExhausted, "WATCHER_TOO_SLOW", soon),
            Self::StoreReplaced => Fault::new(Code::Aborted, "STORE_REPLACED"),
            Self::Refused(refusal) => refusal.fault(),
            Self::SignIn(error) => error.fault(),
            Self::Config(_) => Fault::new(Code::Internal, "CONFIGURATION_INVALID"),
            Self::NotYetApplied => Fault::retry(Code::Unavailable, "REVISION_NOT_YET_APPLIED", soon),
            Self::OtherEpoch { .. } => Fault::new(Code::InvalidArgument, "TOKEN_OF_ANOTHER_EPOCH"),
            Self::OtherCluster { .. } => Fault::new(Code::InvalidArgument, "TOKEN_OF_ANOTHER_CLUSTER"),
            Self::TooLongAgo { .. } => Fault::new(Code::OutOfRange, "REVISION_OUT_OF_RANGE"),
            Self::PastBusy => Fault::retry(Code::Unavailable, "PAST_BUSY", later),
            Self::Stale => Fault::retry(Code::Unavailable, "POLICY_STALE", later),
            Self::Stopping => Fault::retry(Code::Unavailable, "SHUTTING_DOWN", later),
            Self::Store(error) => Fault::retry(Code::Unavailable, "STORE_UNAVAILABLE", error.retry_after()),
            Self::Corrupt(_) => Fault::new(Code::Internal, "STORE_CORRUPT"),
            Self::EncryptionKeys(_) => Fault::new(Code::Internal, "ENCRYPTION_KEY_MISSING"),
            Self::Sealed(_) => Fault::new(Code::Internal, "ENCRYPTION_KEY_MISSING"),
            Self::UnreadableAnswer => Fault::new(Code::FailedPrecondition, "ANSWER_OF_ANOTHER_VERSION"),
            Self::SignInRefused => Fault::new(Code::Unauthenticated, "SIGN_IN_REFUSED"),
            Self::Limited(refused) => {
                Fault::retry(Code::ResourceExhausted, limits::REASON, refused.retry_after())
            }
            Self::SignInLimited { after } => Fault::retry(Code::ResourceExhausted, "SIGN_IN_LIMITED", *after),
            Self::Refresh(refresh) => Fault::new(Code::Unauthenticated, refresh.reason()),
            Self::NoSigningKey => Fault::retry(Code::Unavailable, "SIGNING_KEY_MISSING", later),
            Self::Hash(_) => Fault::new(Code::Internal, "HASH_FAILED"),
        }
    }

    fn describe(&self, details: &mut ErrorDetails) {
        match self {
            Self::Invalid { field, problem } => {
                details.add_bad_request_violation(field.as_ref(), problem.as_str());
            }
            Self::OtherEpoch { field } => {
                details.add_bad_request_violation(*field, "is of a store that was replaced");
            }
            Self::OtherCluster { field } => {
                details.add_bad_request_violation(*field, "is of another installation");
            }
            Self::TooLongAgo { field, earliest } => {
                self.inform(details, [("earliest_revision", earliest.to_string())]);
                details.add_bad_request_violation(*field, "lies further back than events are kept");
            }
            Self::Limited(refused) => refused.describe(details),
            Self::Operation { error, .. } => error.describe(details),
            Self::NotFound { kind, id } => {
                details.set_resource_info(*kind, id.as_str(), "", "does not exist");
            }
            Self::Exists { kind, with } => {
                details.set_resource_info(*kind, "", "", format!("one {with} exists"));
            }
            Self::NotKept { earliest, latest } => {
                let known =
                    [("earliest_revision", earliest.to_string()), ("latest_revision", latest.to_string())];
                self.inform(details, known);
            }
            Self::TooSlow { resume_token } => self.inform(details, [("resume_token", resume_token.clone())]),
            Self::GroupCycle => {
                details.add_precondition_failure_violation("GROUP_CYCLE", "membership", self.to_string());
            }
            Self::KeyEnded => {
                details.add_precondition_failure_violation("KEY_ENDED", "key", self.to_string());
            }
            Self::SetCycle => {
                details.add_precondition_failure_violation("SET_CYCLE", "items", self.to_string());
            }
            Self::LastOwner => {
                details.add_precondition_failure_violation("LAST_OWNER", "user", self.to_string());
            }
            Self::AlreadyAllowed | Self::DenyStands | Self::ReviewOutstanding | Self::Approval(_) => {
                let fault = self.fault();
                details.add_precondition_failure_violation(fault.reason, "access request", self.to_string());
            }
            _ => {}
        }
    }
}

impl Error {
    /// Adds what a program goes on with to the ErrorInfo.
    fn inform<const N: usize>(&self, details: &mut ErrorDetails, words: [(&str, String); N]) {
        let metadata: HashMap<String, String> =
            words.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        details.set_error_info(self.fault().reason, DOMAIN, metadata);
    }
}

/// Why something cannot be done to a request for access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ApprovalRefusal(#[from] approval::Refusal);

impl From<approval::Refusal> for Error {
    fn from(refusal: approval::Refusal) -> Self {
        Self::Approval(ApprovalRefusal(refusal))
    }
}

impl ApprovalRefusal {
    const fn fault(self) -> Fault {
        use approval::Refusal::{
            AlreadyApproved, GlassNotBreakable, NotPending, NotRequester, NothingToReview, OwnRequest,
        };
        let reason = match self.0 {
            NotPending => "REQUEST_NOT_PENDING",
            AlreadyApproved => "ALREADY_APPROVED",
            NothingToReview => "NOTHING_TO_REVIEW",
            GlassNotBreakable => "BREAK_GLASS_NOT_ALLOWED",
            OwnRequest => return Fault::new(Code::PermissionDenied, "OWN_REQUEST"),
            NotRequester => return Fault::new(Code::PermissionDenied, "NOT_YOURSELF"),
        };
        Fault::new(Code::FailedPrecondition, reason)
    }
}

impl Forbidden {
    const fn reason(self) -> &'static str {
        match self {
            Self::OwnerRequired => "OWNER_REQUIRED",
            Self::ManageRequired => "MANAGE_REQUIRED",
            Self::AdminRequired => "ADMIN_REQUIRED",
            Self::ApproverRequired => "APPROVER_REQUIRED",
            Self::NotYourself => "NOT_YOURSELF",
            Self::KeyNarrowed => "KEY_NARROWED",
            Self::PasswordWrong => "PASSWORD_WRONG",
        }
    }
}

impl RefreshError {
    const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "REFRESH_TOKEN_UNKNOWN",
            Self::Reused => "REFRESH_TOKEN_REUSED",
            Self::Expired => "SESSION_EXPIRED",
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal.into(),
            error => error.into_status(),
        }
    }
}
