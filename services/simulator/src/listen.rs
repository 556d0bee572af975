//! The port: accepts connections, serves each in a task this module owns, and resets one when a fault asks for it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::http::{self, Line};

/// How long connections get to write their last bytes once everything is cut.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves until it is cut.
pub(crate) async fn serve(engine: &Engine, listener: TcpListener, cut: CancellationToken) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = cut.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(connection(engine.clone(), stream, cut.clone())); }
                Err(error) => pause(&error).await?,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let done = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_WORDS, done).await;
    Ok(())
}

/// A connection that went away before it was accepted is nothing; too many open files pass.
async fn pause(error: &io::Error) -> io::Result<()> {
    if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected) {
        return Err(io::Error::new(error.kind(), error.to_string()));
    }
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(())
}

async fn connection(engine: Engine, stream: TcpStream, cut: CancellationToken) {
    // Without this, the last chunk of an answer waits for the client's acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection went away before it was used");
        return;
    }
    let reset = CancellationToken::new();
    let socket = Socket { stream, reset: reset.clone() };
    let line = Line(reset.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (engine, mut request) = (engine.clone(), request.map(Body::new));
        request.extensions_mut().insert(line.clone());
        async move { Ok::<_, Infallible>(http::answer(&engine, request).await) }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    tokio::pin!(serving);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            () = reset.cancelled() => return,
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            () = cut.cancelled(), if open => {
                open = false;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A socket that closes with a reset when it was told to.
struct Socket {
    stream: TcpStream,
    reset: CancellationToken,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.is_cancelled()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "a connection could not be reset");
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
