//! Clients that take their answer in ways of their own: a byte now and then, or with their own half already closed.

use crate::{
    answers::{chat, check_whole, stream},
    engine::Engine,
    gateway::{Gateway, named},
    ledger,
    peers::KEY,
    soon,
};
use http::StatusCode;
use proto::monitoring::v1::Outcome;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// What the system of a client takes before the client does, in bytes.
const RECEIVED: u32 = 32 * 1024;

/// A connection with a request on it, of whose answer little is taken before it is read.
async fn asking(gateway: &Gateway, body: &Value) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVED).unwrap();
    let mut connection = socket.connect(gateway.address()).await.unwrap();
    let body = named(body, &gateway.model).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all((head + &body).as_bytes()).await.unwrap();
    connection
}

/// The data of the events in an answer as it lay on the wire.
fn events(answer: &[u8]) -> Vec<String> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of a head");
    let (mut rest, mut text) = (&answer[end + 4..], String::new());
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        text += std::str::from_utf8(&rest[line + 2..line + 2 + size]).unwrap();
        rest = &rest[line + 4 + size..];
    }
    text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_reads_a_byte_now_and_then_loses_nothing_and_holds_nobody_up() {
    const TOKENS: u32 = 2_000;
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let mut slow = asking(&gateway, &stream(TOKENS)).await;
    let mut answer = vec![soon("the first byte", slow.read_u8()).await.unwrap()];
    for _ in 0..5 {
        assert_eq!(gateway.chat(&chat(4)).await.status, StatusCode::OK, "others are answered meanwhile");
        answer.push(slow.read_u8().await.unwrap());
    }
    // The engine has long done its part; what it made waits on the way.
    engine.until("the engine to be done", |counts| counts.running == 0).await;
    assert_eq!(gateway.chat(&chat(4)).await.status, StatusCode::OK);
    soon("the rest", slow.read_to_end(&mut answer)).await.unwrap();
    let chunks = check_whole(events(&answer), 1);
    assert!(chunks.len() > 1_000, "{} chunks", chunks.len());
    let records = gateway.close().await;
    ledger::check_finished(&records, 7);
    assert!(records.iter().any(|record| record.completion_tokens == u64::from(TOKENS)), "{records:#?}");
    assert_eq!(ledger::counted(&engine, before, &records).await, ledger::tokens(&records));
}

/// Nobody can tell a client that closes its own half from one that closed its connection until something is sent to it,
/// and a request that waits has nothing to send. So it has hung up, as it has for vLLM.
#[tokio::test]
async fn who_closes_its_half_has_hung_up() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    for body in [stream(3_000), chat(3_000)] {
        let mut leaving = asking(&gateway, &body).await;
        engine.until("the engine to run it", |counts| counts.running == 1).await;
        leaving.shutdown().await.unwrap();
        engine.idle().await;
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = soon("the end of the connection", leaving.read_to_end(&mut answer)).await;
        assert!(!String::from_utf8_lossy(&answer).contains("[DONE]"), "it was not answered as if whole");
    }
    let made = engine.counts().await.generation_tokens - before.generation_tokens;
    assert!(made < 6_000, "the engine went on to the end");
    let records = gateway.close().await;
    ledger::check(&records, 2);
    for record in records {
        assert_eq!((record.outcome(), record.estimated), (Outcome::Cancelled, true), "{record:?}");
    }
}
