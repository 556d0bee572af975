//! The engine: a handle that requests are submitted through, and the driver that runs the batch on a clock.
//!
//! One task per engine owns the batch; a request talks to it by commands and hears of its tokens by a channel of its own.
//! Dropping a [`Ticket`] aborts what is left of the request, waiting or running alike.

mod admission;
mod driver;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::admission::Admission;
pub(crate) use self::admission::Load;
pub use self::driver::Driver;
use crate::batching::Sequence;
use crate::config::Config;
use crate::errors::Rejection;
use crate::fault::{Faults, Mishap};
use crate::metrics::Metrics;
use crate::prompt::Prompt;
use crate::responses::Responses;
use crate::{http, text};

/// A running engine, as its requests and its tests see it.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    admission: Admission,
    metrics: Mutex<Metrics>,
    faults: watch::Sender<Faults>,
    commands: mpsc::UnboundedSender<Command>,
    responses: Responses,
    next_sequence: AtomicU64,
    next_seed: AtomicU64,
    /// Rung by the driver whenever the counters have changed.
    changed: Notify,
}

/// What a request tells the driver.
#[derive(Debug)]
enum Command {
    Add { sequence: Sequence, part: u32, made: mpsc::UnboundedSender<Made>, group: Group },
    Abort { id: u64 },
}

/// What the metrics say of a request once, though it may consist of several sequences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// Answers asked for by the request; `None` for all but its first sequence.
    pub(crate) n: Option<u32>,
    /// Longest answer the request allowed; `None` for an embedding.
    pub(crate) max_tokens: Option<u32>,
    pub(crate) stopped: bool,
}

/// One more token, or the end of a prompt without output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    /// Which sequence of the request.
    pub(crate) part: u32,
    /// With the first token: tokens of the prompt that were in the cache.
    pub(crate) cached_tokens: Option<u32>,
}

/// One sequence of a request to be queued.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) prompt_tokens: u32,
    /// Hashes of the full blocks it will hold.
    pub(crate) prefix: Arc<[u64]>,
    pub(crate) output_tokens: u32,
    pub(crate) max_tokens: Option<u32>,
    /// Whether it will end by itself rather than at its length.
    pub(crate) stopped: bool,
}

/// A queued request: hears of its tokens, and aborts what is left when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    engine: Engine,
    made: mpsc::UnboundedReceiver<Made>,
    first: u64,
    parts: u64,
}

/// What an engine has done and is doing, exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tokens of prompts that were computed to their end.
    pub prompt_tokens: u64,
    /// Tokens made, those of aborted answers included.
    pub generation_tokens: u64,
    /// Sequences in the batch.
    pub running: usize,
    /// Sequences in the queue.
    pub waiting: usize,
    /// Sequences that came to their end.
    pub finished: u64,
    /// Sequences taken out before their end.
    pub aborted: u64,
    /// Times a sequence lost its place in the cache to another.
    pub preemptions: u64,
    /// Tokens of prompts that were looked up in the cache.
    pub prefix_queries: u64,
    /// Those of them that were there.
    pub prefix_hits: u64,
    /// Blocks of the cache that sequences hold.
    pub blocks_held: u32,
    /// Requests turned away because a queue limit was reached.
    pub rejected: u64,
}

impl Engine {
    /// Makes an engine. It computes nothing until its driver runs.
    #[must_use]
    pub fn new(config: Config) -> (Self, Driver) {
        let config = config.settled();
        let (commands, inbox) = mpsc::unbounded_channel();
        let admission = Admission::new(config.max_num_queued_reqs, config.max_num_queued_tokens);
        let shared = Shared {
            admission,
            metrics: Mutex::new(Metrics::new(config.served_name(), config.max_model_len, config.limits())),
            faults: watch::Sender::new(Faults::default()),
            commands,
            changed: Notify::new(),
            responses: Responses::default(),
            next_sequence: AtomicU64::new(0),
            next_seed: AtomicU64::new(config.seed),
            config,
        };
        let engine = Self { shared: Arc::new(shared) };
        let driver = Driver::new(engine.clone(), inbox);
        (engine, driver)
    }

    /// Serves an engine on a listener until it is told to stop and its requests have had their time.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn start(config: Config, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let (_, driver) = Self::new(config);
        driver.serve(listener, stop).await
    }

    /// The engine's HTTP interface without a port, for use in the same process; its driver must run beside it.
    pub fn router(&self) -> Router {
        let engine = self.clone();
        Router::new().fallback(move |request: Request| async move { http::answer(&engine, request).await })
    }

    /// What the engine has done and is doing.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let load = self.shared.admission.load();
        let rejected = load.rejected_for_requests + load.rejected_for_tokens;
        Counters { rejected, ..self.metrics().counters() }
    }

    /// Resolves once the counters satisfy a condition.
    pub async fn until(&self, condition: impl Fn(&Counters) -> bool) -> Counters {
        loop {
            let changed = self.shared.changed.notified();
            let counters = self.counters();
            if condition(&counters) {
                return counters;
            }
            changed.await;
        }
    }

    /// Makes the engine misbehave from now on, whatever its configuration says about faults.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.faults.send_replace(faults);
    }

    pub(crate) fn faults(&self) -> &watch::Sender<Faults> {
        &self.shared.faults
    }

    /// Takes what is to go wrong with the next request.
    pub(crate) fn next_mishap(&self) -> Mishap {
        let mut mishap = Mishap::default();
        // The driver need not wake for this: no fault of its own changes.
        self.shared.faults.send_if_modified(|faults| {
            mishap = faults.next();
            false
        });
        mishap
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The responses that are kept.
    pub(crate) fn responses(&self) -> &Responses {
        &self.shared.responses
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    pub(crate) fn metrics(&self) -> MutexGuard<'_, Metrics> {
        self.shared.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits in [`Engine::until`] to look again.
    pub(crate) fn ring(&self) {
        self.shared.changed.notify_waiters();
    }

    /// Where the chance of one more answer begins; 0 when the prompt alone decides.
    pub(crate) fn seed(&self, temperature: f64, seed: Option<i64>, answer: u32) -> u64 {
        if temperature == 0.0 {
            return 0;
        }
        match seed {
            Some(seed) => text::mix(u64::from_ne_bytes(seed.to_ne_bytes()), u64::from(answer)) | 1,
            None => text::mix(self.shared.next_seed.fetch_add(1, Ordering::Relaxed), u64::from(answer)) | 1,
        }
    }

    /// How long a request is prepared before it is queued.
    pub(crate) fn render_time(&self) -> Duration {
        self.shared.config.render_time()
    }

    /// What the blocks of a prompt and its answer will hold.
    pub(crate) fn blocks(&self, prompt: &Prompt, answer: impl Iterator<Item = u64>) -> Arc<[u64]> {
        prompt.blocks(answer, self.shared.config.limits().block_size)
    }

    /// The first of the two checks: whether a request of so many sequences would be let in now.
    pub(crate) fn check(&self, sequences: usize) -> Result<(), Rejection> {
        if self.shared.faults.borrow().drain {
            return Err(Rejection::Draining);
        }
        self.shared.admission.check(sequences)
    }

    /// Queues the sequences of a request, after the second check.
    pub(crate) fn submit(&self, priority: i64, parts: &[Part]) -> Result<Ticket, Rejection> {
        let tokens = parts.iter().map(|part| part.prompt_tokens as usize).sum();
        self.shared.admission.admit(parts.len(), tokens)?;
        let (sender, made) = mpsc::unbounded_channel();
        let (many, parts_in_all) = (parts.len() as u64, u32::try_from(parts.len()).unwrap_or(u32::MAX));
        let first = self.shared.next_sequence.fetch_add(many, Ordering::Relaxed);
        for (place, part) in (0_u32..).zip(parts) {
            let Part { prompt_tokens, output_tokens, max_tokens, stopped, ref prefix } = *part;
            let (id, prefix) = (first + u64::from(place), Arc::clone(prefix));
            let sequence = Sequence { id, priority, prompt_tokens, output_tokens, prefix };
            let group = Group { n: (place == 0).then_some(parts_in_all), max_tokens, stopped };
            let command = Command::Add { sequence, part: place, made: sender.clone(), group };
            if self.shared.commands.send(command).is_err() {
                return Err(Rejection::Dead);
            }
        }
        Ok(Ticket { engine: self.clone(), made, first, parts: many })
    }
}

impl Ticket {
    /// The next token of any of the sequences; `None` when they are finished, or the engine has died.
    pub(crate) async fn next(&mut self) -> Option<Made> {
        self.made.recv().await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        for id in self.first..self.first + self.parts {
            // An engine that has stopped has aborted everything already.
            let _ = self.engine.shared.commands.send(Command::Abort { id });
        }
    }
}
