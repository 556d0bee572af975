//! ReplicaService.

use super::Api;
use crate::{
    error::Error,
    field,
    freshness::Moment,
    replicas::{Gateway, Kind, Report, Seen},
    store::events,
    token::Token,
};
use policy::{Epoch, Revision};
use prost::Message;
use proto::permissions::v1::{self as pb, replica_service_server::ReplicaService};
use shared::time;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Longest name of a replica, in characters.
const NAME: usize = 200;
/// Longest address of a gateway, in characters.
const ADDRESS: usize = 200;
/// Most engines that a gateway says something of, and most models.
const ENGINES: usize = 10_000;

#[tonic::async_trait]
impl ReplicaService for Api {
    async fn get_revision(
        &self,
        _: Request<pb::GetRevisionRequest>,
    ) -> Result<Response<pb::GetRevisionResponse>, Status> {
        let head = events::head(&self.db).await.map_err(Error::from)?;
        let view = Moment::Now.view(&self.tail)?;
        Ok(Response::new(pb::GetRevisionResponse {
            head: head.revision.get(),
            applied: view.place().revision.get(),
            staleness: Some(time::duration_to_proto(view.staleness)),
            epoch: view.place().epoch.to_string(),
            cluster: self.tail.tokens().cluster().to_string(),
            token: view.token(),
        }))
    }

    async fn list_replicas(
        &self,
        _: Request<pb::ListReplicasRequest>,
    ) -> Result<Response<pb::ListReplicasResponse>, Status> {
        let replicas = self.replicas.list().await?.into_iter().map(pb::Replica::from).collect();
        Ok(Response::new(pb::ListReplicasResponse { replicas }))
    }

    async fn report_replica(
        &self,
        request: Request<pb::ReportReplicaRequest>,
    ) -> Result<Response<pb::ReportReplicaResponse>, Status> {
        let request = request.get_ref();
        if request.leaving {
            self.replicas.leave(id(request)?).await?;
            return Ok(Response::new(pb::ReportReplicaResponse::default()));
        }
        let report = report(request)?;
        self.replicas.report(&report).await?;
        let gateways = if report.gateway.is_some() { self.replicas.gateways().await? } else { Vec::new() };
        let gateways = gateways.into_iter().map(pb::Replica::from).collect();
        Ok(Response::new(pb::ReportReplicaResponse { gateways }))
    }
}

fn id(request: &pb::ReportReplicaRequest) -> Result<Uuid, Error> {
    Uuid::try_parse(&request.replica_id).map_err(|_| Error::invalid("replica_id", "must be a UUID"))
}

fn report(request: &pb::ReportReplicaRequest) -> Result<Report, Error> {
    if request.kind() != pb::ReplicaKind::Inference {
        return Err(Error::invalid("kind", "must be INFERENCE"));
    }
    let name = request.name.trim();
    if name.is_empty() || name.chars().count() > NAME {
        return Err(Error::invalid("name", "must have 1 to 200 characters"));
    }
    let epoch: Epoch = field::id("epoch", &request.epoch)?;
    let place = Token { epoch, revision: Revision(request.revision) };
    let gateway = request.gateway.as_ref().map(gateway).transpose()?;
    Ok(Report { id: id(request)?, kind: Kind::Inference, name: name.to_owned(), place, gateway })
}

fn gateway(gateway: &pb::Gateway) -> Result<Gateway, Error> {
    if gateway.address.is_empty() || gateway.address.chars().count() > ADDRESS {
        return Err(Error::invalid("gateway.address", "must have 1 to 200 characters"));
    }
    if !(gateway.weight.is_finite() && gateway.weight > 0.0) {
        return Err(Error::invalid("gateway.weight", "must be more than 0"));
    }
    if gateway.claims.len() > ENGINES || gateway.waits.len() > ENGINES {
        return Err(Error::invalid("gateway", "must not name more than 10,000 engines or models"));
    }
    let sequence = i64::try_from(gateway.sequence);
    let sequence = sequence.map_err(|_| Error::invalid("gateway.sequence", "is too large"))?;
    Ok(Gateway { sequence, said: gateway.encode_to_vec() })
}

impl From<Seen> for pb::Replica {
    fn from(seen: Seen) -> Self {
        let live = seen.is_live();
        let Seen { report, at, .. } = seen;
        let kind = match report.kind {
            Kind::Permissions => pb::ReplicaKind::Permissions,
            Kind::Inference => pb::ReplicaKind::Inference,
        };
        Self {
            replica_id: report.id.to_string(),
            kind: kind.into(),
            name: report.name,
            epoch: report.place.epoch.to_string(),
            revision: report.place.revision.get(),
            seen_time: Some(time::to_proto(at)),
            live,
            // What another version wrote and this one cannot read is nobody's word.
            gateway: report.gateway.and_then(|gateway| pb::Gateway::decode(gateway.said.as_slice()).ok()),
        }
    }
}
