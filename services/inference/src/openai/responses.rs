//! `/v1/responses/{id}`: responses that engines keep, for whoever asked for them.

use super::{Asker, OpenAi, person};
use crate::{
    error::{Error, Kept, Thing},
    infer::Stored,
};
use axum::{
    Extension,
    extract::{Path, Query, State, rejection::PathRejection, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use http::header;
use serde::Deserialize;
use shared::deadline::Deadline;
use std::sync::Arc;

type Asked = Result<Path<String>, PathRejection>;
type Until = Option<Extension<Deadline>>;

#[derive(Deserialize)]
pub(super) struct How {
    #[serde(default)]
    stream: bool,
}

pub(super) async fn retrieve(
    State(openai): State<Arc<OpenAi>>,
    id: Asked,
    how: Result<Query<How>, QueryRejection>,
    caller: Asker,
    until: Until,
) -> Result<Response, Error> {
    let problem = "must be false: what is kept is read whole";
    match how {
        Ok(Query(How { stream: false })) => openai.stored(id, caller, until, Stored::Read).await,
        _ => Err(Error::Invalid { param: "stream", problem }),
    }
}

pub(super) async fn cancel(
    State(openai): State<Arc<OpenAi>>,
    id: Asked,
    caller: Asker,
    until: Until,
) -> Result<Response, Error> {
    openai.stored(id, caller, until, Stored::Cancelled).await
}

pub(super) async fn delete(
    State(openai): State<Arc<OpenAi>>,
    id: Asked,
    caller: Asker,
    until: Until,
) -> Result<Response, Error> {
    openai.stored(id, caller, until, Stored::Deleted).await
}

impl OpenAi {
    async fn stored(&self, id: Asked, caller: Asker, until: Until, what: Stored) -> Result<Response, Error> {
        let Path(id) = id.map_err(|_| Kept::missing(Thing::Response, "?"))?;
        let person = person(caller.as_ref().map(|caller| &caller.0))?;
        let until = until.map(|Extension(deadline)| deadline.0);
        let json = self.inference.stored(&person, &id, what, until).await?;
        Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], json)
            .into_response())
    }
}
