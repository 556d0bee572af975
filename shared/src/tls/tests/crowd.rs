//! Handshakes that are begun and not gone on with.

use super::*;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The first bytes of a client's greeting, of which more are announced.
const HALF: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

async fn half_open(served: &Served) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(HALF).await.unwrap();
    stream
}

async fn until_closed(stream: &mut TcpStream) {
    let mut rest = [0; 64];
    // Closed in order or reset: both are the end.
    while ::tests::within("the end", stream.read(&mut rest)).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn a_hundred_half_open_handshakes_keep_nobody_out() {
    let place = Place::new();
    let served = Served::new(&place.config()).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(half_open(&served).await);
    }
    served.ask(&place.trust()).await.unwrap();
    for stream in &crowd {
        let mut byte = [0; 1];
        let nothing = stream.try_read(&mut byte).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock, "they still have time");
    }
}

#[tokio::test]
async fn whoever_comes_beyond_the_limit_takes_the_place_of_the_oldest() {
    let place = Place::new();
    let limits = Limits { handshakes: 3, handshake_timeout: Duration::from_secs(3600), ..Limits::default() };
    let served = Served::with(&place.config(), limits).await;
    let mut crowd = Vec::new();
    for _ in 0..6 {
        crowd.push(half_open(&served).await);
    }
    served.ask(&place.trust()).await.unwrap();
    for stream in &mut crowd[..3] {
        until_closed(stream).await;
    }
    let connection = channel::remote(&served.url("localhost"), &dialer(&place.trust())).unwrap();
    let mut connection = HealthClient::new(connection);
    for _ in 0..4 {
        crowd.push(half_open(&served).await);
        let check = HealthCheckRequest { service: String::new() };
        connection.check(check).await.expect("who is in stays in");
    }
}

#[tokio::test]
async fn a_handshake_has_its_time_and_no_more() {
    let place = Place::new();
    let limits = Limits { handshake_timeout: Duration::from_millis(20), ..Limits::default() };
    let served = Served::with(&place.config(), limits).await;
    until_closed(&mut half_open(&served).await).await;
    until_closed(&mut TcpStream::connect(served.address).await.unwrap()).await;
}

#[tokio::test]
async fn a_process_that_ends_waits_for_no_handshake() {
    let place = Place::new();
    let limits = Limits {
        handshake_timeout: Duration::from_secs(3600),
        drain: Duration::from_secs(3600),
        ..Limits::default()
    };
    let served = Served::with(&place.config(), limits).await;
    let mut waiting = half_open(&served).await;
    served.ask(&place.trust()).await.unwrap();
    assert!(served.tasks.end(::tests::PATIENCE).await);
    until_closed(&mut waiting).await;
}
