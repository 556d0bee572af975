//! `GET /v1/models`.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::reply;
use crate::clock;
use crate::config::Config;
use crate::sse::json;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
    root: &'a str,
    parent: (),
    max_model_len: u32,
    permission: [Permission; 1],
}

#[derive(Serialize)]
struct Permission {
    id: String,
    object: &'static str,
    created: i64,
    allow_create_engine: bool,
    allow_sampling: bool,
    allow_logprobs: bool,
    allow_search_indices: bool,
    allow_view: bool,
    allow_fine_tuning: bool,
    organization: &'static str,
    group: (),
    is_blocking: bool,
}

pub(super) fn list(config: &Config) -> Response {
    let data = config.model.iter().map(|name| model(name, config)).collect();
    reply::json(StatusCode::OK, json(&List { object: "list", data }))
}

fn model<'a>(name: &'a str, config: &'a Config) -> Model<'a> {
    Model {
        id: name,
        object: "model",
        created: clock::unix_seconds(),
        owned_by: "vllm",
        root: config.served_name(),
        parent: (),
        max_model_len: config.max_model_len,
        permission: [permission()],
    }
}

fn permission() -> Permission {
    Permission {
        id: super::id("modelperm-", None),
        object: "model_permission",
        created: clock::unix_seconds(),
        allow_create_engine: false,
        allow_sampling: true,
        allow_logprobs: true,
        allow_search_indices: false,
        allow_view: true,
        allow_fine_tuning: false,
        organization: "*",
        group: (),
        is_blocking: false,
    }
}
