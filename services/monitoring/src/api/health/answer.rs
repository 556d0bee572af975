//! How everything is, as the contract says it.

use crate::health::{Checked, Dependency, Picture};
use proto::monitoring::v1 as pb;
use shared::{health::report::kind, time};
use vitals::{Kind, Status};

pub(super) fn overall(picture: Picture) -> pb::GetHealthResponse {
    pb::GetHealthResponse {
        status: status(picture.overall.status).into(),
        reasons: picture.overall.reasons,
        time: Some(time::to_proto(picture.at)),
    }
}

pub(super) fn dependencies(picture: Picture, kind: Option<Kind>) -> pb::ListDependenciesResponse {
    let meant = |one: &Dependency| kind.is_none_or(|kind| one.kind == kind);
    let dependencies = picture.dependencies.into_iter().filter(meant).map(dependency).collect();
    pb::ListDependenciesResponse { dependencies }
}

pub(super) fn change(picture: Picture) -> pb::WatchHealthResponse {
    pb::WatchHealthResponse {
        status: status(picture.overall.status).into(),
        reasons: picture.overall.reasons,
        time: Some(time::to_proto(picture.at)),
        dependencies: picture.dependencies.into_iter().map(dependency).collect(),
    }
}

pub(super) fn checked(checked: Checked) -> pb::CheckNowResponse {
    let Checked { picture, processes, missing } = checked;
    pb::CheckNowResponse {
        status: status(picture.overall.status).into(),
        reasons: picture.overall.reasons,
        time: Some(time::to_proto(picture.at)),
        processes_checked: processes,
        processes_missing: missing,
    }
}

fn dependency(one: Dependency) -> pb::Dependency {
    pb::Dependency {
        name: one.name,
        kind: kind(one.kind).into(),
        status: status(one.status).into(),
        reason: one.reason,
        critical: one.critical,
        latency: one.latency.map(time::duration_to_proto),
        last_success_time: one.last_success.map(time::to_proto),
        consecutive_failures: one.failures,
        service: one.service,
        instance: one.instance,
        seen_time: Some(time::to_proto(one.seen)),
        used: one.used,
        hit_share: one.hit_share,
        database: one.database.map(Into::into),
    }
}

const fn status(status: Status) -> pb::HealthStatus {
    match status {
        Status::Healthy => pb::HealthStatus::Healthy,
        Status::Unknown => pb::HealthStatus::Unknown,
        Status::Degraded => pb::HealthStatus::Degraded,
        Status::Critical => pb::HealthStatus::Critical,
        Status::Unhealthy => pb::HealthStatus::Unhealthy,
    }
}
