use super::*;
use http_body_util::BodyExt;
use shared::tls::{Dialer, Protocol, Trust};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BEGUN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
const END: &str = "0\r\n\r\n";
const MINUTE: Duration = Duration::from_secs(60);

/// An engine of which each connection is played by hand.
struct Engine {
    listener: TcpListener,
    links: Links,
    tasks: Tasks,
}

impl Engine {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let dialer = Dialer::open(&Trust::default(), "engine_tls").unwrap();
        let tasks = Tasks::default();
        let links = Links::new(dialer.connector(Protocol::Http1, MINUTE), address, tasks.clone());
        Self { listener, links, tasks }
    }

    async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    async fn ask(&self) -> Response<Incomplete> {
        let request = Request::post("/").header("host", "engine").body(Full::from("hello")).unwrap();
        self.links.send(request).await.unwrap()
    }
}

/// Reads one request and writes an answer, or a part of one.
async fn answer(connection: &mut TcpStream, bytes: &str) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\nhello") {
        assert!(connection.read_buf(&mut seen).await.unwrap() > 0, "it hung up");
    }
    connection.write_all(bytes.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn answers_that_are_read_to_the_end_share_a_connection() {
    let engine = Engine::start().await;
    let play = async {
        let mut connection = engine.accept().await;
        for _ in 0..3 {
            answer(&mut connection, WHOLE).await;
        }
        connection
    };
    let ask = async {
        for _ in 0..3 {
            let body = engine.ask().await.into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes(), "ok");
        }
    };
    tokio::join!(play, ask);
    assert_eq!(engine.links.resting().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_dropped_ends_its_connection_at_once() {
    let engine = Engine::start().await;
    let play = async {
        let mut connection = engine.accept().await;
        answer(&mut connection, BEGUN).await;
        connection
    };
    let (mut connection, mut begun) = tokio::join!(play, engine.ask());
    begun.body_mut().frame().await.unwrap().unwrap();
    drop(begun);
    let heard = connection.read(&mut [0; 8]).await;
    assert!(heard.is_err() || heard.is_ok_and(|bytes| bytes == 0), "the engine can stop");
    assert!(engine.links.resting().is_empty());
}

#[tokio::test]
async fn the_end_of_an_answer_that_was_left_is_waited_for_in_the_background() {
    let engine = Engine::start().await;
    let play = async {
        let mut connection = engine.accept().await;
        answer(&mut connection, BEGUN).await;
        connection
    };
    let (mut connection, mut begun) = tokio::join!(play, engine.ask());
    begun.body_mut().frame().await.unwrap().unwrap();
    begun.body_mut().leave();
    drop(begun);
    assert!(engine.links.resting().is_empty(), "its end is missing");
    connection.write_all(END.as_bytes()).await.unwrap();
    assert!(engine.tasks.end(MINUTE).await);
    let ((), second) = tokio::join!(answer(&mut connection, WHOLE), engine.ask());
    assert_eq!(second.into_body().collect().await.unwrap().to_bytes(), "ok");
}

#[tokio::test]
async fn what_was_not_sent_on_a_connection_that_ended_at_rest_goes_by_another() {
    let engine = Engine::start().await;
    let play = async {
        let mut connection = engine.accept().await;
        answer(&mut connection, WHOLE).await;
        connection
    };
    let (connection, first) = tokio::join!(play, engine.ask());
    first.into_body().collect().await.unwrap();
    assert_eq!(engine.links.resting().len(), 1);
    drop(connection);
    // The runtime is given the time to hear of it.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    let again = async {
        let mut connection = engine.accept().await;
        answer(&mut connection, WHOLE).await;
        connection
    };
    let (_connection, second) = tokio::join!(again, engine.ask());
    assert_eq!(second.into_body().collect().await.unwrap().to_bytes(), "ok");
}

#[tokio::test]
async fn who_rests_for_too_long_is_closed() {
    let engine = Engine::start().await;
    let play = async {
        let mut connection = engine.accept().await;
        answer(&mut connection, WHOLE).await;
        connection
    };
    let (mut connection, first) = tokio::join!(play, engine.ask());
    first.into_body().collect().await.unwrap();
    engine.links.sweep(Instant::now());
    assert_eq!(engine.links.resting().len(), 1, "it rests for a moment only");
    engine.links.sweep(Instant::now() + IDLE);
    assert_eq!(connection.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(engine.links.resting().is_empty());
}
