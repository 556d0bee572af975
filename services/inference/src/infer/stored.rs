//! Responses that engines keep: read again, cancelled and deleted where they are, by whoever asked for them.

use super::Inference;
use crate::{
    dispatch::Said,
    engines::Engine,
    error::{Error, Kept, Thing},
};
use bytes::Bytes;
use http::{Method, StatusCode, uri::PathAndQuery};
use http_body_util::{BodyExt, Limited};
use shared::auth::Person;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// What is to be done with a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is read.
    Read,
    /// What still makes it is ended.
    Cancelled,
    /// It is forgotten.
    Deleted,
}

impl Stored {
    fn at(self, id: &str) -> (Method, String) {
        let path = format!("/v1/responses/{id}");
        match self {
            Self::Read => (Method::GET, path),
            Self::Cancelled => (Method::POST, path + "/cancel"),
            Self::Deleted => (Method::DELETE, path),
        }
    }
}

impl Inference {
    /// The engine that keeps a response of this person.
    ///
    /// # Errors
    /// [`Kept::Missing`] when there is no such response of theirs, [`Error::ResponseLost`] when its engine has left.
    pub(super) fn keeper(&self, person: &Person, id: &str) -> Result<Arc<Engine>, Error> {
        let engine = self.dispatcher.names.engine(id, person.user);
        let engine = engine.ok_or_else(|| Kept::missing(Thing::Response, id))?;
        self.dispatcher.fleet.named(engine).ok_or_else(|| Error::ResponseLost { id: id.into() })
    }

    /// Asks the engine that keeps a response, and returns what it says.
    ///
    /// # Errors
    /// As above, or that the engine does not have it, does not do that, or gives no answer.
    pub async fn stored(
        &self,
        person: &Person,
        id: &str,
        what: Stored,
        deadline: Option<Instant>,
    ) -> Result<Bytes, Error> {
        let engine = self.keeper(person, id)?;
        let (method, path) = what.at(id);
        // A name that was understood has nothing in it that a path may not have.
        let path: PathAndQuery = path.parse().map_err(|_| Kept::missing(Thing::Response, id))?;
        let until = self.until(deadline);
        let answer = async {
            let answer = self.dispatcher.fleet.send(engine.request_at(method, path, Bytes::new())).await;
            let answer =
                answer.map_err(|_| Error::EngineFailed { cause: "the one that keeps it is away" })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), self.dispatcher.max_answer_bytes).collect().await;
            let body = body.map_err(|_| Error::EngineFailed { cause: "its answer broke off" })?;
            Ok::<_, Error>((status, body.to_bytes()))
        };
        let (status, body) = timeout_at(until, answer).await.map_err(|_| Error::Deadline)??;
        if status == StatusCode::OK { Ok(body) } else { Err(refusal(id, status, &body)) }
    }
}

fn refusal(id: &str, status: StatusCode, body: &[u8]) -> Error {
    match Said::read(body) {
        Some(_) if status == StatusCode::NOT_FOUND => Error::ResponseLost { id: id.into() },
        Some(error) if status.is_client_error() => Error::Refused {
            status: status.as_u16(),
            kind: error.r#type.unwrap_or_else(|| "BadRequestError".into()),
            param: error.param,
            message: error.message,
        },
        None if status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED => {
            Error::Refused {
                status: status.as_u16(),
                kind: "NotFoundError".into(),
                param: None,
                message: "the engine that keeps this response does not offer this; engines forget responses when they \
                          are started again"
                    .into(),
            }
        }
        _ => Error::EngineFailed { cause: "the one that keeps it failed" },
    }
}
