//! The answer of another gateway as it streams: every byte goes on at once.
//!
//! It is accounted for where it comes from. When the client goes away this body is dropped, and with it the call, which
//! ends the other gateway's answer as if the client had been there.

use crate::{prompt::Endpoint, sse::Ending};
use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame};
use proto::inference::v1::{ForwardResponse, forward_response::Part};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::Streaming;

/// A stream from another gateway to a client.
#[derive(Debug)]
pub struct Relayed {
    messages: Streaming<ForwardResponse>,
    ending: Ending,
    over: bool,
}

impl Relayed {
    /// Goes on with a stream of which the head was read.
    #[must_use]
    pub fn new(messages: Streaming<ForwardResponse>, endpoint: Endpoint) -> Self {
        Self { messages, ending: Ending::of(endpoint.dialect()), over: false }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while !self.over {
            match ready!(Pin::new(&mut self.messages).poll_next(context)) {
                Some(Ok(ForwardResponse { part: Some(Part::Data(data)) })) => {
                    self.ending.passed(&data);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Ok(_)) => {}
                None => self.over = true,
                Some(Err(status)) => {
                    tracing::warn!(
                        message = status.message(),
                        "the answer of another gateway could not go on"
                    );
                    self.over = true;
                    let words = self.ending.broken_off("the gateway that ran it was lost");
                    return Poll::Ready(Some(Ok(Frame::data(words))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}
