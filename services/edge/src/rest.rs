//! Management calls: a request becomes a message, is sent to the service that owns its method, and the answer
//! becomes JSON again.
//!
//! [`route`] holds the methods by verb and path, [`body`] makes the message with [`parameters`] and [`shape`],
//! [`call`] sends it, and [`stream`] turns a stream of messages into server-sent events.

pub(crate) mod body;
pub(crate) mod call;
pub(crate) mod parameters;
pub(crate) mod path;
pub(crate) mod route;
mod shape;
mod stream;

use crate::{Config, Error, envelope, error::Rejection, upstream::Owners};
use axum::{
    extract::{Request, State},
    response::Response,
};
use http::HeaderMap;
use route::Routes;
use shared::request_id::RequestId;
use std::sync::Arc;

/// The routes and what serving them needs.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) routes: Routes,
    config: Config,
}

/// Answers one call; every refusal is an answer too.
pub(crate) async fn serve(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let id = id.unwrap_or_else(|| RequestId::of(request.headers()));
    match Box::pin(rest.answer(request, &id)).await {
        Ok(answer) => answer,
        Err(rejection) => rejection.into_response(&id),
    }
}

impl Rest {
    pub(crate) fn new(config: &Config, owners: &Owners) -> Result<Self, Error> {
        Ok(Self { routes: Routes::from_contract(owners)?, config: config.clone() })
    }

    async fn answer(&self, request: Request, id: &RequestId) -> Result<Response, Rejection> {
        let (parts, body) = request.into_parts();
        let found = self.routes.find(&parts.method, parts.uri.path())?;
        let body = body::read(&parts.headers, body, &self.config).await?;
        let message = body::message(&found, parts.uri.query().unwrap_or_default(), &body)?;

        let call = call::Call::new(found.route, &parts, id, self.config.management_timeout);
        if found.route.method.is_server_streaming() {
            let call::Answer { message, limits } = call.stream(message).await?;
            Ok(saying(limits, stream::answer(message, id.clone(), self.config.stream_heartbeat)))
        } else {
            let call::Answer { message, limits } = call.unary(message).await?;
            let document = found.route.is_document();
            let answer =
                if document { envelope::document(&message) } else { envelope::success(&message, id) };
            Ok(saying(limits, answer?))
        }
    }
}

/// The answer with what the service said of its limits.
fn saying(limits: HeaderMap, mut answer: Response) -> Response {
    answer.headers_mut().extend(limits);
    answer
}
