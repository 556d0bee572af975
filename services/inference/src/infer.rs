//! One prompt from arrival to answer: `Prompt → Admitted → Routed → Answer`, top to bottom.

use crate::{
    admit::{Admitted, admit},
    dispatch::{Answer, Dispatcher, Failure},
    error::Error,
    follow::PolicyView,
    metrics,
    prompt::Prompt,
    queue::{Permit, Queue},
    schedule::{Arrival, EngineId},
    settle::{Account, Ledger},
};
use proto::monitoring::v1::UsageRecord;
use shared::{auth::Person, time};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Everything that a prompt meets on its way.
#[derive(Debug, Clone)]
pub struct Inference {
    /// Who may use what.
    pub policy: PolicyView,
    /// Whose turn it is.
    pub queue: Queue,
    /// How it is sent.
    pub dispatcher: Dispatcher,
    /// How it is accounted for.
    pub ledger: Ledger,
    /// Longest wait in the queue.
    pub wait: Duration,
}

/// A prompt with its place at an engine.
#[derive(Debug)]
struct Routed {
    permit: Permit,
    url: String,
}

/// What an answer says of itself.
#[derive(Debug)]
pub struct Inferred {
    /// The request's id in the ledger, and the engine's.
    pub usage_id: Uuid,
    /// The answer.
    pub answer: Answer,
}

/// Tokens that a prompt is expected to make when it does not limit them.
const EXPECTED_OUTPUT: u64 = 256;
/// Before the same engine is tried again.
const BREATH: Duration = Duration::from_millis(50);

impl Inference {
    /// Runs a prompt for a person. `deadline` is the caller's own.
    ///
    /// # Errors
    /// Whatever keeps the first byte from coming.
    pub async fn infer(
        &self,
        person: Person,
        prompt: Prompt,
        request_id: &str,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let admitted = admit(&self.policy, person, prompt)?;
        let usage_id = Uuid::now_v7();
        let total = Instant::now() + self.dispatcher.config.total_timeout;
        let until = deadline.map_or(total, |deadline| deadline.min(total));
        let mut routed = self.route(&admitted, until, None).await?;
        let mut account = self.open(&admitted, &routed, usage_id, request_id)?;
        let mut attempt = 1;
        loop {
            let engine = routed.permit.engine();
            let answer = self.dispatcher.dispatch(&admitted.prompt, routed.permit, account, until).await;
            let (failed, cause) = match answer {
                Ok(answer) => return Ok(Inferred { usage_id, answer }),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Retry { account, cause }) => (account, cause),
            };
            if attempt == self.dispatcher.config.attempts {
                failed.give_up();
                return Err(Error::EngineFailed { cause });
            }
            metrics::retried(cause);
            attempt += 1;
            routed = match self.route(&admitted, until, Some(engine)).await {
                Ok(routed) => routed,
                Err(error) => {
                    failed.give_up();
                    return Err(error);
                }
            };
            if routed.permit.engine() == engine {
                tokio::time::sleep(BREATH).await;
            }
            account = *failed;
            account.next_attempt(&routed.url);
        }
    }

    /// Second step: waits its turn for an engine. `avoid` failed it just now.
    async fn route(
        &self,
        admitted: &Admitted,
        until: Instant,
        avoid: Option<EngineId>,
    ) -> Result<Routed, Error> {
        let prompt = &admitted.prompt;
        let input = self.ledger.estimator.tokens(&prompt.model, prompt.input_bytes);
        let output = prompt.max_tokens.unwrap_or(EXPECTED_OUTPUT).saturating_mul(prompt.choices);
        let arrival = Arrival {
            model: prompt.served(),
            tokens: input.saturating_add(output),
            deadline: until.min(Instant::now() + self.wait).into_std(),
            avoid,
        };
        let permit = self.queue.turn(arrival).await?;
        let engine = self.dispatcher.fleet.get(permit.engine());
        let url = engine.map(|engine| engine.url.clone()).unwrap_or_default();
        Ok(Routed { permit, url })
    }

    fn open(
        &self,
        admitted: &Admitted,
        routed: &Routed,
        usage_id: Uuid,
        request_id: &str,
    ) -> Result<Account, Error> {
        let prompt = &admitted.prompt;
        let queued = admitted.accepted.elapsed();
        let start = policy::Time(time::now().0 - i64::try_from(queued.as_micros()).unwrap_or(0));
        let record = UsageRecord {
            usage_id: usage_id.to_string(),
            attempt: 1,
            request_id: request_id.to_owned(),
            user_id: admitted.person.user.to_string(),
            key_id: admitted.person.key.map(|key| key.to_string()).unwrap_or_default(),
            model_id: admitted.model.to_string(),
            model: prompt.model.clone(),
            engine: routed.url.clone(),
            endpoint: prompt.endpoint.name().to_owned(),
            stream: prompt.stream,
            start_time: Some(time::to_proto(start)),
            queue_duration: Some(time::duration_to_proto(queued)),
            ..UsageRecord::default()
        };
        Account::begin(self.ledger.clone(), record, prompt.endpoint, prompt.input_bytes, admitted.accepted)
            .map_err(|error| {
                tracing::error!(%error, "the journal could not be written");
                Error::Journal
            })
    }
}
