//! What the engine answers when it refuses: the recorded texts, each with its status, type and parameter.

use std::fmt::Write as _;

use http::StatusCode;
use serde::Serialize;

/// A refusal in the engine's own shape: `{"error":{"message","type","param","code"}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) param: Option<String>,
    pub(crate) message: String,
}

/// Why a request was not let into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// `max_num_queued_reqs` requests are waiting or running.
    Requests,
    /// `max_num_queued_tokens` prompt tokens are waiting to be computed.
    Tokens,
    /// The engine was told to stop and lets the running requests finish.
    Draining,
    /// The engine has stopped.
    Dead,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: u16,
}

impl ApiError {
    /// A value that was understood but cannot be served.
    pub(crate) fn bad_request(param: Option<&str>, message: impl Into<String>) -> Self {
        let (status, param) = (StatusCode::BAD_REQUEST, param.map(str::to_owned));
        Self { status, kind: "BadRequestError", param, message: message.into() }
    }

    /// A body that was not understood.
    pub(crate) fn invalid_body(param: Option<String>, message: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "Bad Request", param, message }
    }

    /// A value out of its range, with the parameter and the value named at the end of the message.
    pub(crate) fn out_of_range(param: &str, value: impl std::fmt::Display, problem: &str) -> Self {
        Self::bad_request(Some(param), format!("{problem} (parameter={param}, value={value})"))
    }

    pub(crate) fn unknown_model(asked: &str, served: &[String]) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "NotFoundError",
            param: Some("model".to_owned()),
            message: format!("The model `{asked}` does not exist. Valid aliases: {}.", served.join(", ")),
        }
    }

    /// No response is kept under this name.
    pub(crate) fn unknown_response(id: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "invalid_request_error",
            param: Some("response_id".to_owned()),
            message: format!("Response with id '{id}' not found."),
        }
    }

    /// The embeddings route words an unknown model differently.
    pub(crate) fn unknown_embedding_model(asked: &str) -> Self {
        let message = format!("The model `{asked}` does not exist.");
        Self { status: StatusCode::NOT_FOUND, kind: "NotFoundError", param: None, message }
    }

    /// The engine died under a request.
    pub(crate) fn engine_died() -> Self {
        Self::internal("EngineCore encountered an issue. See stack trace (above) for the root cause.")
    }

    pub(crate) fn internal(message: &str) -> Self {
        let (status, kind) = (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError");
        Self { status, kind, param: None, message: message.to_owned() }
    }

    fn unavailable(reason: &str) -> Self {
        let message = format!("{reason} Please try again later or on a different instance.");
        Self { status: StatusCode::SERVICE_UNAVAILABLE, kind: "Service Unavailable", param: None, message }
    }

    /// The body of a response with this error's status.
    pub(crate) fn json(&self) -> Vec<u8> {
        let body = Body {
            message: &self.message,
            kind: self.kind,
            param: self.param.as_deref(),
            code: self.status.as_u16(),
        };
        serde_json::to_vec(&Envelope { error: body }).unwrap_or_default()
    }

    /// The same in Anthropic's shape, in which the real engine says what it finds out itself.
    pub(crate) fn anthropic(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (kind, message) = (quoted(self.kind), quoted(&self.message));
        format!("{{\"type\":\"error\",\"error\":{{\"type\":{kind},\"message\":{message}}}}}")
    }

    /// The same inside a stream, where the engine writes its JSON with spaces.
    pub(crate) fn event(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut event = format!("data: {{\"error\": {{\"message\": {}, ", quoted(&self.message));
        let param = self.param.as_deref().map_or_else(|| "null".to_owned(), quoted);
        let _ = write!(event, "\"type\": {}, \"param\": {param}, ", quoted(self.kind));
        let _ = write!(event, "\"code\": {}}}}}\n\n", self.status.as_u16());
        event
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Requests => {
                Self::unavailable("The engine is currently busy and cannot accept new requests.")
            }
            Rejection::Tokens => Self::unavailable("The engine has reached its prefill token backlog limit."),
            Rejection::Draining => Self::internal("cannot schedule new futures after shutdown"),
            Rejection::Dead => Self::engine_died(),
        }
    }
}
