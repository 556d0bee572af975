//! TLS handshakes, each beside the others and none of them for long.
//!
//! A client that begins a handshake and does not go on costs a connection until its time is over. Many of them must
//! not keep others out, so that only so many are under way: whoever comes beyond that takes the place of the oldest,
//! which had the most time.

use super::Limits;
use crate::{
    telemetry::meter,
    tls::{Acceptor, Secured},
};
use opentelemetry::{KeyValue, metrics::Counter};
use std::{collections::VecDeque, convert::Infallible, io, sync::LazyLock, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

/// Time for a refused client to read why, and what it may send meanwhile.
const FAREWELL: Duration = Duration::from_secs(1);
const LAST_WORDS: u64 = 64 * 1024;

static FAILED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = meter();
    let failed = meter.u64_counter("tollgate.tls.handshakes_failed").with_unit("{handshake}");
    failed
        .with_description("TLS handshakes that clients did not finish or that were refused, by cause")
        .build()
});

/// The handshakes of one listener.
pub(super) struct Handshakes {
    tls: Option<Acceptor>,
    limit: Duration,
    stop: CancellationToken,
    /// One per connection that came last, the oldest first. Dropping it ends a handshake that still lasts.
    latest: VecDeque<oneshot::Sender<Infallible>>,
    most: usize,
}

/// One handshake that is to be made.
pub(super) struct Handshake {
    tls: Acceptor,
    limit: Duration,
    stop: CancellationToken,
    outlasted: oneshot::Receiver<Infallible>,
}

impl Handshakes {
    pub(super) fn new(limits: &Limits, stop: &CancellationToken) -> Self {
        let (limit, most) = (limits.handshake_timeout, limits.handshakes.max(1));
        Self { tls: limits.tls.clone(), limit, stop: stop.clone(), latest: VecDeque::new(), most }
    }

    /// The handshake of the next connection; `None` where no TLS is spoken.
    pub(super) fn next(&mut self) -> Option<Handshake> {
        let tls = self.tls.clone()?;
        if self.latest.len() == self.most {
            self.latest.pop_front();
        }
        let (alive, outlasted) = oneshot::channel();
        self.latest.push_back(alive);
        Some(Handshake { tls, limit: self.limit, stop: self.stop.clone(), outlasted })
    }
}

impl Handshake {
    /// Shakes hands; `None` when it came to nothing.
    pub(super) async fn shake(self, stream: TcpStream) -> Option<Secured> {
        let shaking = self.tls.accept(stream).into_fallible();
        let cause = tokio::select! {
            biased;
            done = shaking => match done {
                Ok(secured) => return Some(secured),
                Err((error, stream)) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    part(stream).await;
                    cause(&error)
                }
            },
            () = tokio::time::sleep(self.limit) => "timeout",
            _ = self.outlasted => "crowded",
            () = self.stop.cancelled() => return None,
        };
        FAILED.add(1, &[KeyValue::new("cause", cause)]);
        None
    }
}

/// Few and fixed: what clients send must not become labels.
fn cause(error: &io::Error) -> &'static str {
    use rustls::Error;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::NoCertificatesPresented) => "no_client_certificate",
        Some(Error::InvalidCertificate(_)) => "client_certificate",
        Some(Error::AlertReceived(_)) => "refused_by_client",
        Some(Error::InvalidMessage(_)) => "not_tls",
        Some(Error::PeerIncompatible(_)) => "incompatible",
        Some(_) => "other",
        None => "hung_up",
    }
}

/// Closes a connection so that the alert on it arrives: what is closed with words unread is reset, alert and all.
async fn part(mut stream: TcpStream) {
    let parting = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LAST_WORDS), &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(FAREWELL, parting).await {
        tracing::trace!(%error, "a refused client was gone");
    }
}
