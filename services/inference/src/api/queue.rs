//! QueueService: who waits and why, and how well promises are kept, at this gateway and at the others over its engines.

mod pages;
mod rows;

use super::{Api, engines::origin};
use crate::{error::Error, gateways::Gateways, goodput::WINDOWS};
use proto::inference::v1::{
    self as pb, queue_service_client::QueueServiceClient, queue_service_server::QueueService,
};
use rows::row_of;
use shared::{
    auth::{Caller, RequestExt},
    event::Change,
    time,
};
use std::time::Duration;
use tonic::{Request, Response, Status};
use uuid::Uuid;

#[tonic::async_trait]
impl QueueService for Api {
    async fn list_queues(
        &self,
        request: Request<pb::ListQueuesRequest>,
    ) -> Result<Response<pb::ListQueuesResponse>, Status> {
        let asked = request.into_inner();
        let Asked { here, others } = self.asked(&asked.gateway)?;
        let mut answer = pb::ListQueuesResponse::default();
        if here {
            for model in self.models(asked.model.clone()) {
                answer.queues.extend(self.queue.look(&model).await.map(|waits| self.summary(&waits)));
            }
        }
        if let Some((gateways, addresses)) = others {
            let ask = |channel, gateway| {
                let asked = pb::ListQueuesRequest { gateway, ..asked.clone() };
                async move { QueueServiceClient::new(channel).list_queues(asked).await }
            };
            let (said, unreached) = gateways.said_by_all(addresses, ask).await;
            answer.queues.extend(said.into_iter().flat_map(|said| said.queues));
            answer.unreached = unreached;
        }
        answer.queues.sort_by(|one, other| (&one.model, &one.gateway).cmp(&(&other.model, &other.gateway)));
        Ok(Response::new(answer))
    }

    async fn list_queued(
        &self,
        request: Request<pb::ListQueuedRequest>,
    ) -> Result<Response<pb::ListQueuedResponse>, Status> {
        Ok(Response::new(self.queued(request.into_inner()).await?))
    }

    async fn cancel_queued(
        &self,
        request: Request<pb::CancelQueuedRequest>,
    ) -> Result<Response<pb::CancelQueuedResponse>, Status> {
        let origin = origin(&request, |asked| &asked.reason)?;
        // What another gateway passes on is noted there.
        let passed_on = request.caller()? == Caller::Service;
        let asked = request.into_inner();
        let usage_id = id("usage_id", &asked.usage_id)?;
        let Asked { here, others } = self.asked(&asked.gateway)?;
        let withdrawn = match here {
            true => self.queue.withdraw(usage_id, &origin.reason).await,
            false => Err(Error::NotQueued { usage_id }),
        };
        match (withdrawn, others) {
            (Err(Error::NotQueued { .. }), Some((gateways, addresses))) => {
                let ask = |channel, gateway| {
                    let asked = pb::CancelQueuedRequest { gateway, ..asked.clone() };
                    async move { QueueServiceClient::new(channel).cancel_queued(asked).await }
                };
                let (withdrawn, _) = gateways.said_by_all(addresses, ask).await;
                if withdrawn.is_empty() {
                    return Err(Error::NotQueued { usage_id }.into());
                }
            }
            (withdrawn, _) => withdrawn?,
        }
        if !passed_on {
            let change = Change {
                kind: "queued_request",
                id: asked.usage_id,
                action: "cancelled",
                before: None,
                after: None,
            };
            self.events.note(&origin, change).await;
        }
        Ok(Response::new(pb::CancelQueuedResponse {}))
    }

    async fn get_goodput(
        &self,
        request: Request<pb::GetGoodputRequest>,
    ) -> Result<Response<pb::GetGoodputResponse>, Status> {
        let asked = request.into_inner();
        let windows = windows(asked.window.as_ref())?;
        let Asked { here, others } = self.asked(&asked.gateway)?;
        let mut answer = pb::GetGoodputResponse::default();
        let model = Some(asked.model.as_str()).filter(|model| !model.is_empty());
        for window in windows.into_iter().filter(|_| here) {
            let rows = self.inference.goodput.within(window, model).into_iter();
            let row = |(model, class, seen)| row_of(self.address(), model, class, window, &seen);
            answer.goodput.extend(rows.map(row));
        }
        if let Some((gateways, addresses)) = others {
            let ask = |channel, gateway| {
                let asked = pb::GetGoodputRequest { gateway, ..asked.clone() };
                async move { QueueServiceClient::new(channel).get_goodput(asked).await }
            };
            let (said, unreached) = gateways.said_by_all(addresses, ask).await;
            answer.goodput.extend(said.into_iter().flat_map(|said| said.goodput));
            answer.unreached = unreached;
        }
        answer.goodput.sort_by(|one, other| {
            let key = |row: &pb::Goodput| (row.model.clone(), row.priority_class);
            key(one).cmp(&key(other))
        });
        Ok(Response::new(answer))
    }
}

fn id(param: &'static str, text: &str) -> Result<Uuid, Error> {
    text.parse().map_err(|_| Error::Invalid { param, problem: "must be a UUID" })
}

/// One window, or all of them.
fn windows(asked: Option<&prost_types::Duration>) -> Result<Vec<Duration>, Error> {
    let Some(window) = asked else { return Ok(WINDOWS.to_vec()) };
    let window = time::duration_from_proto(window).filter(|window| WINDOWS.contains(window));
    let invalid = Error::Invalid { param: "window", problem: "must be 60 s, 300 s or 3600 s" };
    Ok(vec![window.ok_or(invalid)?])
}

/// The gateways that a request is about.
pub(super) struct Asked<'a> {
    /// Whether this one is.
    pub(super) here: bool,
    /// The others, by their addresses, when there may be any.
    pub(super) others: Option<(&'a Gateways, Vec<String>)>,
}

impl Api {
    /// The address at which other gateways reach this one; empty when it is alone.
    fn address(&self) -> &str {
        self.inference.gateways.as_ref().map_or("", Gateways::address)
    }

    /// All gateways, or the one that is named.
    pub(super) fn asked(&self, named: &str) -> Result<Asked<'_>, Error> {
        let own = self.address();
        let Some(gateways) = &self.inference.gateways else {
            return match named {
                "" => Ok(Asked { here: true, others: None }),
                _ => Err(UNKNOWN),
            };
        };
        let mut addresses = gateways.addresses();
        if !named.is_empty() {
            addresses.retain(|address| address == named);
        }
        let here = addresses.remove(own);
        match here || !addresses.is_empty() {
            true => Ok(Asked { here, others: Some((gateways, addresses.into_iter().collect())) }),
            false => Err(UNKNOWN),
        }
    }

    /// One model, or all of them.
    fn models(&self, model: String) -> Vec<String> {
        if model.is_empty() { self.queue.models() } else { vec![model] }
    }
}

const UNKNOWN: Error = Error::Invalid { param: "gateway", problem: "is no gateway that this one knows" };
