//! `grpc.health.v1`: what load balancers and Kubernetes ask.

use super::{Health, State};
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

fn serving(service: &str, state: &State) -> HealthCheckResponse {
    let ok = match service {
        "liveness" => true,
        "startup" => state.up_once(),
        _ => state.ready(),
    };
    let status = if ok { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !self.knows(&service) {
            return Err(Status::not_found("no such service here"));
        }
        Ok(Response::new(serving(&service, &self.state.borrow())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        if !self.knows(&service) {
            let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
            let forever = futures_util::stream::iter([Ok(unknown)]).chain(futures_util::stream::pending());
            return Ok(Response::new(Box::pin(forever)));
        }
        let mut last = None;
        let states = WatchStream::new(self.state.subscribe()).filter_map(move |state| {
            let now = serving(&service, &state);
            let changed = last.as_ref() != Some(&now);
            last = Some(now);
            std::future::ready(changed.then_some(Ok(now)))
        });
        Ok(Response::new(Box::pin(states)))
    }
}
