//! Runs the batch: applies commands, waits out each step on tokio's clock, and tells requests what was made.
//!
//! Steps follow each other by the clock of the model, not by when the timer fired, so that a timer's millisecond does not
//! add up; an engine that falls behind by more than a moment starts anew from the present.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Command, Engine, Group, Made};
use crate::batching::{Batch, Moment, Progress};
use crate::errors::Rejection;
use crate::fault::Faults;
use crate::listen;

/// How far the model's clock may be behind before the difference is forgotten.
const LAG: Duration = Duration::from_millis(50);

/// The one task that computes.
#[derive(Debug)]
pub struct Driver {
    engine: Engine,
    inbox: mpsc::UnboundedReceiver<Command>,
    faults: watch::Receiver<Faults>,
    batch: Batch,
    seats: HashMap<u64, Seat>,
    epoch: Instant,
}

/// Who hears of a sequence's tokens.
#[derive(Debug)]
struct Seat {
    part: u32,
    made: mpsc::UnboundedSender<Made>,
    group: Group,
}

impl Driver {
    pub(super) fn new(engine: Engine, inbox: mpsc::UnboundedReceiver<Command>) -> Self {
        let config = engine.config();
        let batch = Batch::new(config.limits(), config.speed(), config.seed);
        let faults = engine.faults().subscribe();
        Self { engine, inbox, faults, batch, seats: HashMap::new(), epoch: Instant::now() }
    }

    /// Serves the engine on a listener until it is told to stop and its requests have had their time.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let (engine, cut) = (self.engine.clone(), CancellationToken::new());
        tracing::info!(models = ?engine.config().model, "serving a simulated engine: its answers are made up");
        let serve = async {
            let served = listen::serve(&engine, listener, cut.clone()).await;
            cut.cancel();
            served
        };
        let wind_down = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = cut.cancelled() => return,
            }
            engine.admission().close(Rejection::Draining);
            let grace = Duration::from_secs(engine.config().shutdown_timeout);
            let _ = tokio::time::timeout(grace, engine.admission().idle()).await;
            cut.cancel();
        };
        let (served, (), ()) = tokio::join!(serve, self.run(cut.clone()), wind_down);
        served
    }

    /// Computes until it is told to stop; then every request still here is cut.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.steps() => {}
        }
        self.engine.admission().close(Rejection::Dead);
    }

    async fn steps(&mut self) {
        let (mut now, mut made) = (self.epoch.elapsed(), Vec::new());
        loop {
            while let Ok(command) = self.inbox.try_recv() {
                self.apply(command);
            }
            let (hang, slow) = {
                let faults = self.faults.borrow_and_update();
                (faults.hang, faults.slow)
            };
            let length = if hang { None } else { self.batch.begin(now) };
            self.show_load();
            let Some(length) = length else {
                if !self.idle().await {
                    return;
                }
                now = self.epoch.elapsed();
                continue;
            };
            now += length.mul_f64(slow.unwrap_or(1.0).clamp(0.0, 1e6));
            self.wait_until(now).await;
            made.clear();
            self.batch.end(now, &mut made);
            self.deliver(&made, now);
            now = now.max(self.epoch.elapsed().saturating_sub(LAG));
        }
    }

    /// Waits until there may be something to do; `false` when nobody can ask any more.
    async fn idle(&mut self) -> bool {
        tokio::select! {
            command = self.inbox.recv() => {
                let Some(command) = command else { return false };
                self.apply(command);
            }
            _ = self.faults.changed() => {}
        }
        true
    }

    /// Lets a step take its time; who leaves meanwhile leaves at once, who comes is in the next one.
    async fn wait_until(&mut self, end: Duration) {
        if end <= self.epoch.elapsed() {
            tokio::task::yield_now().await;
            return;
        }
        let sleep = tokio::time::sleep_until(self.epoch + end);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                biased;
                () = &mut sleep => return,
                Some(command) = self.inbox.recv() => {
                    self.apply(command);
                    self.show_load();
                }
            }
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Add { sequence, part, made, group } => {
                let (id, tokens) = (sequence.id, sequence.prompt_tokens);
                match self.batch.add(self.epoch.elapsed(), sequence) {
                    Ok(()) => drop(self.seats.insert(id, Seat { part, made, group })),
                    // The longest sequence that is let in fits, so this is as good as a crash: its channel closes.
                    Err(error) => {
                        tracing::error!(%error, "a sequence was refused");
                        self.engine.admission().prefilled(tokens);
                        self.engine.admission().leave();
                    }
                }
            }
            Command::Abort { id } => {
                self.seats.remove(&id);
                if let Some(aborted) = self.batch.abort(id) {
                    if aborted.prefilling {
                        self.engine.admission().prefilled(aborted.prompt_tokens);
                    }
                    self.engine.metrics().aborted();
                    self.engine.admission().leave();
                }
            }
        }
    }

    fn deliver(&mut self, made: &[Progress], now: Duration) {
        let mut metrics = self.engine.metrics();
        metrics.step(made);
        for progress in made {
            let Some(seat) = self.seats.get(&progress.id) else { continue };
            let mut cached = None;
            if let Moment::Prefilled { prompt_tokens, cached_tokens, .. } = progress.moment {
                self.engine.admission().prefilled(prompt_tokens);
                cached = Some(cached_tokens);
            }
            // A request that is gone has its abort on the way.
            let _ = seat.made.send(Made { part: seat.part, cached_tokens: cached });
            if let Some(timeline) = &progress.finished {
                metrics.finished(timeline, seat.group, now);
                self.seats.remove(&progress.id);
                self.engine.admission().leave();
            }
        }
        metrics.load(&self.batch);
        drop(metrics);
        self.engine.ring();
    }

    fn show_load(&self) {
        self.engine.metrics().load(&self.batch);
        self.engine.ring();
    }
}
