//! Telling monitoring how this process is: at once when a condition changes, every ten seconds else.
//!
//! A report is complete by itself, so any replica of monitoring can take it, and nothing is kept that could not be sent.
//! The answer stays open, and says so when somebody wants everything looked at now.

use super::{Component, Condition, Health};
use crate::{channel::Channel, report::Source, server::Tasks, time};
use proto::monitoring::v1::{self as pb, health_service_client::HealthServiceClient};
use std::time::Duration;
use tonic::{Request, Streaming};
use vitals::Kind;

/// Between two reports.
pub const EVERY: Duration = Duration::from_secs(10);
/// And at least: what changes at once is told at once.
const BREATH: Duration = Duration::from_millis(100);
/// A call may take so long until it is answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that is not a part of the process, and comes and goes: an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// What it is called.
    pub name: String,
    /// How it is.
    pub component: Component,
}

/// Reports over `channel`, which carries the service token, until the process ends.
pub fn start(source: Source, health: Health, channel: Channel, tasks: &Tasks) {
    let (stop, mut changes) = (tasks.stopping(), health.state.subscribe());
    let mut monitoring = HealthServiceClient::new(channel);
    tasks.spawn(async move {
        loop {
            changes.mark_unchanged();
            let report = report(&source, &health);
            let told = tokio::time::timeout(PATIENCE, monitoring.report_health(Request::new(report)));
            let mut wishes = tokio::select! {
                () = stop.cancelled() => return,
                told = told => match told {
                    Ok(Ok(wishes)) => Some(wishes.into_inner()),
                    Ok(Err(status)) => {
                        tracing::debug!(%status, "monitoring was not told how this process is; it will be");
                        None
                    }
                    Err(_) => None,
                },
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
                _ = changes.changed() => {}
                () = wished(&mut wishes) => health.look().await,
            }
            tokio::time::sleep(BREATH).await;
        }
    });
}

/// Waits until somebody wants everything looked at.
async fn wished(wishes: &mut Option<Streaming<pb::ReportHealthResponse>>) {
    if let Some(wishes) = wishes
        && matches!(wishes.message().await, Ok(Some(_)))
    {
        return;
    }
    std::future::pending().await
}

fn report(source: &Source, health: &Health) -> pb::ReportHealthRequest {
    let beside = health.beside();
    let state = health.state.borrow();
    let own = state.components.iter().map(|(name, component)| to_proto(name, component));
    let beside = beside.iter().map(|beside| to_proto(&beside.name, &beside.component));
    pb::ReportHealthRequest {
        instance: source.instance.clone(),
        service: source.service.to_owned(),
        components: own.chain(beside).collect(),
        stopping: state.stopping,
        apis: source.apis.iter().map(|api| (*api).to_owned()).collect(),
    }
}

fn to_proto(name: &str, component: &Component) -> pb::ReportedComponent {
    use pb::ComponentCondition::{Degraded, Down, Starting, Up};
    let (condition, reason) = match &component.condition {
        Condition::Starting => (Starting, ""),
        Condition::Up => (Up, ""),
        Condition::Degraded(reason) => (Degraded, reason.as_str()),
        Condition::Down(reason) => (Down, reason.as_str()),
    };
    pb::ReportedComponent {
        name: name.to_owned(),
        kind: kind(component.kind).into(),
        condition: condition.into(),
        reason: reason.to_owned(),
        critical: component.critical,
        latency: component.latency.map(time::duration_to_proto),
        last_success_time: component.last_success.map(time::to_proto),
        consecutive_failures: component.consecutive_failures,
        database: component.database.map(Into::into),
    }
}

/// What a component is, as the contract says it.
#[must_use]
pub const fn kind(kind: Kind) -> pb::DependencyKind {
    match kind {
        Kind::Api => pb::DependencyKind::Api,
        Kind::Database => pb::DependencyKind::Database,
        Kind::Redis => pb::DependencyKind::Redis,
        Kind::Engine => pb::DependencyKind::Engine,
        Kind::Cpu => pb::DependencyKind::Cpu,
        Kind::Memory => pb::DependencyKind::Memory,
        Kind::Disk => pb::DependencyKind::Disk,
        Kind::Gpu => pb::DependencyKind::Gpu,
        Kind::Part => pb::DependencyKind::Part,
    }
}
