//! A proxy that holds everything that is answered for a while: what stands behind it is slow.

use crate::process::free_address;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// Passes connections on until it is dropped.
#[derive(Debug)]
pub struct Slow {
    /// Where it is reached.
    pub address: SocketAddr,
    delay: watch::Sender<Duration>,
    _running: JoinSet<()>,
}

impl Slow {
    /// Begins to pass connections on, as fast as they are.
    pub async fn start(target: SocketAddr) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).await.unwrap();
        let delay = watch::Sender::new(Duration::ZERO);
        let mut running = JoinSet::new();
        running.spawn(accept(listener, target, delay.subscribe()));
        Self { address, delay, _running: running }
    }

    /// Holds what is answered for so long from now on.
    pub fn hold(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, delay: watch::Receiver<Duration>) {
    let mut open = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(target).await else { continue };
        let (near_in, near_out) = near.into_split();
        let (far_in, far_out) = far.into_split();
        let never = watch::Sender::new(Duration::ZERO).subscribe();
        open.spawn(pass(near_in, far_out, never));
        open.spawn(pass(far_in, near_out, delay.clone()));
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: watch::Receiver<Duration>) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let delay = *delay.borrow();
        sleep(delay).await;
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
