//! Takes what a service has seen to permissions, which keeps it.

use super::{Batch, KeyUse, Kind, Seen, WINDOW, Watch};
use crate::{channel::Channel, server::Tasks, time};
use policy::KeyId;
use proto::permissions::v1::{
    self as pb, incident_service_client::IncidentServiceClient, key_service_client::KeyServiceClient,
};

/// Messages in one call.
const CALL: usize = 1_000;

/// Sends what is collected to permissions over `channel`, which carries the service token, until the process ends.
pub fn ship(watch: &Watch, channel: Channel, tasks: &Tasks) {
    watch.deliver(tasks, WINDOW, move |batch| send(channel.clone(), batch));
}

/// Sends a batch; what did not arrive comes back.
async fn send(channel: Channel, mut batch: Batch) -> Result<(), Batch> {
    let mut incidents = IncidentServiceClient::new(channel.clone());
    while !batch.incidents.is_empty() {
        let part = batch.incidents.iter().take(CALL).map(incident_to_proto).collect();
        if let Err(status) = incidents.record_incidents(pb::RecordIncidentsRequest { incidents: part }).await
        {
            tracing::debug!(%status, "incidents could not be sent; they are tried again");
            return Err(batch);
        }
        batch.incidents.drain(..CALL.min(batch.incidents.len()));
    }
    let mut keys = KeyServiceClient::new(channel);
    while !batch.uses.is_empty() {
        let part = batch.uses.iter().take(CALL).map(use_to_proto).collect();
        if let Err(status) = keys.report_key_use(pb::ReportKeyUseRequest { uses: part }).await {
            tracing::debug!(%status, "uses of keys could not be sent; they are tried again");
            return Err(batch);
        }
        batch.uses.drain(..CALL.min(batch.uses.len()));
    }
    Ok(())
}

fn incident_to_proto(seen: &Seen) -> pb::Incident {
    let incident = &seen.incident;
    pb::Incident {
        incident_id: String::new(),
        kind: kind_to_proto(incident.kind).into(),
        actor: incident.actor.clone(),
        key_id: incident.key.as_ref().map(KeyId::to_string).unwrap_or_default(),
        address: incident.address.map(|address| address.to_string()).unwrap_or_default(),
        method: incident.method.clone(),
        detail: incident.detail.clone(),
        count: i64::try_from(seen.count).unwrap_or(i64::MAX),
        first_time: Some(time::to_proto(seen.first)),
        last_time: Some(time::to_proto(seen.last)),
    }
}

fn use_to_proto(KeyUse { key, count, last }: &KeyUse) -> pb::KeyUse {
    pb::KeyUse {
        key_id: key.to_string(),
        count: i64::try_from(*count).unwrap_or(i64::MAX),
        last_use_time: Some(time::to_proto(*last)),
    }
}

/// A kind as the contract numbers it.
#[must_use]
pub const fn kind_to_proto(kind: Kind) -> pb::IncidentKind {
    match kind {
        Kind::SignInFailed => pb::IncidentKind::SignInFailed,
        Kind::CredentialRefused => pb::IncidentKind::CredentialRefused,
        Kind::CallRefused => pb::IncidentKind::CallRefused,
        Kind::RefreshTokenReused => pb::IncidentKind::RefreshTokenReused,
        Kind::InjectionSuspected => pb::IncidentKind::InjectionSuspected,
        Kind::Other => pb::IncidentKind::Other,
    }
}

/// A kind of the contract, or `None` for 0 and unknown numbers.
#[must_use]
pub fn kind_from_proto(number: i32) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| i32::from(kind_to_proto(*kind)) == number)
}
