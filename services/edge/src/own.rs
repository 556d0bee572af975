//! What the edge answers itself, by asking every service the same: [`events`] of all of them in one list, and the
//! [`logs`] of their processes. It decides nothing: the caller's credential goes along, and each service looks at it.

mod events;
mod logs;
mod merge;

use crate::{rest::call, upstream::Upstreams};
use http::HeaderMap;
use proto::common::v1::{event_service_server::EventServiceServer, log_service_server::LogServiceServer};
use shared::{
    channel::Channel,
    request_id::RequestId,
    server::Tasks,
    status::{self, Fault},
};
use std::collections::HashMap;
use tonic::{Code, Request, Status, metadata::MetadataMap, service::Routes};
use tonic_types::{ErrorDetails, StatusExt};

/// Serves what is asked of all services.
#[derive(Debug, Clone)]
struct Own {
    upstreams: Upstreams,
    tasks: Tasks,
}

/// The services that the edge has itself.
pub(crate) fn routes(upstreams: &Upstreams, tasks: &Tasks) -> Routes {
    let own = Own { upstreams: upstreams.clone(), tasks: tasks.clone() };
    Routes::new(EventServiceServer::new(own.clone())).add_service(LogServiceServer::new(own))
}

impl Own {
    /// The service that is named, or all of them, in the order of their names.
    fn chosen(&self, named: &str) -> Result<Vec<(&'static str, Channel)>, Status> {
        let mut all = self.upstreams.all();
        all.retain(|(name, _)| named.is_empty() || *name == named);
        if all.is_empty() {
            return Err(invalid("service", "must be permissions, inference, monitoring, or empty for all"));
        }
        Ok(all)
    }
}

/// The same caller's question to another service.
fn onward<T, U>(from: &Request<T>, message: U) -> Request<U> {
    let headers = from.metadata().clone().into_headers();
    let id = from.extensions().get::<RequestId>().cloned();
    let id = id.unwrap_or_else(|| RequestId::of(&headers));
    let mut onward: HeaderMap = call::passed(&headers, from.extensions().get().copied(), &id);
    if let Some(timeout) = headers.get("grpc-timeout") {
        onward.insert("grpc-timeout", timeout.clone());
    }
    let mut request = Request::new(message);
    *request.metadata_mut() = MetadataMap::from_headers(onward);
    request
}

fn invalid(field: &'static str, problem: &str) -> Status {
    let fault = Fault::new(Code::InvalidArgument, "INVALID_FIELD");
    let mut details = ErrorDetails::with_error_info(fault.reason, status::DOMAIN, HashMap::new());
    details.add_bad_request_violation(field, problem);
    Status::with_error_details(fault.code, format!("{field}: {problem}"), details)
}
