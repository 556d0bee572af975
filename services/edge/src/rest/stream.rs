//! A stream of messages as server-sent events: one `data` line of JSON each, comments while it is quiet, and
//! one event `error` with the envelope when it fails on the way.

use crate::{
    envelope::{self, Json},
    error::Rejection,
};
use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::StreamExt;
use http::HeaderValue;
use prost_reflect::DynamicMessage;
use shared::request_id::RequestId;
use std::{convert::Infallible, time::Duration};
use tonic::{Status, Streaming};

pub(crate) fn answer(messages: Streaming<DynamicMessage>, id: RequestId, heartbeat: Duration) -> Response {
    let events = messages.map(move |message| {
        Ok::<_, Infallible>(
            message.and_then(|message| event(&message)).unwrap_or_else(|status| failed(status, &id)),
        )
    });
    let mut answer =
        Sse::new(events).keep_alive(KeepAlive::new().interval(heartbeat).text("heartbeat")).into_response();
    // Proxies that buffer answers would hold events back.
    answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

fn event(message: &DynamicMessage) -> Result<Event, Status> {
    let json = serde_json::to_string(&Json(message))
        .map_err(|error| Status::internal(format!("the message has no JSON: {error}")))?;
    Ok(Event::default().data(json))
}

fn failed(status: Status, id: &RequestId) -> Event {
    let failure = Rejection::from(status).failure();
    Event::default().event("error").data(envelope::failure_json(&failure, id))
}
