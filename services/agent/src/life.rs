//! The life of the instance: from the first sign of its engine to its end, and again when the engine comes back.
//!
//! What state it is in is part of its type, so a move that must not be cannot be written here.

use crate::{
    Config,
    drain::{Drained, Gateways, Why},
    engine::Engine,
    gpu,
    notice::Notice,
    report::{Heard, Reporter, Verdict},
    stop::Stop,
    web::Web,
};
use proto::monitoring::v1::{InstanceSpec, Preemption};
use scaling::{
    Cause,
    instance::{Init, Instance, Ready, Unready, Warming},
};
use shared::{
    health::{Condition, Reporter as Health},
    time,
};
use std::{pin::pin, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// Between two looks at the engine.
const LOOK: Duration = Duration::from_secs(1);
/// So many looks in vain mean that the engine is gone.
const LOST_AFTER: u32 = 3;
/// How long monitoring is told of an end before the machine may go.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// That the instance is to end.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) cause: Cause,
    pub(crate) detail: String,
    /// How long draining may take; the agent's own limit when none.
    pub(crate) limit: Option<Duration>,
    /// What the cloud said, when it was the cloud.
    pub(crate) notice: Option<Notice>,
}

/// Everything that a life needs.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) config: Config,
    pub(crate) engine: Engine,
    pub(crate) gateways: Gateways,
    pub(crate) stop: Stop,
    pub(crate) reporter: Reporter,
    pub(crate) heard: watch::Receiver<Heard>,
    pub(crate) ordered: mpsc::Receiver<Order>,
    pub(crate) stopping: CancellationToken,
    pub(crate) web: Web,
}

/// Where the instance is.
enum Phase {
    Init(Instance<Init>),
    Warming(Instance<Warming>),
    Ready(Instance<Ready>),
}

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The agent is to stop.
    Stopped,
    /// Somebody else reports for the instance now.
    Replaced,
    /// Monitoring took it for gone while it lived.
    Forgotten,
    /// It was ended, and the agent stays.
    Ended,
}

/// What made a wait end.
enum Turn<T> {
    Done(T),
    Ordered(Order),
    Replaced,
    Forgotten,
}

impl Life {
    /// Lives until the process ends or another agent takes over.
    pub(crate) async fn run(mut self, health: &Health) {
        loop {
            health.set(Condition::Up);
            let spec = self.spec().await;
            let registering = self.reporter.register(spec);
            let stopping = self.stopping.clone();
            let epoch = tokio::select! {
                () = stopping.cancelled() => return,
                epoch = registering => epoch,
            };
            let Some(epoch) = epoch else { return };
            let end = Box::pin(self.live(Instance::registered(epoch), health)).await;
            tracing::info!(?end, "the life of the instance is over");
            match end {
                End::Stopped => return,
                End::Replaced => {
                    health.set(Condition::Down("another agent reports for this instance".into()));
                    return;
                }
                End::Forgotten => {}
                End::Ended => {
                    health.set(Condition::Degraded(
                        "the engine is drained; it lives again when it was started again".into(),
                    ));
                    let stopping = self.stopping.clone();
                    tokio::select! {
                        () = stopping.cancelled() => return,
                        () = self.until_restarted() => {}
                    }
                }
            }
        }
    }

    async fn spec(&self) -> InstanceSpec {
        let gpus = gpu::Source::new(&self.config).read().await.unwrap_or_default();
        InstanceSpec {
            pool: self.config.pool.clone(),
            node: self.config.node.clone(),
            engine_url: self.config.engine_url.clone(),
            provider: self.config.cloud.provider.name().to_owned(),
            spot: self.config.cloud.spot,
            gpus: gpus.into_iter().map(|gpu| gpu.name).collect(),
        }
    }

    async fn live(&mut self, instance: Instance<Init>, health: &Health) -> End {
        let mut phase = Phase::Init(instance);
        let mut warm_until = Instant::now() + self.config.warm_up.within;
        loop {
            phase = match phase {
                Phase::Init(instance) => {
                    let engine = self.engine.clone();
                    match self.turn(until_answers(&engine)).await {
                        Turn::Done(()) => {
                            let (instance, claim) = instance.warm(now());
                            self.reporter.moved(claim, "");
                            warm_until = Instant::now() + self.config.warm_up.within;
                            Phase::Warming(instance)
                        }
                        turn => return self.give_up(instance, turn).await,
                    }
                }
                Phase::Warming(instance) => {
                    let engine = self.engine.clone();
                    match self.turn(warmed_up(&engine, warm_until)).await {
                        Turn::Done(Ok(took)) => {
                            let (instance, claim) = instance.ready(now());
                            self.reporter.moved(claim, format!("a completion took {} ms", took.as_millis()));
                            self.gateways.readmit().await;
                            health.set(Condition::Up);
                            Phase::Ready(instance)
                        }
                        Turn::Done(Err(why)) => {
                            let (_, claim) = instance.give_up(Cause::WarmUpFailed, now());
                            self.reporter.moved(claim, why);
                            return End::Ended;
                        }
                        turn => return self.give_up(instance, turn).await,
                    }
                }
                Phase::Ready(instance) => {
                    let engine = self.engine.clone();
                    match self.turn(until_lost(&engine)).await {
                        Turn::Done(()) => {
                            health.set(Condition::Degraded("the engine does not answer".into()));
                            let (instance, claim) = instance.lose_engine(now());
                            self.reporter.moved(claim, "its health was asked for in vain");
                            warm_until = Instant::now() + self.config.warm_up.within;
                            Phase::Warming(instance)
                        }
                        Turn::Ordered(order) => return self.end(instance, order).await,
                        Turn::Replaced => return End::Replaced,
                        Turn::Forgotten => return End::Forgotten,
                    }
                }
            };
        }
    }

    /// Waits for something, unless something more important comes first.
    async fn turn<T>(&mut self, wanted: impl Future<Output = T>) -> Turn<T> {
        let mut wanted = pin!(wanted);
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => {
                    let detail = "the agent was told to stop".to_owned();
                    return Turn::Ordered(Order { cause: Cause::Stopped, detail, limit: None, notice: None });
                }
                Some(order) = self.ordered.recv() => return Turn::Ordered(order),
                Ok(()) = self.heard.changed() => {
                    let heard = self.heard.borrow_and_update().clone();
                    match heard.verdict {
                        Verdict::Replaced => return Turn::Replaced,
                        Verdict::Forgotten => return Turn::Forgotten,
                        Verdict::Known => {}
                    }
                    if let Some(wish) = heard.drain {
                        let limit = wish.limit.as_ref().and_then(time::duration_from_proto);
                        let (cause, detail) = (Cause::Requested, wish.reason);
                        return Turn::Ordered(Order { cause, detail, limit, notice: None });
                    }
                }
                done = &mut wanted => return Turn::Done(done),
            }
        }
    }

    /// Ends what never was ready: there is nothing to drain.
    async fn give_up<S: Unready, T>(&mut self, instance: Instance<S>, turn: Turn<T>) -> End {
        let order = match turn {
            Turn::Ordered(order) => order,
            Turn::Replaced => return End::Replaced,
            Turn::Forgotten | Turn::Done(_) => return End::Forgotten,
        };
        let (_, claim) = instance.give_up(order.cause, now());
        self.reporter.moved(claim, order.detail.clone());
        let nothing = Drained { began_with: 0, left: 0 };
        if let Some(notice) = &order.notice {
            self.reporter.preempted(told(notice, Some(nothing), true));
        }
        self.after(order).await
    }

    /// Drains the engine and ends.
    async fn end(&mut self, instance: Instance<Ready>, order: Order) -> End {
        let (draining, claim) = instance.drain(order.cause, now());
        self.reporter.moved(claim, order.detail.clone());
        if let Some(notice) = &order.notice {
            self.reporter.preempted(told(notice, None, false));
        }
        let skip = order.cause == Cause::Stopped && !self.config.drain.on_stop;
        let limit = if skip { Duration::ZERO } else { self.limit(&order) };
        let drained = if skip {
            Drained { began_with: 0, left: 0 }
        } else {
            let why = Why { preempted: order.cause == Cause::Preemption, reason: order.detail.clone() };
            self.gateways.drain(&self.engine, &why, limit).await
        };
        let finished = drained.began_with - drained.left.min(drained.began_with);
        let (cause, detail) = if drained.left == 0 {
            (Cause::Drained, format!("{finished} requests were finished"))
        } else {
            let left = drained.left;
            (Cause::DrainLimit, format!("{finished} requests were finished, {left} are still there"))
        };
        let (_, claim) = draining.terminate(cause, now());
        self.reporter.moved(claim, detail);
        if let Some(notice) = &order.notice {
            self.reporter.preempted(told(notice, Some(drained), true));
        }
        self.after(order).await
    }

    /// How long draining may take.
    fn limit(&self, order: &Order) -> Duration {
        let own = order.limit.unwrap_or(self.config.drain.limit);
        let deadline = order.notice.as_ref().and_then(|notice| notice.deadline);
        let left = deadline.map(|deadline| {
            let micros = u64::try_from(deadline.0 - time::now().0).unwrap_or(0);
            Duration::from_micros(micros).saturating_sub(self.config.drain.reserve)
        });
        left.map_or(own, |left| left.min(own))
    }

    /// What is to be done once everything has ended.
    async fn after(&mut self, order: Order) -> End {
        if !self.reporter.flush(LAST_WORDS).await {
            tracing::warn!("monitoring was not told of the end in time");
        }
        if let Some(notice) = &order.notice {
            notice.release(&self.config, &self.web).await;
        }
        if order.cause == Cause::Idle {
            self.stop.now().await;
        }
        // Further orders were about this life.
        while self.ordered.try_recv().is_ok() {}
        if order.cause == Cause::Stopped { End::Stopped } else { End::Ended }
    }

    /// Waits until the engine has gone and come back.
    async fn until_restarted(&mut self) {
        while self.engine.answers().await {
            sleep(LOOK).await;
        }
        tracing::info!("the engine has gone; its instance lives again when it is back");
        until_answers(&self.engine).await;
        while self.ordered.try_recv().is_ok() {}
    }
}

async fn until_answers(engine: &Engine) {
    while !engine.answers().await {
        sleep(LOOK).await;
    }
}

/// Waits until a completion succeeds, and says how long that one took.
async fn warmed_up(engine: &Engine, until: Instant) -> Result<Duration, String> {
    loop {
        let began = Instant::now();
        let why = if engine.is_well().await {
            match engine.complete().await {
                Ok(()) => return Ok(began.elapsed()),
                Err(why) => why.to_string(),
            }
        } else {
            "it does not say that it is well".to_owned()
        };
        if Instant::now() >= until {
            return Err(why);
        }
        tracing::debug!(why, "the engine is not ready yet");
        sleep(LOOK).await;
    }
}

async fn until_lost(engine: &Engine) {
    let mut failed = 0;
    while failed < LOST_AFTER {
        sleep(LOOK).await;
        failed = if engine.is_well().await { 0 } else { failed + 1 };
    }
}

/// What the cloud does, as the contract has it.
fn told(notice: &Notice, drained: Option<Drained>, over: bool) -> Preemption {
    Preemption {
        event_id: notice.event_id.clone(),
        action: notice.action.clone(),
        notice_time: Some(time::to_proto(notice.heard)),
        deadline: notice.deadline.map(time::to_proto),
        end_time: over.then(|| time::to_proto(time::now())),
        requests_in_flight: drained.map(|drained| drained.began_with),
        requests_finished: drained.map(|drained| drained.began_with.saturating_sub(drained.left)),
        requests_unfinished: drained.map(|drained| drained.left),
        instance_id: String::new(),
    }
}

fn now() -> Duration {
    Duration::from_micros(u64::try_from(time::now().0).unwrap_or(0))
}
