//! What monitoring is told, in the order in which it happened, again and again until it has it; and what it answers.
//!
//! Nothing waits for it: an engine is drained whether monitoring hears of it or not.

use crate::{Config, observe::Seen};
use proto::monitoring::v1::{
    DrainWish, HeartbeatRequest, InstanceSpec, InstanceState, InstanceStatus, MoveCause, Preemption,
    RegisterInstanceRequest, ReportMoveRequest, ReportPreemptionRequest,
    instance_service_client::InstanceServiceClient,
};
use scaling::{Cause, Claim, State};
use shared::{
    channel::Channel,
    health::{Condition, Reporter as Health},
    server::Tasks,
    status, time,
};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Status};

/// Between two heartbeats, until monitoring says otherwise.
const BEAT: Duration = Duration::from_secs(5);
/// Longest time that a call may take.
const LIMIT: Duration = Duration::from_secs(3);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(500);

/// Something to tell.
#[derive(Debug)]
enum Word {
    /// The instance lives anew; answered with its epoch.
    Register(InstanceSpec, oneshot::Sender<u64>),
    Move(Claim, String),
    Preemption(Box<Preemption>),
    /// Answered when everything before it was told.
    Flush(oneshot::Sender<()>),
}

/// What monitoring says of the instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Heard {
    /// Which registration this is of.
    pub(crate) epoch: u64,
    pub(crate) verdict: Verdict,
    /// Somebody wants it drained.
    pub(crate) drain: Option<DrainWish>,
    /// Requests that wait for its pool.
    pub(crate) pool_queue: Option<u32>,
}

/// Whether monitoring takes it for what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    #[default]
    Known,
    /// It took it for gone, or knows nothing of it.
    Forgotten,
    /// Somebody else reports for it now.
    Replaced,
}

/// Tells monitoring.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    words: mpsc::UnboundedSender<Word>,
}

impl Reporter {
    /// Registers, and waits as long as that takes; none when the process ends.
    pub(crate) async fn register(&self, spec: InstanceSpec) -> Option<u64> {
        let (answer, answered) = oneshot::channel();
        self.words.send(Word::Register(spec, answer)).ok()?;
        answered.await.ok()
    }

    /// Tells of a move.
    pub(crate) fn moved(&self, claim: Claim, detail: impl Into<String>) {
        let detail = detail.into();
        tracing::info!(to = %claim.to, cause = ?claim.cause, detail, "the instance moved");
        // Nobody is left to be told when the process has ended.
        let _ = self.words.send(Word::Move(claim, detail));
    }

    /// Tells what a cloud does.
    pub(crate) fn preempted(&self, preemption: Preemption) {
        let _ = self.words.send(Word::Preemption(Box::new(preemption)));
    }

    /// Waits until everything was told, at most so long. Returns whether it was.
    pub(crate) async fn flush(&self, limit: Duration) -> bool {
        let (answer, answered) = oneshot::channel();
        self.words.send(Word::Flush(answer)).is_ok()
            && tokio::time::timeout(limit, answered).await.is_ok_and(|told| told.is_ok())
    }
}

struct Teller {
    id: String,
    client: InstanceServiceClient<Channel>,
    seen: watch::Receiver<Seen>,
    heard: watch::Sender<Heard>,
    health: Health,
}

/// Starts to tell.
pub(crate) fn start(
    config: &Config,
    monitoring: Channel,
    seen: watch::Receiver<Seen>,
    health: Health,
    tasks: &Tasks,
) -> (Reporter, watch::Receiver<Heard>) {
    let (words, mut told) = mpsc::unbounded_channel();
    let (hearing, heard) = watch::channel(Heard::default());
    let client = InstanceServiceClient::new(monitoring);
    let mut teller = Teller { id: config.instance_id.clone(), client, seen, heard: hearing, health };
    let stop = tasks.stopping();
    tasks.spawn(async move {
        let telling = async {
            let mut beats = tokio::time::interval(BEAT);
            loop {
                tokio::select! {
                    biased;
                    word = told.recv() => match word {
                        Some(word) => teller.tell(word).await,
                        None => return,
                    },
                    _ = beats.tick() => teller.beat().await,
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = telling => {}
        }
    });
    (Reporter { words }, heard)
}

impl Teller {
    /// Tells one thing until it is known, or refused for good.
    async fn tell(&mut self, word: Word) {
        match word {
            Word::Register(spec, answer) => {
                let epoch = loop {
                    let request = RegisterInstanceRequest {
                        instance_id: self.id.clone(),
                        spec: Some(spec.clone()),
                        detail: format!("agent {}", shared::process::name()),
                    };
                    let answer = self.client.register_instance(bounded(request)).await;
                    match self.noted(answer.map(|answer| answer.into_inner().instance)) {
                        Ok(Some(instance)) => break instance.epoch,
                        Ok(None) => {}
                        Err(status) => tracing::debug!(%status, "not registered yet"),
                    }
                    tokio::time::sleep(AGAIN).await;
                };
                self.heard.send_replace(Heard { epoch, ..Heard::default() });
                // Whoever asked may have gone.
                let _ = answer.send(epoch);
            }
            Word::Move(claim, detail) => {
                let request = ReportMoveRequest {
                    instance_id: self.id.clone(),
                    epoch: claim.epoch,
                    version: claim.version,
                    to: state(claim.to).into(),
                    cause: cause(claim.cause).into(),
                    detail,
                    time: Some(time::to_proto(policy::Time(
                        i64::try_from(claim.at.as_micros()).unwrap_or(i64::MAX),
                    ))),
                };
                loop {
                    let answer = self.client.report_move(bounded(request.clone())).await;
                    match self.noted(answer.map(drop)) {
                        Ok(()) => return,
                        Err(status) if self.is_final(&status, claim.epoch) => return,
                        Err(_) => tokio::time::sleep(AGAIN).await,
                    }
                }
            }
            Word::Preemption(preemption) => {
                let preemption = Some(*preemption);
                let request = ReportPreemptionRequest { instance_id: self.id.clone(), preemption };
                loop {
                    let epoch = self.heard.borrow().epoch;
                    let answer = self.client.report_preemption(bounded(request.clone())).await;
                    match self.noted(answer.map(drop)) {
                        Ok(()) => return,
                        Err(status) if self.is_final(&status, epoch) => return,
                        Err(_) => tokio::time::sleep(AGAIN).await,
                    }
                }
            }
            // Whoever waited may have gone.
            Word::Flush(answer) => drop(answer.send(())),
        }
    }

    /// Says that the instance is there, once it is registered.
    async fn beat(&mut self) {
        let epoch = self.heard.borrow().epoch;
        if epoch == 0 || self.heard.borrow().verdict != Verdict::Known {
            return;
        }
        let status = Some(told(&self.seen.borrow()));
        let request = HeartbeatRequest { instance_id: self.id.clone(), epoch, status };
        let answer = self.client.heartbeat(bounded(request)).await;
        match self.noted(answer.map(tonic::Response::into_inner)) {
            Ok(answer) => {
                self.heard.send_modify(|heard| {
                    (heard.drain, heard.pool_queue) = (answer.drain, answer.pool_queue_length);
                });
            }
            Err(status) => drop(self.is_final(&status, epoch)),
        }
    }

    /// Notes whether monitoring can be reached.
    fn noted<T>(&self, answer: Result<T, Status>) -> Result<T, Status> {
        let reached = !matches!(&answer, Err(status) if status::reason(status) == "SERVICE_UNREACHABLE");
        self.health.set(if reached {
            Condition::Up
        } else {
            Condition::Degraded("monitoring cannot be reached; what happened is told later".into())
        });
        answer
    }

    /// Whether saying it again would be refused again; what that says of the instance is noted.
    fn is_final(&self, status: &Status, epoch: u64) -> bool {
        let verdict = match status::reason(status).as_str() {
            "INSTANCE_REPLACED" => Verdict::Replaced,
            "INSTANCE_ENDED" | "INSTANCE_NOT_FOUND" | "MOVE_OUT_OF_TURN" | "ILLEGAL_MOVE" => {
                Verdict::Forgotten
            }
            "INVALID_FIELD" | "ROLE_NOT_ALLOWED" => {
                tracing::error!(%status, "monitoring will not take this");
                return true;
            }
            _ => return false,
        };
        self.heard.send_if_modified(|heard| {
            let news = heard.epoch == epoch && heard.verdict != verdict;
            if news {
                tracing::warn!(
                    ?verdict,
                    message = status.message(),
                    "monitoring takes this instance for another"
                );
                heard.verdict = verdict;
            }
            news
        });
        true
    }
}

fn bounded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(LIMIT);
    request
}

/// What was seen, as the contract has it.
fn told(seen: &Seen) -> InstanceStatus {
    let whole = |bytes: f64| bytes as i64;
    let sum = |of: fn(&crate::gpu::Gpu) -> Option<f64>| crate::gpu::sum(seen.gpus.iter().map(of)).map(whole);
    InstanceStatus {
        requests_running: seen.engine.running,
        requests_waiting: seen.engine.waiting,
        kv_cache_usage: seen.engine.kv_usage,
        gpu_usage: crate::gpu::mean(seen.gpus.iter().map(|gpu| gpu.usage)),
        gpu_memory_used_bytes: sum(|gpu| gpu.memory_used),
        gpu_memory_total_bytes: sum(|gpu| gpu.memory_total),
    }
}

const fn state(state: State) -> InstanceState {
    match state {
        State::Init => InstanceState::Init,
        State::Warming => InstanceState::Warming,
        State::Ready => InstanceState::Ready,
        State::Draining => InstanceState::Draining,
        State::Terminated => InstanceState::Terminated,
    }
}

const fn cause(cause: Cause) -> MoveCause {
    match cause {
        Cause::Registered => MoveCause::Registered,
        Cause::EngineUp => MoveCause::EngineUp,
        Cause::WarmedUp => MoveCause::WarmedUp,
        Cause::EngineLost => MoveCause::EngineLost,
        Cause::WarmUpFailed => MoveCause::WarmUpFailed,
        Cause::Preemption => MoveCause::Preemption,
        Cause::Requested => MoveCause::Requested,
        Cause::Stopped => MoveCause::Stopped,
        Cause::Idle => MoveCause::Idle,
        Cause::Drained => MoveCause::Drained,
        Cause::DrainLimit => MoveCause::DrainLimit,
        Cause::LeaseLost => MoveCause::LeaseLost,
    }
}
