//! The one address of `up`: probes and reflection, gRPC by content type, everything else to the edge.

use axum::{Router, body::Body, extract::Request, response::Response, routing::any};
use shared::server::{is_admin, is_grpc};
use std::convert::Infallible;
use tower::ServiceExt;

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
    /// One router over all of them.
    pub(crate) fn door(self) -> Router {
        Router::new().fallback_service(any(move |request: Request| self.clone().enter(request)))
    }

    async fn enter(self, request: Request) -> Result<Response<Body>, Infallible> {
        self.room(&request).oneshot(request).await
    }

    fn room(self, request: &Request) -> Router {
        let path = request.uri().path();
        if is_admin(path) {
            self.admin
        } else if !is_grpc(request) {
            self.edge
        } else if path.starts_with("/tollgate.inference.") {
            self.inference
        } else if path.starts_with("/tollgate.monitoring.") {
            self.monitoring
        } else {
            self.permissions
        }
    }
}
