//! ReplicaService.

use super::Api;
use crate::{
    error::Error,
    field,
    freshness::Moment,
    replicas::{Kind, Report, Seen},
    store::events,
    token::Token,
};
use policy::{Epoch, Revision};
use proto::permissions::v1::{self as pb, replica_service_server::ReplicaService};
use shared::time;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Longest name of a replica, in characters.
const NAME: usize = 200;

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
        } else {
            self.replicas.report(&report(request)?).await?;
        }
        Ok(Response::new(pb::ReportReplicaResponse {}))
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
    Ok(Report { id: id(request)?, kind: Kind::Inference, name: name.to_owned(), place })
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
        }
    }
}
