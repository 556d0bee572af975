//! `/v1/models`: what the caller may use, and nothing else.

use super::{Asker, OpenAi, person};
use crate::{
    admit::{self, Permitted},
    error::Error,
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
pub(super) struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
pub(super) struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
    /// As vLLM says it: tokens of prompt and answer together.
    max_model_len: Option<u32>,
}

pub(super) async fn list(State(openai): State<Arc<OpenAi>>, caller: Asker) -> Result<Json<ModelList>, Error> {
    let person = person(caller.as_ref().map(|caller| &caller.0))?;
    let names = admit::permitted(&openai.inference.policy, &person)?;
    let data = names.into_iter().map(|name| describe(&openai, name)).collect();
    Ok(Json(ModelList { object: "list", data }))
}

pub(super) async fn retrieve(
    State(openai): State<Arc<OpenAi>>,
    name: Result<Path<String>, PathRejection>,
    caller: Asker,
) -> Result<Json<Model>, Error> {
    let Path(name) = name.map_err(|_| Error::Invalid { param: "model", problem: "must be UTF-8" })?;
    let person = person(caller.as_ref().map(|caller| &caller.0))?;
    let names = admit::permitted(&openai.inference.policy, &person)?;
    let name =
        names.into_iter().find(|known| known.name == name).ok_or(Error::UnknownModel { model: name })?;
    Ok(Json(describe(&openai, name)))
}

fn describe(openai: &OpenAi, Permitted { name, served }: Permitted) -> Model {
    let max_model_len = openai.inference.dispatcher.fleet.max_model_len(&served);
    Model { id: name, object: "model", created: 0, owned_by: "tollgate", max_model_len }
}
