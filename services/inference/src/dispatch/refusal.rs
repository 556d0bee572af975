//! What an engine refuses, as its caller is told.

use crate::{error::Error, prompt::Prompt};
use http::StatusCode;
use serde::Deserialize;

#[derive(Deserialize)]
struct Body {
    error: Said,
}

/// What an engine says when it refuses, in OpenAI's shape or in Anthropic's.
#[derive(Deserialize)]
pub(crate) struct Said {
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) r#type: Option<String>,
    #[serde(default)]
    pub(crate) param: Option<String>,
}

impl Said {
    /// `None` for other words than an engine's own, as for a route that it does not have.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Body>(body).ok().map(|body| body.error)
    }

    /// Whether it is the model that is not there. A route that an engine does not have is said in other words.
    pub(super) fn is_about_the_model(&self) -> bool {
        self.param.as_deref().is_none_or(|param| param == "model")
    }

    /// Whether it is the response that the request goes on from.
    fn is_about_a_response(&self) -> bool {
        matches!(self.param.as_deref(), Some("response_id" | "previous_response_id"))
    }
}

/// The engine's own words where they help the caller; what only tells of our set-up is put in ours.
pub(super) fn of(prompt: &Prompt, status: StatusCode, said: Option<Said>) -> Error {
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let code = status.as_u16();
        tracing::error!(status = code, "an engine refuses our key: check inference.engine_key");
        return Error::EngineFailed { cause: "it refuses the gateway" };
    }
    let unserved = matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
    let (code, kind) = (status.as_u16(), "BadRequestError".to_owned());
    match (said, &prompt.previous) {
        _ if status == StatusCode::NOT_IMPLEMENTED => Error::not_served(prompt),
        (Some(error), Some(id)) if status == StatusCode::NOT_FOUND && error.is_about_a_response() => {
            Error::ResponseLost { id: id.clone() }
        }
        (Some(error), _) => Error::Refused {
            status: code,
            kind: error.r#type.filter(|kind| kind != "Bad Request").unwrap_or(kind),
            param: error.param,
            message: error.message,
        },
        (None, _) if unserved => Error::not_served(prompt),
        (None, _) => Error::Refused {
            status: code,
            kind,
            param: None,
            message: format!("the engine refused the request with status {code}"),
        },
    }
}
