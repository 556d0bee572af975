//! Everything that can go wrong with a prompt, and what a caller is told.

mod kept;

pub use kept::{Kept, Thing};

use crate::{gateways::forward, prompt::Prompt};
use shared::{
    auth::Refusal,
    limits::{self, Refused},
    status::{Fault, IntoStatus},
};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::ErrorDetails;

/// Why a request was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The body is not what the route reads.
    #[error("{0}")]
    Malformed(String),
    /// One field is not what it should be.
    #[error("`{param}` {problem}")]
    Invalid {
        /// The field.
        param: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The body is larger than is read.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Nobody asks.
    #[error(transparent)]
    Unauthenticated(#[from] Refusal),
    /// No model of that name is registered.
    #[error("the model `{model}` does not exist, or you do not have access to it")]
    UnknownModel {
        /// The name.
        model: String,
    },
    /// The policy says no.
    #[error("you may not use the model `{model}` ({reason}); ask its owner for a grant")]
    Denied {
        /// The model's name.
        model: String,
        /// The policy's reason.
        reason: &'static str,
    },
    /// The local policy is too old to decide.
    #[error("permissions cannot be checked at the moment; try again")]
    PolicyUnavailable,
    /// More wait than may.
    #[error("the queue of `{model}` is full; try again in {} s", retry_after.as_secs())]
    QueueFull {
        /// The model's name.
        model: String,
        /// When a place will be free, as predicted.
        retry_after: Duration,
    },
    /// It could not be answered in the time that its class is promised.
    #[error(
        "`{model}` is too busy to answer in the time of this priority; try again in {} s, or with a lower priority",
        retry_after.as_secs()
    )]
    Late {
        /// The model's name.
        model: String,
        /// When it could be, as predicted.
        retry_after: Duration,
    },
    /// The deadline passed before an engine answered.
    #[error("the deadline passed before an engine answered")]
    Deadline,
    /// Nothing serves the model now.
    #[error("no healthy engine serves `{model}` at the moment; try again, or ask an operator")]
    NoEngine {
        /// The model's name.
        model: String,
    },
    /// The engine refused the request itself; its own words help the caller.
    #[error("{message}")]
    Refused {
        /// HTTP status, 400 to 499.
        status: u16,
        /// The engine's `type`.
        kind: String,
        /// The engine's `param`.
        param: Option<String>,
        /// The engine's message.
        message: String,
    },
    /// The engines of the model do not have the route.
    #[error(
        "`{model}` does not offer this route: its engines do not serve {route} (a chat model has no embeddings and no \
         scores, and the other way round)"
    )]
    NotServed {
        /// The model's name.
        model: String,
        /// The path on an engine.
        route: &'static str,
    },
    /// The engine that kept a response does not have it.
    #[error(
        "the engine that answered does not have `{id}` any more, or was not told to keep responses; send the conversation \
         again instead of naming it"
    )]
    ResponseLost {
        /// Its name.
        id: Box<str>,
    },
    /// All engines tried failed before their first byte.
    #[error("the engines failed to answer ({cause}); it is safe to try again")]
    EngineFailed {
        /// What the last one did.
        cause: &'static str,
    },
    /// No engine of that name is known.
    #[error("there is no engine `{name}`; `GET /api/v1/engines` lists them")]
    UnknownEngine {
        /// The name.
        name: String,
    },
    /// No request of that id waits.
    #[error("no request `{usage_id}` waits here; it has started, has ended, or waits at another gateway")]
    NotQueued {
        /// The id.
        usage_id: uuid::Uuid,
    },
    /// An operator took the request out of the queue.
    #[error("an operator took this request out of the queue: {reason}")]
    Withdrawn {
        /// What they said.
        reason: String,
    },
    /// What an operator said could not be written down.
    #[error(
        "the data folder cannot be written, so this would be forgotten at the next start; nothing was changed"
    )]
    NotKept,
    /// Another gateway owns the engines of this model.
    #[error("another gateway serves this model; try again")]
    Elsewhere,
    /// Another gateway refused it, in its words.
    #[error("{}", .0.status.message())]
    Forwarded(Box<forward::Refused>),
    /// A hard budget has no room for it.
    #[error(
        "the budget `{budget}` has no room for this request; try again in {} s, ask for fewer tokens, or ask an admin to \
         raise it",
        retry_after.as_secs()
    )]
    BudgetExhausted {
        /// Its name.
        budget: String,
        /// When the window ends, or when this gateway may have more of it.
        retry_after: Duration,
    },
    /// Nobody knows what it costs, and a hard budget counts money.
    #[error("`{model}` has no price, and a hard budget counts what it costs; ask an admin to put one")]
    PriceUnknown {
        /// The model's own name.
        model: String,
    },
    /// A limit is used up.
    #[error(transparent)]
    Limited(#[from] Refused),
    /// Only what is urgent is served.
    #[error(
        "too little of this gateway works: only requests of the classes system and interactive are served; try again in {} s",
        retry_after.as_secs()
    )]
    Degraded {
        /// When it may be otherwise.
        retry_after: Duration,
    },
    /// The gateway is going to stop.
    #[error("this gateway is shutting down; try again")]
    Stopping,
    /// Its caller wants what is kept, and nothing is.
    #[error("no answer to this request is kept; leave out `only-if-cached` to have one made")]
    NotCached,
    /// Nobody remembers what was asked.
    #[error("answers are not made ahead: set `inference.cache.warm.enabled`")]
    WarmingOff,
    /// The name was given to another request before.
    #[error(
        "this Idempotency-Key was used for another request in the last hours; use a new one for each request"
    )]
    KeyReused,
    /// The account could not be written, so nothing was started.
    #[error("the usage journal cannot be written; try again later, and tell an operator")]
    Journal,
    /// Something about what is kept: jobs, batches, files, locks.
    #[error(transparent)]
    Kept(#[from] Kept),
}

impl Error {
    /// Whether all of its time was this gateway's: no engine and no other gateway was asked.
    pub(crate) const fn is_of_this_gateway(&self) -> bool {
        !matches!(
            self,
            Self::EngineFailed { .. }
                | Self::Refused { .. }
                | Self::NotServed { .. }
                | Self::ResponseLost { .. }
                | Self::Forwarded(_)
                | Self::Deadline
        )
    }

    /// The engines of a prompt's model do not have its route.
    pub(crate) fn not_served(prompt: &Prompt) -> Self {
        Self::NotServed { model: prompt.model.clone(), route: prompt.endpoint.path() }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Kept(error.into())
    }
}

/// After how long a caller may ask again when nothing better is known.
const SOON: Duration = Duration::from_secs(1);

impl IntoStatus for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::Malformed(_) => Fault::new(Code::InvalidArgument, "BODY_MALFORMED"),
            Self::Invalid { .. } => Fault::new(Code::InvalidArgument, "INVALID_FIELD"),
            Self::TooLarge { .. } => Fault::new(Code::InvalidArgument, "BODY_TOO_LARGE"),
            Self::Unauthenticated(refusal) => refusal.fault(),
            Self::UnknownModel { .. } => Fault::new(Code::NotFound, "MODEL_NOT_FOUND"),
            Self::Denied { .. } => Fault::new(Code::PermissionDenied, "MODEL_NOT_PERMITTED"),
            Self::PolicyUnavailable => Fault::retry(Code::Unavailable, "POLICY_UNAVAILABLE", SOON),
            Self::QueueFull { retry_after, .. } => {
                Fault::retry(Code::ResourceExhausted, "QUEUE_FULL", *retry_after)
            }
            Self::Late { retry_after, .. } => Fault::retry(Code::ResourceExhausted, "TOO_BUSY", *retry_after),
            Self::Deadline => Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            Self::NoEngine { .. } => Fault::retry(Code::Unavailable, "NO_ENGINE", SOON),
            Self::Refused { status: 404, .. } => Fault::new(Code::NotFound, "ENGINE_REFUSED"),
            Self::Refused { .. } => Fault::new(Code::InvalidArgument, "ENGINE_REFUSED"),
            Self::NotServed { .. } => Fault::new(Code::NotFound, "ROUTE_NOT_SERVED"),
            Self::ResponseLost { .. } => Fault::new(Code::NotFound, "RESPONSE_LOST"),
            Self::EngineFailed { .. } => Fault::retry(Code::Unavailable, "ENGINE_FAILED", SOON),
            Self::UnknownEngine { .. } => Fault::new(Code::NotFound, "ENGINE_NOT_FOUND"),
            Self::NotQueued { .. } => Fault::new(Code::NotFound, "REQUEST_NOT_QUEUED"),
            Self::Withdrawn { .. } => Fault::new(Code::Aborted, "REQUEST_WITHDRAWN"),
            Self::NotKept => Fault::retry(Code::Unavailable, "CORDON_NOT_KEPT", SOON),
            // Whoever passes it on says what the other gateway said.
            Self::Forwarded(refused) => Fault::new(refused.status.code(), "SERVED_ELSEWHERE"),
            Self::Elsewhere => Fault::retry(Code::Unavailable, "SERVED_ELSEWHERE", SOON),
            Self::Limited(refused) => {
                Fault::retry(Code::ResourceExhausted, limits::REASON, refused.retry_after())
            }
            Self::BudgetExhausted { retry_after, .. } => {
                Fault::retry(Code::ResourceExhausted, "BUDGET_EXHAUSTED", *retry_after)
            }
            Self::PriceUnknown { .. } => Fault::new(Code::FailedPrecondition, "PRICE_UNKNOWN"),
            Self::Degraded { retry_after } => Fault::retry(Code::Unavailable, "DEGRADED", *retry_after),
            Self::Stopping => Fault::retry(Code::Unavailable, "GATEWAY_STOPPING", SOON),
            Self::NotCached => Fault::new(Code::FailedPrecondition, "NOT_CACHED"),
            Self::WarmingOff => Fault::new(Code::FailedPrecondition, "WARMING_OFF"),
            Self::KeyReused => Fault::new(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"),
            Self::Journal => Fault::retry(Code::Unavailable, "JOURNAL_UNAVAILABLE", SOON),
            Self::Kept(kept) => kept.fault(),
        }
    }

    fn logged(&self) -> String {
        match self {
            // Engines quote what they were given, and prompts are in no log.
            Self::Refused { status, kind, .. } => format!("the engine said {status}, {kind}"),
            error => error.to_string(),
        }
    }

    fn describe(&self, details: &mut ErrorDetails) {
        match self {
            Self::Limited(refused) => refused.describe(details),
            Self::Invalid { param, problem } => {
                details.add_bad_request_violation(*param, *problem);
            }
            Self::Refused { param: Some(param), message, .. } => {
                details.add_bad_request_violation(param, message);
            }
            Self::UnknownModel { model } => {
                details.set_resource_info("model", model, "", "no such model");
            }
            Self::Denied { model, reason } => {
                details.set_resource_info("model", model, "", *reason);
            }
            Self::NotServed { model, route } => {
                details.set_resource_info("model", model, "", format!("its engines have no {route}"));
            }
            Self::ResponseLost { id } => {
                details.set_resource_info("response", &**id, "", "its engine does not have it");
            }
            Self::UnknownEngine { name } => {
                details.set_resource_info("engine", name, "", "no such engine");
            }
            Self::NotQueued { usage_id } => {
                details.set_resource_info("request", usage_id.to_string(), "", "does not wait here");
            }
            Self::QueueFull { model, .. } => {
                details.add_quota_failure_violation(format!("model:{model}"), "as many requests wait as may");
            }
            Self::Late { model, .. } => {
                details
                    .add_quota_failure_violation(format!("model:{model}"), "its engines are busy for longer");
            }
            Self::Kept(kept) => kept.describe(details),
            _ => {}
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Forwarded(refused) => refused.status,
            error => error.into_status(),
        }
    }
}
