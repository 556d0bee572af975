//! Clients that hardly read: what an engine makes for them does not pile up in the gateway, and it is not lost.

use crate::chat::{CHAT, chat, streamed};
use http::header;
use std::fs;
use tests::{engine::Engine, ledger, suite::Suite, until, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

const READERS: usize = 60;
/// A gateway reads ahead, writes, and keeps the rest of each request: it may hold this part of what was made for
/// those who do not read. One that buffered for them would hold nearly all of it.
const PART: usize = 2;
/// What the system of a client takes before the client does, in bytes.
const RECEIVED: u32 = 32 * 1024;
/// A megabyte of events, more or less.
const TOKENS: u64 = 4_000;

/// Memory that a process has of its own, in bytes.
fn memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    anonymous.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

/// A client with its request sent, of whose answer little is taken before it is read.
async fn asking(suite: &Suite, tokens: u64) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVED).unwrap();
    let mut connection = socket.connect(suite.address).await.unwrap();
    let body = streamed(3, tokens).to_string();
    let (key, length) = (suite.first_run().api_key, body.len());
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\n{}: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n",
        header::CONNECTION
    );
    connection.write_all((head + &body).as_bytes()).await.unwrap();
    connection
}

#[tokio::test]
async fn answers_that_nobody_takes_wait_on_their_way_and_not_in_the_gateway() {
    let engine = Engine::start("--time-scale 0").await;
    let suite = Suite::start(&[("TOLLGATE_ENGINES", &engine.url)]).await;
    let owner = suite.owner();
    let _ = owner.post(CHAT, &chat(1, 1)).await.ok();
    let before = memory(suite.process.id());
    let (mut readers, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..READERS {
        let mut reader = asking(&suite, TOKENS).await;
        answers.push(vec![within("a first byte", reader.read_u8()).await.unwrap()]);
        readers.push(reader);
    }
    until("everything to be made", async || {
        (engine.metric("generation_tokens_total").await >= READERS as u64 * TOKENS).then_some(())
    })
    .await;
    let _ = within("another's answer", owner.post(CHAT, &chat(1, 1))).await.ok();
    let held = memory(suite.process.id()).saturating_sub(before);

    let mut size = 0;
    for (mut reader, mut answer) in readers.into_iter().zip(answers) {
        within("the rest", reader.read_to_end(&mut answer)).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("data: [DONE]"));
        size += answer.len();
    }
    assert!(held < size / PART, "{held} bytes held of {size} that were made");
    let records = ledger::at_least(&owner, READERS + 2).await;
    let whole =
        records.iter().filter(|record| record.completion_tokens == TOKENS && record.end() == "finished");
    assert_eq!(whole.count(), READERS);
}

#[tokio::test]
async fn who_takes_nothing_is_taken_for_gone() {
    // More than all buffers on the way hold.
    const TOKENS: u64 = 100_000;
    let engine = Engine::start("--time-scale 0 --max-model-len 200000").await;
    let timeout = ("TOLLGATE_NETWORK__UNREAD_TIMEOUT", "1s");
    let suite = Suite::start(&[("TOLLGATE_ENGINES", &engine.url), timeout]).await;
    let owner = suite.owner();
    let _ = owner.post(CHAT, &chat(1, 1)).await.ok();
    let reader = asking(&suite, TOKENS).await;
    let records = ledger::at_least(&owner, 2).await;
    let cut = records.iter().find(|record| record.end() != "finished").unwrap();
    assert!(cut.completion_tokens < TOKENS, "{cut:?}");
    engine.until_load((0, 0)).await;
    drop(reader);
}
