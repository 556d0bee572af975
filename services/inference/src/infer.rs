//! One prompt from arrival to answer: `Prompt → Admitted → Routed → Answer`, top to bottom.

mod attempts;
mod elsewhere;
mod embedding;
mod fallback;
mod once;
mod sharing;
mod stored;
mod warm;

use crate::{
    admit::{Admitted, admit},
    budgets::{Budgets, Hold, Wanted},
    cache::{Cache, Cached},
    dispatch::{Answer, Dispatcher},
    error::Error,
    follow::PolicyView,
    gateways::Gateways,
    goodput::{Answered, Asked, Goodput, Trial},
    metrics,
    mode::Serving,
    prompt::Prompt,
    queue::{EngineId, Permit, Queue, Who},
    resume::Resumable,
    settle::{Account, Ledger},
    spans,
    weights::Weights,
};
pub use fallback::Fallback;
use proto::monitoring::v1::{RequestCourse, UsageRecord};
use schedule::{Made, Request};
use shared::{
    auth::Person,
    limits::{Prompted, Ticket},
    status::IntoStatus,
    telemetry::{self, Note},
    time,
};
use std::{sync::Arc, time::Duration};
pub use stored::Stored;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;
pub use warm::Warmed;

/// Everything that a prompt meets on its way.
#[derive(Debug, Clone)]
pub struct Inference {
    /// Who may use what.
    pub policy: PolicyView,
    /// Whose turn it is.
    pub queue: Queue,
    /// How much of the engines is whose.
    pub weights: Weights,
    /// How it is sent.
    pub dispatcher: Dispatcher,
    /// How it is accounted for.
    pub ledger: Ledger,
    /// What may be spent.
    pub budgets: Budgets,
    /// How well promises are kept.
    pub goodput: Goodput,
    /// What need not be made again.
    pub cache: Cache,
    /// Longest wait in the queue.
    pub wait: Duration,
    /// Which model stands in for which.
    pub fallback: Fallback,
    /// Whether only what is urgent is served.
    pub serving: Serving,
    /// The other gateways over the same engines, when there are any.
    pub gateways: Option<Gateways>,
}

/// A prompt with its place at an engine.
#[derive(Debug)]
struct Routed {
    permit: Permit,
    url: String,
    /// Requests that waited for the model when it came.
    waiting: u32,
}

/// What is set aside for a request, and since when it counts.
#[derive(Debug)]
struct Aside {
    start: policy::Time,
    hold: Option<Hold>,
}

/// One wait for an engine.
#[derive(Debug, Clone, Copy)]
struct Turn {
    since: Instant,
    until: Instant,
    /// The engine that failed it just now.
    avoid: Option<EngineId>,
    /// How often it had to make room.
    preempted: u8,
}

/// What an answer says of itself.
#[derive(Debug)]
pub struct Inferred {
    /// The request's id in the ledger, and the engine's.
    pub usage_id: Uuid,
    /// The model that answers in the place of the one that was asked, when it is another.
    pub instead: Option<String>,
    /// What it had to do with the cache.
    pub cached: Cached,
    /// The time that others took for it: engines, other gateways, a call that it waited for.
    pub elsewhere: Duration,
    /// The answer.
    pub answer: Answer,
}

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
        let span = spans::request(&prompt);
        let answer = Box::pin(self.traced(person, prompt, request_id, deadline));
        let answer = answer.instrument(span.clone()).await;
        answer.inspect_err(|error| spans::refused(&span, error.fault().reason))
    }

    async fn traced(
        &self,
        person: Person,
        prompt: Prompt,
        request_id: &str,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let own = prompt.timeout.map(|timeout| Instant::now() + timeout);
        let deadline = [deadline, own].into_iter().flatten().min();
        let admitted = self.admit(person, prompt)?;
        self.limit(&admitted)?;
        match admitted.prompt.idempotency_key.clone() {
            Some(key) => Box::pin(self.once(admitted, key, request_id, deadline)).await,
            None => self.answer(admitted, request_id, deadline).await,
        }
    }

    /// The same, with a note of what is asked, and of how much of the time was ours.
    ///
    /// # Errors
    /// See [`Self::infer`].
    pub async fn noted(
        &self,
        note: &Note,
        person: Person,
        prompt: Prompt,
        request_id: &str,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let priority = prompt.class.as_str();
        let model = prompt.model.clone();
        let answer = self.infer(person, prompt, request_id, deadline).await;
        note.learn(|learned| {
            (learned.model, learned.priority) = (model, priority);
            match &answer {
                Ok(inferred) => learned.elsewhere = Some(inferred.elsewhere),
                Err(error) if error.is_of_this_gateway() => {
                    learned.elsewhere = Some(Duration::ZERO);
                    learned.waiting = u32::try_from(self.queue.waiting(&learned.model)).unwrap_or(u32::MAX);
                }
                Err(_) => {}
            }
        });
        answer
    }

    /// Has it made.
    async fn fresh(
        &self,
        admitted: &Admitted,
        request_id: &str,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let until = self.until(deadline);
        let mut trial = self.trial(admitted);
        let answer = match self.run(admitted, request_id, until, &mut trial).await {
            Err(error) if error.is_for_want_of_engines() => {
                self.fall_back(admitted, error, request_id, until, &mut trial).await
            }
            answer => answer,
        };
        conclude(answer, trial)
    }

    fn admit(&self, person: Person, prompt: Prompt) -> Result<Admitted, Error> {
        let mut admitted = admit(&self.policy, &self.weights, person, prompt)?;
        self.serving.admit(admitted.prompt.class)?;
        if let Some(id) = &admitted.prompt.previous {
            admitted.prompt.only = Some(self.keeper(&person, id)?.id);
        }
        if self.dispatcher.fleet.settings().tell_priority {
            admitted.prompt = admitted.prompt.telling()?;
        }
        Ok(admitted)
    }

    /// Holds it against the limits of its group, its model and its tokens.
    fn limit(&self, admitted: &Admitted) -> Result<(), Error> {
        let Some(ticket) = Ticket::current() else { return Ok(()) };
        let prompt = &admitted.prompt;
        let user = admitted.person.user;
        let input = self.ledger.estimator.tokens(&prompt.model, user, prompt.input_bytes);
        let most = asked(prompt).most.unwrap_or(0).saturating_mul(prompt.choices);
        let prompted = Prompted {
            person: &admitted.person,
            group: admitted.group.map(|group| group.uuid().as_u128()),
            model: admitted.model.uuid().as_u128(),
            tokens: input.saturating_add(most),
        };
        Ok(ticket.prompt(prompted)?)
    }

    fn trial(&self, admitted: &Admitted) -> Trial {
        self.goodput.begin(admitted.prompt.served(), asked(&admitted.prompt), admitted.accepted)
    }

    /// Lets the model answer that stands in, when there is one that the caller may use.
    async fn fall_back(
        &self,
        admitted: &Admitted,
        error: Error,
        request_id: &str,
        until: Instant,
        trial: &mut Trial,
    ) -> Result<Inferred, Error> {
        let Some(instead) = self.instead(admitted) else { return Err(error) };
        metrics::fell_back(admitted.prompt.served(), instead.prompt.served());
        let inferred = self.run(&instead, request_id, until, trial).await.map_err(|_| error)?;
        Ok(Inferred { instead: Some(instead.prompt.model), ..inferred })
    }

    /// The same prompt for the model that stands in, when there is one that the caller may use.
    fn instead(&self, admitted: &Admitted) -> Option<Admitted> {
        if admitted.prompt.only.is_some() {
            // Another model's engine does not know what was said before.
            return None;
        }
        let model = self.fallback.of(admitted.prompt.served())?;
        let prompt = admitted.prompt.clone().for_model(model);
        let instead = admit(&self.policy, &self.weights, admitted.person, prompt).ok()?;
        Some(Admitted { accepted: admitted.accepted, ..instead })
    }

    /// A request comes: when it has to be answered.
    fn until(&self, deadline: Option<Instant>) -> Instant {
        let fleet = &self.dispatcher.fleet;
        fleet.came();
        let total = Instant::now() + fleet.settings().total_timeout;
        deadline.map_or(total, |deadline| deadline.min(total))
    }

    /// Runs it at the engines of this gateway.
    async fn run_here(
        &self,
        admitted: &Admitted,
        request_id: &str,
        until: Instant,
        trial: &mut Trial,
    ) -> Result<Inferred, Error> {
        let usage_id = Uuid::now_v7();
        let config = self.dispatcher.fleet.settings();
        let who = Who {
            usage_id,
            request_id: request_id.into(),
            user: admitted.person.user,
            group: admitted.group,
            key: admitted.person.key,
        };
        let (aside, bounded) = self.set_aside(admitted, until).await?;
        let admitted = bounded.as_ref().unwrap_or(admitted);
        let resumable = || Resumable::of(self, admitted, &who, until, config.attempts - 1);
        let resumable = config.resume.then(resumable).flatten();
        let admitted = resumable.as_ref().map_or(admitted, |resumable| &resumable.admitted);
        let turn = Turn { since: Instant::now(), until, avoid: None, preempted: 0 };
        let routed = self.route(admitted, turn, &who, Some(trial)).await?;
        let account = self.open(admitted, &routed, &who, aside)?;
        let asked = Instant::now();
        let mut answer = self.attempts(admitted, turn, &who, Some(trial), (routed, account)).await?;
        if let (Answer::Stream(stream), Some(resumable)) = (&mut answer, resumable) {
            stream.resume_with(Box::new(resumable));
        }
        Ok(Inferred { usage_id, instead: None, cached: Cached::Bypass, elsewhere: asked.elapsed(), answer })
    }

    /// Sets aside what it may cost of hard budgets. Where it does not say how much may be made, it is the same prompt with
    /// what fits.
    async fn set_aside(
        &self,
        admitted: &Admitted,
        until: Instant,
    ) -> Result<(Aside, Option<Admitted>), Error> {
        let passed = i64::try_from(admitted.accepted.elapsed().as_micros()).unwrap_or(0);
        let start = policy::Time(time::now().0 - passed);
        let context = self.dispatcher.fleet.max_model_len(admitted.prompt.served());
        let wanted = Wanted { admitted, at: start.0, context };
        let Some((hold, most)) = self.budgets.reserve(&wanted, until).await? else {
            return Ok((Aside { start, hold: None }, None));
        };
        let bounded =
            most.map(|most| Admitted { prompt: admitted.prompt.clone().bounded(most), ..admitted.clone() });
        Ok((Aside { start, hold: Some(hold) }, bounded))
    }

    /// Second step: waits its turn for an engine.
    async fn route(
        &self,
        admitted: &Admitted,
        turn: Turn,
        who: &Who,
        trial: Option<&mut Trial>,
    ) -> Result<Routed, Error> {
        let prompt = &admitted.prompt;
        let input = self.ledger.estimator.tokens(&prompt.model, who.user, prompt.input_bytes);
        let most = asked(prompt).most.map(|tokens| tokens.saturating_mul(prompt.choices));
        let whole = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        let request = Request {
            model: prompt.served(),
            path: &admitted.path,
            class: prompt.class,
            spare: prompt.spare,
            prompt: whole(input),
            most: most.map(whole),
            prefix: Arc::clone(&prompt.prefix),
            asks: prompt.asks,
            arrived: self.queue.at(turn.since),
            deadline: Some(self.queue.at(turn.until)),
            patience: self.wait,
            avoid: turn.avoid,
            only: prompt.only,
            streams: prompt.stream,
            preempted: turn.preempted,
            made: Made::default(),
        };
        let waiting = self.queue.enter(&request, who.clone())?;
        if let (Some(trial), Some(promise)) = (trial, waiting.promise()) {
            trial.promised(promise);
        }
        let before = waiting.before();
        let permit = self.turn(prompt, waiting).instrument(spans::queue(before)).await?;
        let engine = self.dispatcher.fleet.get(permit.engine());
        let url = engine.map(|engine| engine.url.clone()).unwrap_or_default();
        Ok(Routed { permit, url, waiting: before })
    }

    fn open(
        &self,
        admitted: &Admitted,
        routed: &Routed,
        who: &Who,
        Aside { start, hold }: Aside,
    ) -> Result<Account, Error> {
        let prompt = &admitted.prompt;
        let queued = admitted.accepted.elapsed();
        let budgets = hold.iter().flat_map(Hold::budgets).map(|budget| budget.to_string()).collect();
        let record = UsageRecord {
            usage_id: who.usage_id.to_string(),
            attempt: 1,
            request_id: who.request_id.to_string(),
            user_id: admitted.person.user.to_string(),
            key_id: admitted.person.key.map(|key| key.to_string()).unwrap_or_default(),
            model_id: admitted.model.to_string(),
            model: prompt.model.clone(),
            engine: routed.url.clone(),
            endpoint: prompt.endpoint.name().to_owned(),
            stream: prompt.stream,
            start_time: Some(time::to_proto(start)),
            queue_duration: Some(time::duration_to_proto(queued)),
            saved_prompt_tokens: prompt.saved,
            group_id: admitted.group.map(|group| group.to_string()).unwrap_or_default(),
            served_model: prompt.renamed().unwrap_or_default().to_owned(),
            gateway_id: self.budgets.gateway().to_string(),
            leased_budget_ids: budgets,
            course: Some(RequestCourse { waiting: routed.waiting, ..course(prompt) }),
            ..UsageRecord::default()
        };
        let (ledger, user) = (self.ledger.clone(), admitted.person.user);
        let account = Account::begin(ledger, record, user, prompt, admitted.accepted);
        account.map(|account| account.holding(hold)).map_err(|error| {
            tracing::error!(%error, "the journal could not be written");
            Error::Journal
        })
    }
}

/// Says how well the promise was kept, or has it said at the end of a stream.
fn conclude(mut answer: Result<Inferred, Error>, trial: Trial) -> Result<Inferred, Error> {
    match &mut answer {
        Ok(Inferred { answer: Answer::Whole(_, used), .. }) => trial.answered(Answered::Whole, used),
        Ok(Inferred { answer: Answer::Stream(metered), .. }) => metered.judge(trial),
        // It was judged where it came from.
        Ok(Inferred { answer: Answer::Relayed(_) | Answer::Replayed(_), .. }) => drop(trial),
        Err(error) => trial.refused(error),
    }
    answer
}

/// How a request goes, as far as that is known from its beginning.
pub(crate) fn course(prompt: &Prompt) -> RequestCourse {
    RequestCourse {
        trace_id: telemetry::trace_id(&tracing::Span::current()).unwrap_or_default(),
        priority: prompt.class.as_str().to_owned(),
        ..RequestCourse::default()
    }
}

fn asked(prompt: &Prompt) -> Asked {
    let most = if prompt.endpoint.makes() { prompt.max_tokens } else { Some(0) };
    Asked { class: prompt.class, streams: prompt.stream, choices: prompt.choices, most }
}
