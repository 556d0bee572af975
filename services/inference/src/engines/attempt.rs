//! One request at one engine: what came of it is what the engine is judged by.
//!
//! The value travels with the answer. Dropped without a word, its caller went away, which is nobody's fault.

use super::Engine;
use std::{sync::Arc, time::Instant};

/// A request that an engine works on.
#[derive(Debug)]
pub struct Attempt {
    engine: Arc<Engine>,
    began: Instant,
    /// Whether tokens are expected on the way.
    stream: bool,
    begun: bool,
    over: bool,
}

/// How an engine failed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No connection.
    Connect,
    /// The connection or the answer broke off.
    Broken,
    /// A fault of its own, said in an answer or inside a stream.
    Error,
    /// No first token in time.
    Silent,
    /// Not within the caller's time, which may have been short.
    Late,
    /// It is full. That is no fault.
    Busy,
}

impl Attempt {
    /// A request goes to an engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>, stream: bool, now: Instant) -> Self {
        if stream {
            engine.pulse.begin(now);
        }
        Self { engine, began: now, stream, begun: false, over: false }
    }

    /// Something came on the way.
    pub fn heard(&mut self, now: Instant) {
        self.engine.pulse.beat(now);
        if !self.begun {
            self.begun = true;
            let after = now.saturating_duration_since(self.began);
            self.engine.update(|state, _| {
                state.heard = now;
                state.health.answered();
                state.window.first_token(after);
            });
        }
    }

    /// The answer came whole, or the engine refused the request itself.
    pub fn finish(&mut self, now: Instant) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.engine.update(|state, config| {
            state.heard = now;
            state.health.answered();
            state.breaker.succeeded(&config.breaker);
            state.window.ended(true);
        });
    }

    /// The engine failed it.
    pub fn fail(&mut self, fault: Fault, now: Instant) {
        if std::mem::replace(&mut self.over, true) || fault == Fault::Busy {
            return;
        }
        self.engine.update(|state, config| {
            match fault {
                Fault::Connect => state.health.unreachable("no connection can be made"),
                Fault::Silent => state.health.timed_out(),
                Fault::Late if !self.begun => state.health.timed_out(),
                Fault::Late | Fault::Broken | Fault::Error | Fault::Busy => {}
            }
            if fault != Fault::Late {
                state.breaker.failed(now, fault == Fault::Broken, &config.breaker);
                state.window.ended(false);
            }
        });
    }

    /// Another one reports of the call that it was a part of.
    pub const fn aside(&mut self) {
        self.over = true;
    }

    /// The engine does not know a model that it listed: it serves others since.
    pub fn lost(&mut self, model: &str) {
        self.over = true;
        self.engine.update(|state, _| state.sight.models.remove(model));
        tracing::warn!(engine = self.engine.url, model, "engine does not know a model that it listed");
    }

    /// Whether the engine may be asked again.
    #[must_use]
    pub fn may_be_asked_again(&self) -> bool {
        self.engine.accepting()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.stream {
            self.engine.pulse.end();
        }
    }
}
