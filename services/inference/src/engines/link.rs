//! Connections to an engine, each driven by the request that has it.
//!
//! hyper gives a connection in two halves: one takes requests, the other moves bytes and is meant to have a task of its
//! own. Here both travel with the request and then with its answer. So there is no task to start for a request and none
//! to wake for a piece, and a caller who goes away takes the connection along, which tells the engine at once. Between
//! two requests it rests with its engine.

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use shared::{
    server::Tasks,
    tls::{Connector, Dialed},
};
use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tower::ServiceExt;

/// uvicorn closes idle connections after 5 s; ours must be gone before.
const IDLE: Duration = Duration::from_secs(4);
/// Time for the end of an answer of which everything else is there.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read at once.
const READ: usize = 64 * 1024;

type Outgoing = Full<Bytes>;

/// One connection, with no more than one request on it. It is large and handed on a lot, so that it is boxed.
#[derive(Debug)]
struct Link {
    sender: http1::SendRequest<Outgoing>,
    /// Moves the bytes; gone when the connection is over.
    wire: Option<http1::Connection<Dialed, Outgoing>>,
}

/// The connections to one engine that rest.
#[derive(Debug, Clone)]
pub(super) struct Links(Arc<Resting>);

#[derive(Debug)]
struct Resting {
    /// The one that rests longest comes first.
    links: Mutex<Vec<(Box<Link>, Instant)>>,
    connector: Connector,
    address: Uri,
    tasks: Tasks,
}

/// Why an engine gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection.
    #[error("no connection")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection ended before the answer's head.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
}

impl Links {
    pub(super) fn new(connector: Connector, address: Uri, tasks: Tasks) -> Self {
        Self(Arc::new(Resting { links: Mutex::default(), connector, address, tasks }))
    }

    /// Sends a request; the answer's head.
    pub(super) async fn send(
        &self,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Incomplete>, SendError> {
        loop {
            let (mut link, rested) = match self.take() {
                Some(link) => (link, true),
                None => (self.connect().await?, false),
            };
            match link.send(request).await {
                Ok(answer) => {
                    let links = self.clone();
                    return Ok(answer.map(|body| Incomplete { rest: Some((body, link)), links }));
                }
                Err(mut error) => match error.take_message().filter(|_| rested) {
                    // It was over while it rested, and nothing of the request has left.
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Broken(error.into_error())),
                },
            }
        }
    }

    /// Closes those that have rested for too long.
    pub(super) fn sweep(&self, now: Instant) {
        let mut resting = self.resting();
        let worn = resting.partition_point(|(_, since)| now.saturating_duration_since(*since) >= IDLE);
        resting.drain(..worn);
    }

    fn take(&self) -> Option<Box<Link>> {
        self.sweep(Instant::now());
        // The last one is the likeliest to be alive still.
        self.resting().pop().map(|(link, _)| link)
    }

    async fn connect(&self) -> Result<Box<Link>, SendError> {
        let Resting { connector, address, .. } = &*self.0;
        let dialed = connector.clone().oneshot(address.clone()).await.map_err(SendError::Connect)?;
        let handshake = http1::Builder::new().max_buf_size(READ).handshake(dialed).await;
        let (sender, wire) = handshake.map_err(|error| SendError::Connect(error.into()))?;
        Ok(Box::new(Link { sender, wire: Some(wire) }))
    }

    fn rest(&self, link: Box<Link>) {
        if link.sender.is_ready() {
            self.resting().push((link, Instant::now()));
        }
    }

    fn resting(&self) -> MutexGuard<'_, Vec<(Box<Link>, Instant)>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let mut queued = false;
        poll_fn(|context| {
            if !std::mem::replace(&mut queued, true) {
                // Whoever is ready goes first, so that requests leave together: waking an engine for each costs more.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            drive(&mut self.wire, context);
            answer.as_mut().poll(&mut nobody())
        })
        .await
    }
}

/// Moves what can be moved.
fn drive(wire: &mut Option<http1::Connection<Dialed, Outgoing>>, context: &mut Context<'_>) {
    if wire.as_mut().is_some_and(|wire| Pin::new(wire).poll(context).is_ready()) {
        // What waits on it is told when it is dropped.
        *wire = None;
    }
}

/// For what moves only when its own connection is driven.
fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// An answer's body, and the connection that it comes by. Dropped before its end, it ends the connection.
#[derive(Debug)]
pub struct Incomplete {
    rest: Option<(Incoming, Box<Link>)>,
    links: Links,
}

impl Incomplete {
    /// All that matters of it is there. What is left is its end, which nobody has to wait for.
    pub fn leave(&mut self) {
        let mut left = Self { rest: self.rest.take(), links: self.links.clone() };
        if left.poll_end(&mut nobody()).is_pending() {
            let end = tokio::time::timeout(LINGER, poll_fn(move |context| left.poll_end(context)));
            self.links.0.tasks.spawn(async move { drop(end.await) });
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Whatever else comes was not to come, and its connection is not used again.
        Pin::new(self).poll_frame(context).map(drop)
    }
}

impl Body for Incomplete {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some((body, link)) = &mut self.rest else { return Poll::Ready(None) };
        let mut frame = Pin::new(&mut *body).poll_frame(&mut nobody());
        if frame.is_pending() {
            drive(&mut link.wire, context);
            frame = Pin::new(body).poll_frame(&mut nobody());
        }
        if matches!(frame, Poll::Ready(None))
            && let Some((_, link)) = self.rest.take()
        {
            self.links.rest(link);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}

#[cfg(test)]
mod tests;
