//! What chat and completions share once their bodies are read: the answers are planned, the request is let in or not,
//! and a request that is not streamed waits here until all its answers are told.

use std::sync::Arc;

use axum::response::Response;

use super::voice::Voice;
use super::{Line, reply, stream};
use crate::clock;
use crate::engine::{Engine, Made, Part, Ticket};
use crate::errors::{ApiError, Rejection};
use crate::fault::Mishap;
use crate::prompt::Prompt;
use crate::request::{Sampling, Streaming};
use crate::sse::{Kind, Reused, Usage};
use crate::text::{Answer, Finish, Telling, Token};

/// A request that is ready to be queued.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) priority: i64,
    pub(super) plans: Vec<Plan>,
    pub(super) streaming: Streaming,
    pub(super) logprobs: Option<usize>,
    /// Prompt tokens over all prompts, each counted once.
    pub(super) prompt_tokens: u32,
    pub(super) line: Option<Line>,
    /// In what words it is told.
    pub(super) voice: Voice,
    pub(super) mishap: Mishap,
    /// Tokens of the last prompt that were in the cache, and how many its full blocks hold.
    cached_tokens: u32,
    cacheable_tokens: u32,
    /// Whether the usage says so.
    tells_reuse: bool,
}

/// One answer of a request.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) answer: Answer,
    pub(super) prompt_tokens: u32,
    prefix: Arc<[u64]>,
    max_tokens: u32,
    /// The prompt, when the answer is to begin with it.
    pub(super) echo: Option<Prompt>,
}

/// What a job is made of, apart from its prompts.
pub(super) struct Order<'a> {
    pub(super) kind: Kind,
    pub(super) sampling: &'a Sampling,
    pub(super) streaming: Streaming,
    pub(super) logprobs: Option<i64>,
    pub(super) echo: bool,
    /// Tokens of an answer whose length was not asked for.
    pub(super) default_length: u32,
}

impl Job {
    /// Makes the first of the two admission checks and plans the answers of an order.
    pub(super) fn prepare(
        engine: &Engine,
        order: &Order<'_>,
        prompts: &[Prompt],
        id: String,
    ) -> Result<Self, ApiError> {
        // As in the real engine, a full queue is noticed before a parameter that cannot be sampled with.
        let answers = usize::try_from(order.sampling.n).unwrap_or(0);
        engine.check(prompts.len() * answers)?;
        order.sampling.check(order.logprobs)?;
        let mut plans = Vec::new();
        for prompt in prompts {
            for answer in 0..u32::try_from(order.sampling.n).unwrap_or(u32::MAX) {
                plans.push(order.plan(engine, prompt, answer)?);
            }
        }
        let limits = engine.config().limits();
        let full_blocks = prompts.last().map_or(0, Prompt::len) / limits.block_size;
        Ok(Self {
            cached_tokens: 0,
            cacheable_tokens: full_blocks * limits.block_size * u32::from(limits.enable_prefix_caching),
            tells_reuse: engine.config().enable_prompt_tokens_details,
            kind: order.kind,
            id,
            created: clock::unix_seconds(),
            priority: order.sampling.priority,
            plans,
            streaming: order.streaming,
            logprobs: order.logprobs.map(|many| usize::try_from(many).unwrap_or(0)),
            prompt_tokens: prompts.iter().map(Prompt::len).sum(),
            line: None,
            voice: Voice::default(),
            mishap: engine.next_mishap(),
        })
    }

    /// Makes the second check and takes a place in the queue.
    pub(super) fn submit(&self, engine: &Engine) -> Result<Ticket, Rejection> {
        let parts: Vec<Part> = self.plans.iter().map(Plan::part).collect();
        engine.submit(self.priority, &parts)
    }

    /// Notes what a first token says about the cache. Of several prompts, the real engine tells of the last one.
    pub(super) fn note(&mut self, made: &Made) {
        if made.part as usize + 1 == self.plans.len() {
            self.cached_tokens = made.cached_tokens.unwrap_or(self.cached_tokens);
        }
    }

    /// How much of the prompt was in the cache, where the engine was told to say so.
    pub(super) fn reused(&self) -> Option<Reused> {
        let created = self.cacheable_tokens.saturating_sub(self.cached_tokens);
        self.tells_reuse.then(|| Reused {
            cached_tokens: self.cached_tokens,
            created_cache_tokens: (self.kind == Kind::Chat).then_some(created),
            multimodal_tokens: (),
        })
    }

    /// Tokens of the prompt that were in the cache, where the engine was told to say so.
    pub(super) fn cached(&self) -> u32 {
        if self.tells_reuse { self.cached_tokens } else { 0 }
    }

    pub(super) fn usage(&self, tellings: &[Telling]) -> Usage {
        let completion = tellings.iter().map(|telling| telling.told).sum();
        Usage { prompt: self.prompt_tokens, completion }
    }
}

impl Order<'_> {
    fn plan(&self, engine: &Engine, prompt: &Prompt, answer: u32) -> Result<Plan, ApiError> {
        let room = engine.config().max_model_len.saturating_sub(prompt.len());
        let seed = engine.seed(self.sampling.temperature, self.sampling.seed, answer);
        let shape = self.sampling.shape(room, self.default_length.min(room), seed);
        if shape.max_tokens == 0 {
            let problem = "max_tokens must be at least 1, got 0.";
            return Err(ApiError::out_of_range("max_tokens", 0, problem));
        }
        let rest =
            prompt.begun.as_ref().and_then(|begun| Answer::continued(&begun.asked, &begun.said, &shape));
        let answer = rest.unwrap_or_else(|| Answer::plan(&prompt.text, &shape));
        let prefix = engine.blocks(prompt, answer.fingerprints());
        Ok(Plan {
            answer,
            prompt_tokens: prompt.len(),
            prefix,
            max_tokens: shape.max_tokens,
            echo: self.echo.then(|| prompt.clone()),
        })
    }
}

impl Plan {
    fn part(&self) -> Part {
        Part {
            prompt_tokens: self.prompt_tokens,
            prefix: Arc::clone(&self.prefix),
            output_tokens: self.answer.tokens,
            max_tokens: Some(self.max_tokens),
            stopped: self.answer.finish != Finish::Length,
        }
    }
}

/// Sends the job as a stream, or waits for it and lets `write` make one body of its answers.
pub(super) async fn run(
    engine: &Engine,
    mut job: Job,
    write: impl FnOnce(&mut Job, Vec<Written>) -> Response,
) -> Result<Response, ApiError> {
    if job.streaming.on {
        return Ok(reply::events(stream::body(engine.clone(), job)));
    }
    if job.mishap.reset.is_some() {
        hang_up(job.line.as_ref()).await;
    }
    if let Some(error) = job.mishap.in_band_error {
        return Err(stream::mishap(error));
    }
    tokio::time::sleep(engine.render_time()).await;
    let mut ticket = job.submit(engine)?;
    let mut written: Vec<Written> = job.plans.iter().map(Written::new).collect();
    while let Some(made) = ticket.next().await {
        job.note(&made);
        if let Some(written) = written.get_mut(made.part as usize) {
            written.push();
        }
    }
    if written.iter().any(|written| !written.telling.is_finished()) {
        return Err(ApiError::engine_died());
    }
    Ok(write(&mut job, written))
}

/// Resets the connection, or leaves a caller without one to wait.
pub(super) async fn hang_up(line: Option<&Line>) {
    if let Some(line) = line {
        line.0.cancel();
    }
    std::future::pending().await
}

/// One answer, told to its end.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) telling: Telling,
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
}

impl Written {
    fn new(plan: &Plan) -> Self {
        let text = plan.echo.as_ref().map(|prompt| prompt.text.clone()).unwrap_or_default();
        Self { telling: Telling::new(plan.answer.clone()), text, tokens: Vec::new() }
    }

    fn push(&mut self) {
        let (token, text) = self.telling.next();
        self.text.push_str(&text);
        self.tokens.push(token);
    }
}
