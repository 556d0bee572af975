//! Tells permissions how far the local policy is, so that an urgent change can wait for it, and what it has to say to other
//! gateways over the same engines.

use super::PolicyView;
use crate::gateways::Gateways;
use proto::permissions::v1::{
    ReplicaKind, ReportReplicaRequest, replica_service_client::ReplicaServiceClient,
};
use shared::{channel::Channel, server::Tasks};
use std::time::Duration;
use uuid::Uuid;

/// Longest time between two reports.
const BEAT: Duration = Duration::from_secs(1);
/// Shortest time between two reports.
const REST: Duration = Duration::from_millis(50);
/// Between two reports while engines have new owners.
const HURRY: Duration = Duration::from_millis(100);
/// Longest time that a report may take.
const LIMIT: Duration = Duration::from_secs(1);

/// Reports until the process ends, and that it ends.
pub(super) fn start(view: &PolicyView, permissions: Channel, gateways: Option<Gateways>, tasks: &Tasks) {
    let id = gateways.as_ref().map_or_else(Uuid::new_v4, Gateways::id);
    let mut reporter = Reporter {
        view: view.clone(),
        client: ReplicaServiceClient::new(permissions),
        id: id.to_string(),
        name: shared::process::name(),
        gateways,
    };
    let stop = tasks.stopping();
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = reporter.report_on() => {}
        }
        reporter.say(true).await;
    });
}

struct Reporter {
    view: PolicyView,
    client: ReplicaServiceClient<Channel>,
    id: String,
    name: String,
    gateways: Option<Gateways>,
}

impl Reporter {
    async fn report_on(&mut self) {
        let mut moves = self.view.moves.subscribe();
        loop {
            moves.mark_unchanged();
            self.say(false).await;
            tokio::time::sleep(REST).await;
            // An error means that the view is gone, and this task is about to end.
            let _ = tokio::time::timeout(self.beat() - REST, moves.changed()).await;
        }
    }

    fn beat(&self) -> Duration {
        if self.gateways.as_ref().is_none_or(Gateways::is_settled) { BEAT } else { HURRY }
    }

    async fn say(&mut self, leaving: bool) {
        let (epoch, revision) = self.view.position();
        if epoch.is_empty() {
            return;
        }
        let gateway = self.gateways.as_ref().map(Gateways::say);
        let sequence = gateway.as_ref().map_or(0, |gateway| gateway.sequence);
        let report = ReportReplicaRequest {
            replica_id: self.id.clone(),
            kind: ReplicaKind::Inference.into(),
            name: self.name.clone(),
            epoch,
            revision: revision.get(),
            leaving,
            gateway,
        };
        match tokio::time::timeout(LIMIT, self.client.report_replica(report)).await {
            Ok(Ok(answer)) => {
                if let Some(gateways) = &self.gateways {
                    gateways.answered(sequence, &answer.into_inner().gateways);
                }
            }
            Ok(Err(status)) => {
                tracing::debug!(message = status.message(), "the policy's revision was not reported");
            }
            Err(_) => tracing::debug!("the policy's revision was not reported in time"),
        }
    }
}
