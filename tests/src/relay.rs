//! One address before several processes, as a load balancer gives it: new connections go where it points.

use crate::{process::free_address, until};
use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Passes connections on until it is dropped.
#[derive(Debug)]
pub struct Relay {
    /// Where it is reached.
    pub address: SocketAddr,
    target: watch::Sender<SocketAddr>,
    _running: JoinSet<()>,
}

impl Relay {
    /// Begins to pass connections on.
    pub async fn start(target: SocketAddr) -> Self {
        Self::at(free_address(), target).await
    }

    /// Begins to pass on the connections of an address where another one did.
    pub async fn at(address: SocketAddr, target: SocketAddr) -> Self {
        // One that was there before may need a moment to go.
        let listener = until("the address", async || TcpListener::bind(address).await.ok()).await;
        let target = watch::Sender::new(target);
        let mut running = JoinSet::new();
        running.spawn(accept(listener, target.subscribe()));
        Self { address, target, _running: running }
    }

    /// Points new connections elsewhere; those that are open stay as they are.
    pub fn point(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<SocketAddr>) {
    let mut open = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let target = *target.borrow();
        open.spawn(async move {
            // Who cannot be reached is not there for the caller either: the connection just ends.
            let Ok(mut far) = TcpStream::connect(target).await else { return };
            let _ = copy_bidirectional(&mut near, &mut far).await;
        });
    }
}
