//! What a process says of itself, understood.

use crate::{
    api::field,
    error::Violation,
    health::{Component, Condition, Told},
};
use policy::Time;
use proto::monitoring::v1 as pb;
use shared::db::Figures;
use vitals::Kind;

/// Characters of a name, and of a reason.
const MAX_NAME: usize = 300;
const MAX_REASON: usize = 1_000;
/// Components of a report, and services of a process.
const MAX_COMPONENTS: usize = 500;
const MAX_APIS: usize = 16;

pub(super) fn told(request: pb::ReportHealthRequest, now: Time) -> Result<Told, Violation> {
    if request.components.len() > MAX_COMPONENTS {
        return Err(Violation::new("components", format!("must be at most {MAX_COMPONENTS}")));
    }
    if request.apis.len() > MAX_APIS {
        return Err(Violation::new("apis", format!("must be at most {MAX_APIS}")));
    }
    let components = request.components.into_iter().enumerate().map(|(index, one)| {
        component(one).map_err(|violation| violation.within(&format!("components[{index}]")))
    });
    Ok(Told {
        instance: name("instance", request.instance)?,
        service: name("service", request.service)?,
        apis: request.apis.into_iter().map(|api| name("apis", api)).collect::<Result<_, _>>()?,
        components: components.collect::<Result<_, _>>()?,
        stopping: request.stopping,
        at: now,
    })
}

fn name(field: &str, text: String) -> Result<String, Violation> {
    let text = field::text(field, text, MAX_NAME)?;
    if text.is_empty() { Err(Violation::new(field, "must not be empty")) } else { Ok(text) }
}

fn component(one: pb::ReportedComponent) -> Result<Component, Violation> {
    let condition = match pb::ComponentCondition::try_from(one.condition) {
        Ok(pb::ComponentCondition::Starting) => Condition::Starting,
        Ok(pb::ComponentCondition::Up) => Condition::Up,
        Ok(pb::ComponentCondition::Degraded) => Condition::Degraded,
        Ok(pb::ComponentCondition::Down) => Condition::Down,
        _ => return Err(Violation::new("condition", "must be one of this contract")),
    };
    let database = one.database.map(|figures| {
        Ok(Figures {
            open: figures.connections_open,
            idle: figures.connections_idle,
            limit: figures.connections_limit,
            slow_statements: figures.slow_statements,
            slowest: field::duration("database.slowest", figures.slowest.as_ref())?,
        })
    });
    Ok(Component {
        name: name("name", one.name)?,
        kind: optional_kind("kind", one.kind)?.unwrap_or(Kind::Part),
        condition,
        reason: field::text("reason", one.reason, MAX_REASON)?,
        critical: one.critical,
        latency: field::duration("latency", one.latency.as_ref())?,
        last_success: field::optional_instant("last_success_time", one.last_success_time.as_ref())?,
        failures: one.consecutive_failures,
        database: database.transpose()?,
    })
}

/// A kind of dependency, or nothing when it was left out.
pub(super) fn optional_kind(field: &str, number: i32) -> Result<Option<Kind>, Violation> {
    Ok(Some(match pb::DependencyKind::try_from(number) {
        Ok(pb::DependencyKind::Unspecified) => return Ok(None),
        Ok(pb::DependencyKind::Api) => Kind::Api,
        Ok(pb::DependencyKind::Database) => Kind::Database,
        Ok(pb::DependencyKind::Redis) => Kind::Redis,
        Ok(pb::DependencyKind::Engine) => Kind::Engine,
        Ok(pb::DependencyKind::Cpu) => Kind::Cpu,
        Ok(pb::DependencyKind::Memory) => Kind::Memory,
        Ok(pb::DependencyKind::Disk) => Kind::Disk,
        Ok(pb::DependencyKind::Gpu) => Kind::Gpu,
        Ok(pb::DependencyKind::Part) => Kind::Part,
        Err(_) => return Err(Violation::new(field, "is not of this contract")),
    }))
}
