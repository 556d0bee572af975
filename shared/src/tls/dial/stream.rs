//! A connection that remembers what TLS had against it.
//!
//! A server that speaks TLS 1.3 looks at the client's certificate when the client's handshake is over, so its refusal
//! is read like an answer. HTTP keeps of such an error at best its text and often only that a connection was closed.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::net::TcpStream;

/// What TLS had against a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Objection(String);

/// The last objection to a connector's connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Option<Objection>>>);

impl Heard {
    pub(super) fn take(&self) -> Option<Objection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Remembers what an error says, when it is one of TLS.
    pub(super) fn note(&self, error: &(dyn std::error::Error + 'static)) {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<rustls::Error>() {
                let objection = Objection(error.to_string());
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(objection);
                return;
            }
            // An I/O error names the source of its inner error as its own, and leaves the inner one out.
            match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => cause = Some(inner),
                None => cause = error.source(),
            }
        }
    }
}

/// A connection, over TLS or not.
pub struct Dialed {
    pub(super) inner: MaybeHttpsStream<TokioIo<TcpStream>>,
    pub(super) heard: Heard,
}

impl Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        if let Err(error) = &read {
            self.heard.note(error);
        }
        Poll::Ready(read)
    }
}

impl Write for Dialed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}

impl fmt::Debug for Dialed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Dialed").field(&self.inner).finish()
    }
}
