//! The public door: REST for every method of the contract, OpenAI's `/v1` passed through, one OpenAPI document.
//!
//! A management call enters in [`rest`], which finds its method by the `google.api.http` annotations, makes the
//! message, calls the service behind a channel and wraps the answer in the [`envelope`]. `/v1/*` goes through
//! [`forward`] as bytes. There is no database and no policy here: the caller's credential is passed on, and the
//! services decide. What all services answer alike is answered here by asking each ([`own`]). [`headers`] is the one layer around everything.

mod config;
mod cors;
mod docs;
mod envelope;
mod error;
mod forward;
mod headers;
mod openapi;
mod own;
mod rest;
mod upstream;

pub use config::Config;
pub use error::Error;
pub use upstream::Upstreams;

use crate::{cors::Cors, error::Rejection, rest::Rest, upstream::Owners};
use axum::{
    Extension, Router, middleware,
    routing::{any, get},
};
use shared::{channel, request_id::RequestId, server::Tasks};
use std::sync::Arc;

/// Builds the door. Routes and the OpenAPI document are made here, once. `tasks` puts its log level back in time.
///
/// # Errors
/// When the contract has an annotation that cannot be served, or the configuration an origin that is none.
pub fn router(config: Config, upstreams: Upstreams, tasks: &Tasks) -> Result<Router, Error> {
    let cors = Arc::new(Cors::new(&config.cors_origins)?);
    let own = own::routes(&upstreams, tasks);
    let forward = any(forward::forward).with_state(upstreams.inference_http.clone());
    let owners = Owners { upstreams, own: channel::in_process(own.clone()) };
    let rest = Arc::new(Rest::new(&config, &owners)?);
    let pages = docs::Pages::new(&rest.routes);
    Ok(Router::new()
        .route("/api/openapi.json", get(docs::openapi))
        .route("/api/docs", get(docs::page))
        .route("/api/docs/docs.js", get(docs::script))
        .route("/api/docs/docs.css", get(docs::style))
        .route("/api/version", get(docs::version))
        .with_state(pages)
        .method_not_allowed_fallback(read_only)
        .route("/v1", forward.clone())
        .route("/v1/", forward.clone())
        .route("/v1/{*path}", forward.clone())
        .route("/v2/rerank", forward.clone())
        .route("/rerank", forward.clone())
        .route("/score", forward.clone())
        .route("/tokenize", forward.clone())
        .route("/detokenize", forward)
        .merge(own.into_axum_router().reset_fallback())
        .fallback_service(any(rest::serve).with_state(rest))
        .layer(middleware::from_fn_with_state(cors, headers::dress)))
}

async fn read_only(Extension(id): Extension<RequestId>) -> axum::response::Response {
    Rejection::Method { allow: "GET, HEAD".to_owned() }.into_response(&id)
}
