//! PolicyService: the stream that gateways follow.

use super::Api;
use crate::{
    error::Error,
    field,
    token::Token,
    watch::{self, News},
};
use futures_util::{Stream, StreamExt};
use policy::{Epoch, Revision};
use proto::permissions::v1::{
    self as pb, policy_service_server::PolicyService, watch_policy_response as response,
};
use shared::{time, wire};
use std::pin::Pin;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl PolicyService for Api {
    type WatchPolicyStream = Pin<Box<dyn Stream<Item = Result<pb::WatchPolicyResponse, Status>> + Send>>;

    async fn watch_policy(
        &self,
        request: Request<pb::WatchPolicyRequest>,
    ) -> Result<Response<Self::WatchPolicyStream>, Status> {
        let held = held(request.get_ref())?;
        let news = watch::watch(&self.db, &self.tail, self.stop.clone(), held).await?;
        Ok(Response::new(Box::pin(news.map(|item| item.map(to_proto).map_err(Status::from)))))
    }
}

fn held(request: &pb::WatchPolicyRequest) -> Result<Option<Token>, Error> {
    let epoch: Option<Epoch> = field::optional_id("epoch", &request.epoch)?;
    Ok(epoch.map(|epoch| Token { epoch, revision: Revision(request.after_revision) }))
}

fn to_proto((epoch, news): (Epoch, News)) -> pb::WatchPolicyResponse {
    use response::Message;
    let all = |changes: &[policy::Change]| changes.iter().map(wire::change_to_proto).collect();
    let message = match news {
        News::Snapshot { revision, facts, last, at } => Message::Snapshot(response::Snapshot {
            revision: revision.get(),
            facts: all(&facts),
            last,
            time: Some(time::to_proto(at)),
        }),
        News::Delta { revision, changes, at } => Message::Delta(response::Delta {
            revision: revision.get(),
            changes: all(&changes),
            commit_time: Some(time::to_proto(at)),
        }),
        News::Heartbeat { revision, at } => Message::Heartbeat(response::Heartbeat {
            revision: revision.get(),
            time: Some(time::to_proto(at)),
        }),
    };
    pb::WatchPolicyResponse { epoch: epoch.to_string(), message: Some(message) }
}
