//! The account of one request: begun in the journal when it goes to an engine, ended there exactly once.
//!
//! An [`Account`] that is dropped without having been ended was cut off by its caller, and says so itself.

use crate::{
    budgets::Hold,
    engines::Share,
    goodput::{Answered, Trial, Used},
    journal::Journal,
    metrics::{self, Ended},
    prompt::{Endpoint, Prompt},
    queue::Class,
    spans,
    sse::Usage,
};
use ahash::RandomState;
use moka::sync::Cache;
use policy::UserId;
use proto::monitoring::v1::{EngineAttempt, Outcome, RequestCourse, UsageRecord};
use shared::{limits::Ticket, time};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::Span;

/// How many bytes of input make a token, learned from exact counts: per model and caller, because what one caller sends is
/// alike (a language, a kind of data), and per model for callers who are new.
#[derive(Debug)]
pub struct Estimator {
    by_model: Mutex<HashMap<String, f64>>,
    /// By a hash of model and user.
    by_caller: Cache<u64, f64>,
    hasher: RandomState,
}

/// Where nothing was learned yet: English text, about four characters.
const BYTES_PER_TOKEN: f64 = 4.0;
/// More than any engine can have read or made for one request; a larger count is an engine's fault.
const MOST_TOKENS: u64 = 1_000_000_000;
/// Weight of the newest count.
const LEARNING: f64 = 0.05;
/// Callers remembered; those who come most stay.
const CALLERS: u64 = 100_000;

impl Default for Estimator {
    fn default() -> Self {
        Self { by_model: Mutex::default(), by_caller: Cache::new(CALLERS), hasher: RandomState::new() }
    }
}

impl Estimator {
    /// The tokens of an input of this many bytes, as far as is known.
    #[must_use]
    pub fn tokens(&self, model: &str, user: UserId, bytes: usize) -> u64 {
        let of_caller = self.by_caller.get(&self.hasher.hash_one((model, user)));
        let known = || self.by_model.lock().unwrap_or_else(PoisonError::into_inner).get(model).copied();
        let ratio = of_caller.or_else(known).unwrap_or(BYTES_PER_TOKEN);
        (bytes as f64 / ratio).ceil() as u64
    }

    fn learn(&self, model: &str, user: UserId, bytes: usize, tokens: u64) {
        if tokens == 0 || bytes == 0 {
            return;
        }
        let seen = bytes as f64 / tokens as f64;
        let nearer = |ratio: f64| ratio + LEARNING * (seen - ratio);
        let caller = self.hasher.hash_one((model, user));
        self.by_caller.insert(caller, self.by_caller.get(&caller).map_or(seen, nearer));
        let mut known = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(model) {
            Some(ratio) => *ratio = nearer(*ratio),
            None => {
                known.insert(model.to_owned(), seen);
            }
        }
    }
}

/// What the accounts of a gateway share.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Where they are kept.
    pub journal: Arc<Journal>,
    /// How tokens are guessed.
    pub estimator: Arc<Estimator>,
}

/// The account of one request.
#[derive(Debug)]
pub struct Account {
    ledger: Ledger,
    record: UsageRecord,
    user: UserId,
    endpoint: Endpoint,
    class: Class,
    input_bytes: usize,
    accepted: Instant,
    /// How it is judged, once its answer streams.
    trial: Option<Trial>,
    first_token: Option<Duration>,
    /// When the engine was asked that has it now, after acceptance.
    asked: Option<Duration>,
    /// What it has of the time of the engine that has it now, and had of those before.
    share: Option<Share>,
    gpu: Option<Duration>,
    /// Events that held tokens: the count where the engine did not get to say one.
    events: u64,
    /// The last usage that the engine said.
    usage: Option<Usage>,
    /// Whether an attempt that failed may have cost an engine something.
    spent: bool,
    settled: bool,
    /// Whose limits its tokens count against.
    ticket: Option<Ticket>,
    /// What is set aside for it of hard budgets.
    hold: Option<Hold>,
    /// The request in its trace, and the engine that has it now.
    span: Span,
    attempt: Span,
}

impl Account {
    /// Opens an account in the journal.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn begin(
        ledger: Ledger,
        record: UsageRecord,
        user: UserId,
        prompt: &Prompt,
        accepted: Instant,
    ) -> std::io::Result<Self> {
        let estimate = ledger.estimator.tokens(&record.model, user, prompt.input_bytes);
        let mut record = UsageRecord { prompt_tokens: estimate, ..record };
        let asked = Some(accepted.elapsed());
        course(&mut record).asked_after = asked.map(time::duration_to_proto);
        let span = Span::current();
        let attempt = spans::attempt(&span, &record, prompt.endpoint);
        ledger.journal.begin(&record).inspect_err(|_| metrics::journal_error())?;
        let account = Self {
            ledger,
            record,
            user,
            endpoint: prompt.endpoint,
            class: prompt.class,
            input_bytes: prompt.input_bytes,
            accepted,
            trial: None,
            first_token: None,
            asked,
            share: None,
            gpu: None,
            events: 0,
            usage: None,
            spent: false,
            settled: false,
            ticket: Ticket::current(),
            hold: None,
            span,
            attempt,
        };
        Ok(account)
    }

    /// So much of hard budgets is set aside for it.
    #[must_use]
    pub fn holding(mut self, hold: Option<Hold>) -> Self {
        self.hold = hold;
        self
    }

    /// The request's id in the ledger.
    #[must_use]
    pub fn usage_id(&self) -> &str {
        &self.record.usage_id
    }

    /// Whose it is.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.record.user_id
    }

    /// The route that it takes.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// It goes to another engine.
    pub fn next_attempt(&mut self, engine: &str) {
        self.record.attempt += 1;
        engine.clone_into(&mut self.record.engine);
        self.asked = Some(self.accepted.elapsed());
        self.attempt = spans::attempt(&self.span, &self.record, self.endpoint);
    }

    /// It is at an engine, and has this share of its time.
    #[must_use]
    pub fn sharing(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }

    /// It is at no engine any more.
    fn left(&mut self) {
        if let Some(share) = self.share.take() {
            self.gpu = Some(self.gpu.unwrap_or_default() + share.take());
        }
    }

    /// The request in its trace.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// The engine that has it now, in its trace.
    #[must_use]
    pub const fn attempt(&self) -> &Span {
        &self.attempt
    }

    /// The engine that has it gives no answer, or no whole one.
    pub fn tried(&mut self, cause: &str) {
        self.left();
        let Some(asked) = self.asked.take() else { return };
        let attempt = EngineAttempt {
            engine: self.record.engine.clone(),
            ended: cause.to_owned(),
            asked_after: Some(time::duration_to_proto(asked)),
            duration: Some(time::duration_to_proto(self.accepted.elapsed().saturating_sub(asked))),
        };
        course(&mut self.record).failed.push(attempt);
        spans::tried(&self.attempt, Some(cause));
        self.attempt = Span::none();
    }

    /// An event came from the engine.
    pub fn event(&mut self, tokens: bool, usage: Option<Usage>) {
        if self.first_token.is_none() {
            self.first_token = Some(self.accepted.elapsed());
        }
        self.events += u64::from(tokens);
        self.usage = usage.or(self.usage);
    }

    /// The engine said what the whole request used.
    pub fn said(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// Its answer streams from now on, and this is how it will be judged.
    pub fn judge(&mut self, trial: Trial) {
        self.trial = Some(trial);
    }

    /// The answer came whole.
    pub fn finish(mut self) -> Used {
        self.settle(Outcome::Finished, self.usage.is_none())
    }

    /// The engine failed it on the way.
    pub fn fail(mut self, cause: &str) {
        self.tried(cause);
        self.broken("STREAM_INTERRUPTED");
        self.settle(Outcome::Failed, true);
    }

    /// Its time is over.
    pub fn late(mut self) {
        self.broken("DEADLINE_EXCEEDED");
        self.settle(Outcome::Cancelled, true);
    }

    /// An attempt failed after an engine may have worked for it.
    pub fn spent(&mut self) {
        self.spent = true;
    }

    /// No engine answers it, for this reason. It costs nothing, unless one may have worked for it.
    pub fn refuse(mut self, reason: &'static str) {
        self.broken(reason);
        if self.spent {
            self.settle(Outcome::Failed, true);
            return;
        }
        self.usage = Some(Usage::default());
        self.settle(Outcome::Failed, false);
    }

    /// Why it is not answered whole.
    fn broken(&mut self, reason: &str) {
        reason.clone_into(&mut course(&mut self.record).reason);
    }

    fn settle(&mut self, outcome: Outcome, estimated: bool) -> Used {
        if std::mem::replace(&mut self.settled, true) {
            return Used::default();
        }
        self.left();
        course(&mut self.record).asked_after = self.asked.map(time::duration_to_proto);
        let wrong = match outcome {
            Outcome::Finished => None,
            Outcome::Cancelled => Some("cancelled"),
            _ => Some("failed"),
        };
        spans::tried(&self.attempt, wrong);
        let record = &mut self.record;
        record.outcome = outcome.into();
        record.estimated = estimated;
        match self.usage {
            Some(usage) => {
                record.prompt_tokens = usage.prompt.min(MOST_TOKENS);
                record.cached_prompt_tokens = usage.cached.min(record.prompt_tokens);
                let made = usage.completion.max(if estimated { self.events } else { 0 });
                record.completion_tokens = made.min(MOST_TOKENS);
                if outcome == Outcome::Finished {
                    let estimator = &self.ledger.estimator;
                    estimator.learn(&record.model, self.user, self.input_bytes, usage.prompt);
                }
            }
            None => record.completion_tokens = self.events,
        }
        if let Some(ticket) = self.ticket.take() {
            ticket.used(record.prompt_tokens.saturating_add(record.completion_tokens));
        }
        let duration = self.accepted.elapsed();
        record.time_to_first_token = self.first_token.map(time::duration_to_proto);
        record.duration = Some(time::duration_to_proto(duration));
        record.gpu_time = self.gpu.map(time::duration_to_proto);
        if let Err(error) = self.ledger.journal.end(record) {
            metrics::journal_error();
            tracing::error!(%error, usage_id = record.usage_id, "the journal could not be written");
        }
        if let Some(hold) = self.hold.take() {
            let record = &self.record;
            hold.settle(record.prompt_tokens, record.cached_prompt_tokens, record.completion_tokens);
        }
        let record = &self.record;
        spans::ended(&self.span, record, self.first_token);
        let (error, how) = match outcome {
            Outcome::Finished => (None, Answered::Whole),
            Outcome::Cancelled => (Some("cancelled"), Answered::Abandoned),
            _ => (Some("failed"), Answered::Cut),
        };
        let used = Used {
            prompt: record.prompt_tokens,
            cached: record.cached_prompt_tokens,
            made: record.completion_tokens,
            first_token: self.first_token.filter(|_| record.stream),
            duration,
            queued: record.queue_duration.as_ref().and_then(time::duration_from_proto).unwrap_or_default(),
        };
        let ended = Ended {
            model: &record.model,
            operation: self.endpoint.operation(),
            class: self.class,
            error,
            tokens: (used.prompt, used.made),
            first_token: self.first_token,
            duration,
            queued: used.queued,
        };
        ended.record();
        if let Some(trial) = self.trial.take() {
            trial.answered(how, &used);
        }
        used
    }
}

fn course(record: &mut UsageRecord) -> &mut RequestCourse {
    record.course.get_or_insert_default()
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle(Outcome::Cancelled, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn what_a_caller_sends_says_nothing_of_what_others_do() {
        let estimator = Estimator::default();
        let [english, korean, new] = [1, 2, 3].map(|user| UserId(Uuid::from_u128(user)));
        assert_eq!(estimator.tokens("m", new, 4_000), 1_000, "nothing is known");
        for _ in 0..200 {
            estimator.learn("m", english, 5_000, 1_000);
            estimator.learn("m", korean, 2_000, 1_000);
        }
        assert_eq!(estimator.tokens("m", english, 5_000), 1_000);
        assert_eq!(estimator.tokens("m", korean, 5_000), 2_500);
        let between = estimator.tokens("m", new, 5_000);
        assert!((1_000..2_500).contains(&between), "{between}");
        assert_eq!(estimator.tokens("another", korean, 4_000), 1_000, "nothing is known of this model");
    }
}
