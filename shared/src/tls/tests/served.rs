//! What is served over TLS: gRPC and HTTP/1.1, each by ALPN, with and without certificates of clients.

use super::*;
use axum::body::Body;
use http::{Request, StatusCode, Uri};
use hyper_util::client::legacy::connect::Connection;
use tower::{Service, ServiceExt};

#[tokio::test]
async fn grpc_and_http_are_served_on_one_port() {
    let place = Place::new();
    let served = Served::new(&place.config()).await;
    served.ask(&place.trust()).await.unwrap();
    let base: Uri = served.url("localhost").parse().unwrap();
    let http = channel::http_remote(base, &dialer(&place.trust()));
    let answer = http.oneshot(Request::get("/health/live").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_protocol_is_agreed_upon_in_the_handshake() {
    let place = Place::new();
    let served = Served::new(&place.config()).await;
    let dialer = dialer(&place.trust());
    for (protocol, h2) in [(Protocol::Http1, false), (Protocol::Http2, true)] {
        let mut connector = dialer.connector(protocol, ::tests::PATIENCE);
        let address: Uri = served.url("localhost").parse().unwrap();
        let connection = connector.ready().await.unwrap().call(address).await.unwrap();
        assert_eq!(connection.connected().is_negotiated_h2(), h2, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate_when_asked_for_one() {
    let place = Place::new();
    let client = place.authority.issue(&["gateway"]).write(place.folder.path(), "client");
    Served::new(&place.mutual()).await.ask(&place.trust_as(&client)).await.unwrap();
}

#[tokio::test]
async fn doors_ask_for_certificates_each_by_its_own_setting() {
    let place = Place::new();
    let listeners = Listeners::open(&place.mutual()).unwrap().unwrap();
    assert!(listeners.acceptor(Door::Edge).is_some());
    assert!(listeners.acceptor(Door::Admin).is_none(), "probes stay plain unless said otherwise");
    let all = Config { admin: true, ..place.mutual() };
    let listeners = Listeners::open(&all).unwrap().unwrap();
    for (door, wanted) in [(Door::Edge, false), (Door::Service, true), (Door::Admin, false)] {
        let limits = Limits { tls: listeners.acceptor(door), ..Limits::default() };
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (tasks, routes) = (Tasks::default(), server::admin(Health::default()).unwrap());
        tasks.spawn(server::serve(listener, routes, limits, tasks.stopping()));
        let answer = ask(&url, &dialer(&place.trust())).await;
        assert_eq!(answer.is_err(), wanted, "{door:?}: {answer:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_nothing_speaks_tls() {
    assert!(Listeners::open(&Config::default()).unwrap().is_none());
    let empty =
        Config { cert_file: Some(PathBuf::new()), key_file: Some(PathBuf::new()), ..Config::default() };
    assert!(Listeners::open(&empty).unwrap().is_none(), "an empty path is none");
}
