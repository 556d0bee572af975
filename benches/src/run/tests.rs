use super::*;
use crate::engine::{self, Answers};
use std::{net::TcpListener, sync::Arc};

fn load(mode: Mode, pace: Pace) -> Load {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let answers = Arc::new(Answers::new("m", 256));
    thread::spawn(move || engine::serve(&listener, &answers, None));
    let credentials = Credentials { api_key: "k".to_owned(), model: "m".to_owned() };
    Load {
        address,
        credentials,
        mode,
        pace,
        connections: 4,
        length: Duration::from_millis(200),
        pids: vec![std::process::id()],
    }
}

#[test]
fn an_open_run_sends_what_its_rate_says() {
    for mode in [Mode::Chat, Mode::Stream, Mode::Embed] {
        let outcome = run(&load(mode, Pace::Open { rate: 200.0 })).unwrap();
        assert_eq!((outcome.tally.answered(), outcome.tally.failed()), (40, 0), "{mode:?}");
        assert!(outcome.cpu_micros().is_some());
    }
}

#[test]
fn a_closed_run_keeps_every_connection_busy() {
    let load = Load { length: Duration::from_secs(1), ..load(Mode::Chat, Pace::Closed) };
    let outcome = run(&load).unwrap();
    assert!(outcome.tally.answered() > 4, "one request for each connection and no more is not busy");
    assert_eq!(outcome.tally.failed(), 0);
}

#[test]
fn a_refusing_target_is_counted_by_status() {
    let mut load = load(Mode::Chat, Pace::Open { rate: 50.0 });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    load.address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            use std::io::{Read, Write};
            thread::spawn(move || {
                while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                    let refusal = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(refusal).unwrap();
                }
            });
        }
    });
    let outcome = run(&load).unwrap();
    assert_eq!(outcome.tally.failures.get("status 429"), Some(&10));
    assert_eq!(outcome.to_json()["errors"], 10);
}

#[test]
fn nobody_listening_is_said_at_once() {
    let mut load = load(Mode::Chat, Pace::Closed);
    load.address = "http://127.0.0.1:1".parse().unwrap();
    assert!(run(&load).unwrap_err().to_string().contains("127.0.0.1:1"));
}
