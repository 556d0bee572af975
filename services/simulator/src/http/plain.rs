//! What can be asked without a model: health, version, metrics, and the switch for faults.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;

use super::{LONGEST_BODY, reply};
use crate::config::Config;
use crate::engine::Engine;
use crate::fault::{Faults, MetricsFault};
use crate::sse::json;

/// Says nothing about whether anything is computed.
pub(super) fn health(engine: &Engine) -> Response {
    let sick = engine.faults().borrow().unhealthy;
    reply::empty(if sick { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK })
}

pub(super) fn version(config: &Config) -> Response {
    reply::json(StatusCode::OK, format!("{{\"version\":{}}}", json(&config.version)))
}

pub(super) fn metrics(engine: &Engine) -> Response {
    let fault = engine.faults().borrow().metrics;
    let page = || engine.metrics().page(&engine.admission().load());
    let page = match fault {
        Some(MetricsFault::Drop) => String::new(),
        Some(MetricsFault::Rename) => page().replace("vllm:", "vllm_"),
        None => page(),
    };
    reply::text("text/plain; version=1.0.0; charset=utf-8", page)
}

/// How many requests it held at once, at most; no vLLM says that.
pub(super) fn most(engine: &Engine) -> Response {
    let most = engine.admission().load().most_sequences;
    reply::json(StatusCode::OK, format!("{{\"sequences\":{most}}}"))
}

/// Replaces the faults by those in the body and answers with them.
pub(super) async fn fault(engine: &Engine, request: Request) -> Response {
    let bytes = axum::body::to_bytes(request.into_body(), LONGEST_BODY).await.unwrap_or_default();
    match serde_json::from_slice::<Faults>(&bytes) {
        Ok(faults) => {
            let state = json(&faults);
            engine.set_faults(faults);
            reply::json(StatusCode::OK, state)
        }
        Err(error) => {
            let detail = json(&format!("not a description of faults: {error}"));
            reply::json(StatusCode::BAD_REQUEST, format!("{{\"detail\":{detail}}}"))
        }
    }
}
