//! Texts of several callers in one call for their vectors.
//!
//! Nobody is waited for: a call goes when none of its kind is at its engine, and whoever comes while one is joins the
//! next. All that decides about a caller was decided before — permission, limits, turn, account — and stays with them: a
//! caller who leaves, or whose time is over, leaves the others alone, and each is answered with the tokens of their own
//! texts. Engines say only what a call used in all, so texts share a call when the tokens of each are known ([`counts`]),
//! and what the engine says must be their sum. A call that an engine refuses is sent again, each caller's part by itself:
//! what one of them did wrong is no concern of the others.

mod call;
mod counts;
mod pace;
mod part;

pub use part::Part;

use crate::{
    config,
    engines::{Engine, Fleet, SendError},
    metrics,
    queue::{Class, EngineId},
};
use bytes::Bytes;
use counts::Counts;
use futures_util::future::join_all;
use http::StatusCode;
use pace::Pace;
use shared::server::Tasks;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::sync::{Semaphore, oneshot};
use tracing::Instrument;

/// What may go together: the same engine, the same class, and everything but the texts the same.
type Kind = (EngineId, Class, crate::cache::Key);

/// The calls of a gateway that are shared.
#[derive(Debug, Clone)]
pub struct Joint(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: config::Joint,
    fleet: Fleet,
    table: Mutex<Table>,
    counts: Counts,
    /// Shared calls at once.
    places: Semaphore,
    /// Largest answer, in bytes.
    largest: usize,
    tasks: Tasks,
}

#[derive(Debug, Default)]
struct Table {
    /// By what is at an engine now: who has come since.
    calls: HashMap<Kind, Vec<Waiter>>,
    paces: HashMap<EngineId, Pace>,
}

/// Somebody who waits for the call that is under way.
#[derive(Debug)]
struct Waiter {
    part: Arc<Part>,
    usage_id: String,
    /// The tokens of their texts.
    tokens: u64,
    turn: oneshot::Sender<Turn>,
    span: tracing::Span,
}

/// How a caller's texts go to the engine.
#[derive(Debug)]
pub enum Turn {
    /// By themselves, and others wait until that has ended.
    Alone(Lead),
    /// By themselves, and nobody waits for it.
    Apart,
    /// They went together with others.
    Together(Together),
}

/// What came of a shared call, for one of its callers.
#[derive(Debug)]
pub struct Together {
    /// The answer to this caller's part, or what the engine did.
    pub came: Result<Bytes, Failed>,
    /// Whether this caller is the one by whom the engine is judged: it was one call.
    pub first: bool,
}

/// How an engine failed a shared call.
#[derive(Debug, Clone)]
pub enum Failed {
    /// It gave no answer.
    Unsent(SendError),
    /// It refused, for reasons that have to do with itself.
    Refused(StatusCode),
    /// It broke off.
    Broken,
}

/// A call of a kind under way. When it is dropped, whoever has gathered meanwhile goes.
#[derive(Debug)]
pub struct Lead {
    joint: Joint,
    kind: Kind,
    engine: Arc<Engine>,
    bytes: usize,
    texts: usize,
    began: Instant,
}

impl Joint {
    /// Nothing is under way yet.
    #[must_use]
    pub fn new(settings: config::Joint, fleet: &Fleet, largest: usize, tasks: &Tasks) -> Self {
        let places = Semaphore::new(settings.at_once);
        Self(Arc::new(Inner {
            settings,
            fleet: fleet.clone(),
            table: Mutex::default(),
            counts: Counts::default(),
            places,
            largest,
            tasks: tasks.clone(),
        }))
    }

    /// How a caller's texts go. Waits while a call of their kind is under way, unless they cannot share the next.
    pub async fn join(&self, engine: &Arc<Engine>, class: Class, part: &Arc<Part>, usage_id: &str) -> Turn {
        let settings = &self.0.settings;
        let kind = (engine.id, class, part.kind);
        let room = self.table().pace(engine.id, settings).room();
        if !settings.enabled || part.texts.len() > room.texts || part.bytes > room.bytes {
            return Turn::Apart;
        }
        if let Some(lead) = self.lead(engine, kind, part) {
            return Turn::Alone(lead);
        }
        let Some(tokens) = self.tokens(engine, part).await else { return Turn::Apart };
        let (turn, coming) = oneshot::channel();
        {
            let mut table = self.table();
            let Some(waiting) = table.calls.get_mut(&kind) else {
                drop(table);
                // It ended meanwhile.
                return self.lead(engine, kind, part).map_or(Turn::Apart, Turn::Alone);
            };
            let (usage_id, span) = (usage_id.to_owned(), tracing::Span::current());
            waiting.push(Waiter { part: Arc::clone(part), usage_id, tokens, turn, span });
        }
        coming.await.unwrap_or(Turn::Apart)
    }

    /// The tokens of a part, when that is known or can be found out.
    async fn tokens(&self, engine: &Arc<Engine>, part: &Part) -> Option<u64> {
        let known = self.0.counts.of(part);
        if known.is_some() || !self.0.settings.count || !self.0.counts.may_ask(part) {
            return known;
        }
        if !self.table().pace(engine.id, &self.0.settings).may_count() {
            return None;
        }
        let counted = self.0.counts.ask(&self.0.fleet, engine, part).await;
        if counted.is_none() {
            self.table().pace(engine.id, &self.0.settings).cannot_count();
        }
        counted
    }

    /// An answer came to texts that went by themselves.
    pub fn learn(&self, part: &Part, tokens: u64) {
        self.0.counts.learn(part, tokens);
    }

    fn lead(&self, engine: &Arc<Engine>, kind: Kind, part: &Part) -> Option<Lead> {
        let mut table = self.table();
        if table.calls.contains_key(&kind) {
            return None;
        }
        table.calls.insert(kind, Vec::new());
        Some(self.led(engine, kind, part.bytes, part.texts.len()))
    }

    fn led(&self, engine: &Arc<Engine>, kind: Kind, bytes: usize, texts: usize) -> Lead {
        Lead { joint: self.clone(), kind, engine: Arc::clone(engine), bytes, texts, began: Instant::now() }
    }

    /// Lets those go who have gathered, as far as they fit into one call.
    async fn next(self, kind: Kind, engine: Arc<Engine>) {
        // While there is no place for a call, more gather for it.
        let Ok(_place) = self.0.places.acquire().await else { return };
        let mut callers = self.take(&kind);
        if callers.len() > 1 {
            let span = callers.first().map_or_else(tracing::Span::none, |first| first.span.clone());
            return self.together(kind, engine, callers).instrument(span).await;
        }
        // Who is alone goes as they would have gone at first; if they have left, the lead ends here.
        if let Some(Waiter { part, turn, .. }) = callers.pop() {
            drop(turn.send(Turn::Alone(self.led(&engine, kind, part.bytes, part.texts.len()))));
        }
    }

    /// Those who go next. When there is nobody, no call of the kind is under way any more.
    fn take(&self, kind: &Kind) -> Vec<Waiter> {
        let mut table = self.table();
        let room = table.pace(kind.0, &self.0.settings).room();
        let Some(waiting) = table.calls.get_mut(kind) else { return Vec::new() };
        waiting.retain(|waiter| !waiter.turn.is_closed());
        let (mut bytes, mut texts) = (0, 0);
        let fit = waiting.iter().take_while(|waiter| {
            (bytes, texts) = (bytes + waiter.part.bytes, texts + waiter.part.texts.len());
            bytes <= room.bytes && texts <= room.texts
        });
        // The first goes in any case.
        let many = fit.count().max(1).min(waiting.len());
        let next: Vec<Waiter> = waiting.drain(..many).collect();
        if next.is_empty() {
            table.calls.remove(kind);
        }
        next
    }

    /// Sends what has gathered, and gives everybody their part of the answer.
    async fn together(&self, kind: Kind, engine: Arc<Engine>, callers: Vec<Waiter>) {
        let (bytes, texts) = callers.iter().fold((0, 0), |(bytes, texts), caller| {
            (bytes + caller.part.bytes, texts + caller.part.texts.len())
        });
        let lead = self.led(&engine, kind, bytes, texts);
        let request = call::request(&engine, &callers);
        let shares: Vec<call::Share> = callers.iter().map(call::Share::of).collect();
        let mut turns: Vec<oneshot::Sender<Turn>> = callers.into_iter().map(|caller| caller.turn).collect();
        let came = tokio::select! {
            biased;
            came = call::send(&self.0.fleet, request, self.0.largest) => came,
            // The engine is told by the end of the connection.
            _ = join_all(turns.iter_mut().map(oneshot::Sender::closed)) => return,
        };
        let came = came.and_then(|answer| call::split(&answer, &shares));
        metrics::joint(turns.len(), texts, call::word(&came));
        self.judge(&lead, &came);
        // First, so that whoever is told to go alone does not find this one under way.
        drop(lead);
        let mut parts = came.map(Vec::into_iter);
        let mut first = true;
        for turn in turns {
            let own = match &mut parts {
                Ok(parts) => parts.next().map(Ok),
                Err(call::Fault::Engine(failed)) => Some(Err(failed.clone())),
                Err(call::Fault::Refused | call::Fault::Miscounted) => None,
            };
            let told = own.map_or(Turn::Apart, |came| Turn::Together(Together { came, first }));
            // Who has left is told nothing.
            first &= turn.send(told).is_err();
        }
    }

    /// What a shared call says of the engine.
    fn judge(&self, lead: &Lead, came: &Result<Vec<Bytes>, call::Fault>) {
        let mut table = self.table();
        let pace = table.pace(lead.engine.id, &self.0.settings);
        match came {
            Ok(_) => pace.took(lead.bytes, lead.began.elapsed()),
            Err(call::Fault::Refused) => pace.refused(lead.texts),
            Err(call::Fault::Miscounted) => {
                tracing::warn!(
                    engine = lead.engine.url,
                    "it counts tokens otherwise than was known; texts go by themselves"
                );
                pace.miscounted();
                self.0.counts.forget();
            }
            Err(call::Fault::Engine(_)) => {}
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What several parts look like to an engine.
#[cfg(any(test, fuzzing))]
pub(crate) fn body(parts: &[&Part]) -> Vec<u8> {
    call::body(parts)
}

impl Table {
    fn pace(&mut self, engine: EngineId, settings: &config::Joint) -> &mut Pace {
        self.paces.entry(engine).or_insert_with(|| Pace::new(settings))
    }
}

impl Lead {
    /// All of it came.
    pub fn done(&self) {
        let mut table = self.joint.table();
        table.pace(self.engine.id, &self.joint.0.settings).took(self.bytes, self.began.elapsed());
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut table = self.joint.table();
        if table.calls.get(&self.kind).is_none_or(Vec::is_empty) {
            table.calls.remove(&self.kind);
            return;
        }
        drop(table);
        let next = self.joint.clone().next(self.kind, Arc::clone(&self.engine));
        self.joint.0.tasks.spawn(next);
    }
}
