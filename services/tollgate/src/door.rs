//! The one address of `up`: probes and reflection, gRPC by content type, what all services answer alike and everything
//! else to the edge.

use axum::{Router, response::Response, routing::future::RouteFuture};
use http::Request;
use hyper::body::Incoming;
use shared::server::{is_admin, is_grpc};
use std::{
    convert::Infallible,
    task::{Context, Poll},
};
use tower::Service;

/// The services behind the door.
#[derive(Debug, Clone)]
pub(crate) struct Rooms {
    pub(crate) admin: Router,
    pub(crate) permissions: Router,
    pub(crate) inference: Router,
    pub(crate) monitoring: Router,
    pub(crate) edge: Router,
}

impl Rooms {
    fn room<B>(&mut self, request: &Request<B>) -> &mut Router {
        let path = request.uri().path();
        if is_admin(path) {
            &mut self.admin
        } else if !is_grpc(request) || path.starts_with("/tollgate.common.") {
            &mut self.edge
        } else if path.starts_with("/tollgate.inference.") {
            &mut self.inference
        } else if path.starts_with("/tollgate.monitoring.") {
            &mut self.monitoring
        } else {
            &mut self.permissions
        }
    }
}

impl Service<Request<Incoming>> for Rooms {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Routers always are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.room(&request).call(request)
    }
}
