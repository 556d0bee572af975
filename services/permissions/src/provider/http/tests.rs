use super::*;
use axum::{Router, response::Redirect, routing::get};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use std::net::SocketAddr;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::{TlsAcceptor, rustls};

fn router() -> Router {
    Router::new()
        .route("/small", get(async || "small"))
        .route("/large", get(async || "x".repeat(ANSWER + 1)))
        .route("/moved", get(async || Redirect::to("/small")))
        .route("/never", get(std::future::pending::<()>))
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn plain() -> (SocketAddr, JoinSet<()>) {
    let (listener, address) = listener().await;
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router()).await.unwrap() });
    (address, server)
}

/// A server with a certificate for `localhost` that no public authority knows, and that certificate.
async fn secure() -> (SocketAddr, String, JoinSet<()>) {
    let (listener, address) = listener().await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut server = JoinSet::new();
    server.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate leaves in the middle.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = TowerToHyperService::new(router());
            let mut connection = hyper::server::conn::http1::Builder::new();
            connection.keep_alive(false);
            connection.serve_connection(TokioIo::new(stream), service).await.unwrap();
        }
    });
    (address, made.cert.pem(), server)
}

async fn ask(http: &Http, url: &str) -> Result<Response<Vec<u8>>, HttpError> {
    http.send(Request::get(url).body(Vec::new()).unwrap()).await
}

#[tokio::test]
async fn an_answer_is_bounded_in_size_and_not_followed_elsewhere() {
    let (address, _server) = plain().await;
    let http = Http::new(None, true).unwrap();
    let small = ask(&http, &format!("http://{address}/small")).await.unwrap();
    assert_eq!((small.status().as_u16(), small.body().as_slice()), (200, &b"small"[..]));
    let large = ask(&http, &format!("http://{address}/large")).await;
    assert!(matches!(large, Err(HttpError::TooLarge)), "{large:?}");
    let moved = ask(&http, &format!("http://{address}/moved")).await.unwrap();
    assert_eq!(moved.status().as_u16(), 303);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_bounded_in_time() {
    let (address, _server) = plain().await;
    let http = Http::new(None, true).unwrap();
    let never = ask(&http, &format!("http://{address}/never")).await;
    assert!(matches!(never, Err(HttpError::Timeout)), "{never:?}");
}

#[tokio::test]
async fn nothing_is_asked_in_the_clear_but_of_this_machine() {
    let (address, _server) = plain().await;
    let secure = Http::new(None, false).unwrap();
    let refused = ask(&secure, &format!("http://{address}/small")).await;
    assert!(matches!(refused, Err(HttpError::Plain)), "{refused:?}");
    let local = Http::new(None, true).unwrap();
    for elsewhere in ["http://192.0.2.1/", "http://localhost.example.org/", "http://127.0.0.1.example.org/"] {
        let refused = ask(&local, elsewhere).await;
        assert!(matches!(refused, Err(HttpError::Plain)), "{elsewhere}: {refused:?}");
    }
}

#[tokio::test]
async fn a_certificate_must_be_of_an_authority_that_is_known() {
    let (address, certificate, _server) = secure().await;
    let url = format!("https://localhost:{}/small", address.port());
    let stranger = ask(&Http::new(None, false).unwrap(), &url).await;
    assert!(matches!(stranger, Err(HttpError::Unreachable(_))), "{stranger:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let known = Http::new(Some(&file), false).unwrap();
    assert_eq!(ask(&known, &url).await.unwrap().body().as_slice(), b"small");
    let other_name = format!("https://127.0.0.1:{}/small", address.port());
    let refused = ask(&known, &other_name).await;
    assert!(matches!(refused, Err(HttpError::Unreachable(_))), "{refused:?}");
}
