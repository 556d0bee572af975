//! Keeps what is held of hard budgets in step with monitoring: asks for what is needed, gives back what is not, and at the end
//! everything.

use super::{Budgets, WindowKey, predecessors::Predecessors};
use crate::journal::Journal;
use budgets::{Amount, Ask};
use proto::monitoring::v1::{LeaseAsk, SyncBudgetsRequest, budget_service_client::BudgetServiceClient};
use shared::{
    channel::Channel,
    health::{Condition, Reporter},
    server::Tasks,
    time,
};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::time::timeout;
use tonic::Code;

/// Between two calls when nothing happens.
const EVERY: Duration = Duration::from_millis(500);
/// Between two calls when purses are empty.
const SOONEST: Duration = Duration::from_millis(20);
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the first one may hold up the start.
const FIRST: Duration = Duration::from_secs(1);
/// The part of a limit that is kept in store.
const STORE: i64 = 20;

/// Keeps in step until the process ends. Returns once monitoring has answered, or has had its time to.
///
/// # Errors
/// When the folder cannot be written.
pub async fn start(
    budgets: Budgets,
    folder: &Path,
    journal: Arc<Journal>,
    monitoring: Channel,
    health: Reporter,
    tasks: &Tasks,
) -> io::Result<()> {
    let predecessors = Predecessors::open(folder, budgets.gateway(), &journal)?;
    let client = BudgetServiceClient::new(monitoring);
    let mut sync = Sync { budgets, journal, client, predecessors, health };
    let _ = timeout(FIRST, sync.twice()).await;
    let stop = tasks.stopping();
    tasks.spawn(async move {
        loop {
            let shared = Arc::clone(&sync.budgets.0);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(EVERY) => {}
                () = shared.empty.notified() => tokio::time::sleep(SOONEST).await,
            }
            sync.once(false).await;
        }
        sync.once(true).await;
    });
    Ok(())
}

struct Sync {
    budgets: Budgets,
    journal: Arc<Journal>,
    client: BudgetServiceClient<Channel>,
    predecessors: Predecessors,
    health: Reporter,
}

impl Sync {
    /// The first call tells of budgets, the second one brings leases.
    async fn twice(&mut self) {
        self.once(false).await;
        self.once(false).await;
    }

    async fn once(&mut self, last: bool) {
        let (asks, call) = self.asks(last);
        self.call(asks).await;
        self.budgets.0.over.send_replace(call);
    }

    async fn call(&mut self, asks: Vec<LeaseAsk>) {
        let ended = self.predecessors.ended(&self.journal);
        let request = SyncBudgetsRequest {
            gateway_id: self.budgets.gateway().to_string(),
            asks,
            ended_gateway_ids: ended.iter().map(ToString::to_string).collect(),
        };
        let mut request = tonic::Request::new(request);
        request.set_timeout(PATIENCE);
        let heard = match self.client.sync_budgets(request).await {
            Ok(answer) => self.budgets.lock().hear(answer.into_inner()),
            // It is of an earlier version, which has no budgets.
            Err(status) if status.code() == Code::Unimplemented => Ok(()),
            Err(status) => {
                // What it holds was given to others: it spends it no further.
                if status.code() == Code::FailedPrecondition {
                    self.budgets.lock().empty();
                    tracing::error!(message = status.message(), "hard budgets are closed to this gateway");
                }
                tracing::debug!(message = status.message(), "monitoring does not lease budgets");
                self.health.set(Condition::Degraded("monitoring does not lease budgets".into()));
                return;
            }
        };
        if let Err(error) = heard.and_then(|()| self.predecessors.forget(&ended)) {
            tracing::warn!(%error, "what is known of budgets could not be kept in the data folder");
        }
        self.health.set(Condition::Up);
    }

    /// What to ask for, and the number of the call.
    fn asks(&self, last: bool) -> (Vec<LeaseAsk>, u64) {
        let mut known = self.budgets.lock();
        known.calls += 1;
        let call = known.calls;
        let asks = known.held.iter_mut().map(|(key, held)| {
            let limit = held.purse.limit();
            let store = |limit: Option<i64>| limit.map_or(0, |limit| limit / STORE);
            let keep = Amount { money: store(limit.money).into(), tokens: store(limit.tokens) };
            (*key, if last { held.purse.close() } else { held.purse.ask(keep) })
        });
        (asks.map(ask).collect(), call)
    }
}

fn ask(((budget, start), ask): (WindowKey, Ask)) -> LeaseAsk {
    // A lease is a part of a limit, and that has 64 bits.
    let pico = |money: i128| i64::try_from(money).unwrap_or(i64::MAX);
    LeaseAsk {
        budget_id: budget.to_string(),
        window_start_time: Some(time::to_proto(policy::Time(start))),
        target_pico_usd: pico(ask.target.money),
        target_tokens: ask.target.tokens,
        released_pico_usd: pico(ask.released.money),
        released_tokens: ask.released.tokens,
    }
}
