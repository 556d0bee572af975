//! Files that change while they are in use.

use super::*;
use std::fs;

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_whoever_comes_next() {
    let place = Place::new();
    let served = Served::new(&place.config()).await;
    let next = Authority::new("Next year's");
    let trust = Trust { ca_file: Some(next.write(place.folder.path(), "next")), ..Trust::default() };
    let new = dialer(&trust);
    let old = dialer(&place.trust());
    let open = channel::remote(&served.url("localhost"), &old).unwrap();
    let mut open = HealthClient::new(open);
    let check = || HealthCheckRequest { service: String::new() };
    open.check(check()).await.unwrap();

    let _ = next.issue(&["localhost"]).write(place.folder.path(), "server");
    served.listeners.look();
    ask(&served.url("localhost"), &new).await.unwrap();
    let _ = objected(ask(&served.url("localhost"), &old).await);
    open.check(check()).await.expect("connections of before go on");
}

#[tokio::test]
async fn what_cannot_be_used_leaves_the_old_in_place_until_it_is_mended() {
    let place = Place::new();
    let served = Served::new(&place.mutual()).await;
    let client = place.authority.issue(&["gateway"]).write(place.folder.path(), "client");
    let trust = place.trust_as(&client);
    for (file, content) in [
        (&place.own.key, "no key"),
        (&place.own.certificate, "no certificate"),
        (&place.own.key, place.authority.issue(&["localhost"]).key.as_str()),
        (&place.ca, ""),
    ] {
        let good = fs::read(file).unwrap();
        fs::write(file, content).unwrap();
        served.listeners.look();
        fs::write(file, good).unwrap();
        served.ask(&trust).await.unwrap_or_else(|error| panic!("{content}: {error}"));
    }
    fs::remove_file(&place.own.key).unwrap();
    served.listeners.look();
    served.ask(&trust).await.unwrap();
    let _ = place.authority.issue(&["renewed.example.org"]).write(place.folder.path(), "server");
    served.listeners.look();
    assert!(objected(served.ask(&trust).await).contains("renewed.example.org"));
}

#[tokio::test]
async fn clients_take_up_a_new_authority_and_a_new_certificate_of_their_own() {
    let place = Place::new();
    let next = Authority::new("Next year's");
    let client = place.authority.issue(&["gateway"]).write(place.folder.path(), "client");
    let dialer = dialer(&place.trust_as(&client));

    let folder = TempDir::new().unwrap();
    let own = next.issue(&["localhost"]).write(folder.path(), "server");
    let config = Config {
        cert_file: Some(own.certificate),
        key_file: Some(own.key),
        client_ca_file: Some(next.write(folder.path(), "ca")),
        ..Config::default()
    };
    let served = Served::new(&config).await;
    let url = served.url("localhost");
    let _ = objected(ask(&url, &dialer).await);

    fs::write(&place.ca, &next.pem).unwrap();
    dialer.look();
    let said = objected(ask(&url, &dialer).await);
    assert!(said.contains("alert"), "the server is trusted, its client is not yet: {said}");
    let _ = next.issue(&["gateway"]).write(place.folder.path(), "client");
    dialer.look();
    ask(&url, &dialer).await.unwrap();
}

#[tokio::test]
async fn a_client_taken_off_the_list_is_refused_from_its_next_connection() {
    let place = Place::new();
    let served = Served::new(&place.mutual()).await;
    let client = place.authority.issue(&["gateway"]).write(place.folder.path(), "client");
    let other = Authority::new("Somebody else");
    served.ask(&place.trust_as(&client)).await.unwrap();
    // The client goes on to trust the server by a copy of its own.
    let copy = place.authority.write(place.folder.path(), "copy");
    let trust = Trust { ca_file: Some(copy), ..place.trust_as(&client) };
    fs::write(&place.ca, &other.pem).unwrap();
    served.listeners.look();
    let said = objected(served.ask(&trust).await);
    assert!(said.contains("alert"), "{said}");
}
