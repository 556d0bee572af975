//! Who is refused, and how it is told so.

use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn a_client_without_a_certificate_is_told_that_one_is_required() {
    let place = Place::new();
    let served = Served::new(&place.mutual()).await;
    let said = objected(served.ask(&place.trust()).await);
    assert!(said.contains("CertificateRequired"), "{said}");
}

#[tokio::test]
async fn a_client_with_a_certificate_of_somebody_else_is_refused() {
    let place = Place::new();
    let served = Served::new(&place.mutual()).await;
    let stranger = Authority::new("Tollgate tests").issue(&["gateway"]);
    let stranger = stranger.write(place.folder.path(), "stranger");
    let said = objected(served.ask(&place.trust_as(&stranger)).await);
    assert!(said.contains("alert"), "{said}");
}

#[tokio::test]
async fn a_server_by_another_name_is_refused_unless_the_name_is_expected() {
    let place = Place::new();
    let served = Served::new(&place.config()).await;
    let by_address = ask(&served.url("127.0.0.1"), &dialer(&place.trust())).await;
    let said = objected(by_address);
    assert!(said.contains("not valid for name"), "{said}");
    let expected = Trust { server_name: Some("localhost".to_owned()), ..place.trust() };
    ask(&served.url("127.0.0.1"), &dialer(&expected)).await.unwrap();
    let other = Trust { server_name: Some("elsewhere.example.org".to_owned()), ..place.trust() };
    assert!(objected(served.ask(&other).await).contains("elsewhere.example.org"));
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_refused() {
    let place = Place::new();
    let served = Served::new(&place.config()).await;
    for trust in [Trust::default(), Trust { ca_file: Some(other(&place)), ..Trust::default() }] {
        let said = objected(served.ask(&trust).await);
        assert!(said.contains("UnknownIssuer") || said.contains("BadSignature"), "{said}");
    }
}

fn other(place: &Place) -> PathBuf {
    Authority::new("Somebody else").write(place.folder.path(), "other")
}

#[tokio::test]
async fn whoever_does_not_speak_tls_gets_an_alert_and_no_answer() {
    let place = Place::new();
    let served = Served::new(&place.config()).await;
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    ::tests::within("the end", plain.read_to_end(&mut said)).await.unwrap();
    // A record of kind 21, alert, of two bytes: fatal, and why.
    assert_eq!((said.len(), said[0], &said[3..6]), (7, 21, &[0, 2, 2][..]), "{said:?}");
    let grpc = ask(&format!("http://{}", served.address), &dialer(&Trust::default())).await;
    assert_eq!(grpc.unwrap_err().code(), tonic::Code::Unavailable);
    served.ask(&place.trust()).await.unwrap();
}
