//! Settings that cannot be followed: everything that is wrong with them is said at once, before anything starts.

use crate::chat::{CHAT, chat};
use std::fs;
use tempfile::TempDir;
use tests::{
    authority::{Authority, When},
    engine::Engine,
    process::{Process, free_address},
    suite::Suite,
};

/// Runs a command that must fail; returns what it said.
pub(crate) async fn fails(arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let settings: Vec<_> =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut process = Process::start("refused", arguments, &settings, folder.path());
    let status = process.ended().await;
    assert!(!status.success(), "{status}");
    process.log()
}

#[tokio::test]
async fn every_fault_is_named_at_once_whether_it_is_in_the_file_or_the_environment() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tollgate.toml");
    let text =
        "[inference]\nmax_in_flight = \"many\"\n[inference.queue]\nlenght = 3\n[monitoring]\nin_flight = 0\n";
    fs::write(&file, text).unwrap();
    let said = fails(
        &["up", "--config", file.to_str().unwrap()],
        &[
            ("TOLLGATE_ENGINES", "http://127.0.0.1:8000,ftp://engine"),
            ("TOLLGATE_PERMISSIONS__POLL_INTERVAL", "0s"),
            ("TOLLGATE_PERMISSIONS__DATABASE", "mysql://root:hush-hush@db"),
            ("TOLLGATE_SERVICE_TOKEN__VALUE", "tgs_hush"),
            ("TOLLGATE_UPSTREAM__INFERENCE", "inference:7002"),
        ],
    )
    .await;
    for fault in [
        "inference.max_in_flight",
        "inference.queue.lenght",
        "monitoring.in_flight",
        "inference.engines: `ftp://engine`",
        "permissions.poll_interval",
        "permissions.database",
        "service_token",
        "upstream.inference",
    ] {
        assert!(said.contains(fault), "{fault} is not in:\n{said}");
    }
    assert!(!said.contains("hush"), "secrets are not repeated:\n{said}");
}

#[tokio::test]
async fn a_file_that_is_missing_or_is_no_toml_is_named() {
    let said = fails(&["up", "--config", "/nonexistent.toml"], &[]).await;
    assert!(said.contains("/nonexistent.toml"), "{said}");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("broken.toml");
    fs::write(&file, "listen = \n").unwrap();
    let said = fails(&["up"], &[("TOLLGATE_CONFIG", file.to_str().unwrap())]).await;
    assert!(said.contains("broken.toml"), "{said}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let suite = Suite::start(&[]).await;
    let taken = suite.address.to_string();
    let said = fails(&["up", "--listen", &taken], &[]).await;
    assert!(said.contains(&format!("cannot listen on {taken}")), "{said}");
    let _ = suite.owner().get("/v1/models").await.ok();
}

#[tokio::test]
async fn a_folder_in_use_by_another_suite_is_named() {
    let suite = Suite::start(&[]).await;
    let (folder, listen) = (suite.data().display().to_string(), free_address().to_string());
    let said = fails(&["up", "--data-dir", &folder, "--listen", &listen], &[]).await;
    assert!(said.contains(&folder), "{said}");
    let _ = suite.owner().post(CHAT, &chat(1, 1)).await.ok();
}

#[tokio::test]
async fn names_that_kubernetes_injects_are_only_warned_of() {
    let suite = Suite::start(&[
        ("TOLLGATE_PERMISSIONS_PORT", "tcp://10.96.0.17:7001"),
        ("TOLLGATE_PERMISSIONS_SERVICE_HOST", "10.96.0.17"),
        ("TOLLGATE_PERMISSIONS_PORT_7001_TCP", "tcp://10.96.0.17:7001"),
    ])
    .await;
    let log = suite.process.log();
    for name in ["TOLLGATE_PERMISSIONS_PORT", "TOLLGATE_PERMISSIONS_SERVICE_HOST"] {
        assert!(log.lines().any(|line| line.contains("WARN") && line.contains(name)), "{name}:\n{log}");
    }
    let _ = suite.owner().post(CHAT, &chat(1, 1)).await.ok();
}

#[tokio::test]
async fn a_list_of_engines_replaces_the_simulated_one() {
    let (one, two) = tokio::join!(Engine::start("--model one"), Engine::start("--model two"));
    let list = format!("{}, {}/", one.url, two.url);
    let suite = Suite::start(&[("TOLLGATE_ENGINES", &list)]).await;
    assert!(!suite.process.log().contains("SIMULATED"));
    let models = suite.owner().get("/v1/models").await.ok().json();
    let names: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert_eq!(names, ["one", "two"]);
    for name in ["one", "two"] {
        let mut body = chat(1, 1);
        body["model"] = name.into();
        assert_eq!(suite.owner().post(CHAT, &body).await.ok().json()["model"], name);
    }
}

#[tokio::test]
async fn files_of_tls_that_cannot_be_used_are_named_by_their_settings() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Tollgate tests");
    let (own, other) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    let own = own.write(folder.path(), "own").certificate.display().to_string();
    let other = other.write(folder.path(), "other").key.display().to_string();
    let expired = Authority::of("Old", When::Past).write(folder.path(), "old").display().to_string();
    let said = fails(
        &["edge"],
        &[
            ("TOLLGATE_TLS__CERT_FILE", &own),
            ("TOLLGATE_TLS__KEY_FILE", &other),
            ("TOLLGATE_TLS__SERVICES__CA_FILE", &expired),
            ("TOLLGATE_INFERENCE__ENGINE_TLS__CA_FILE", "/nonexistent.pem"),
        ],
    )
    .await;
    for fault in [
        "tls.key_file: ",
        "does not belong",
        "tls.services.ca_file: ",
        "expired on 2021-01-01",
        "inference.engine_tls.ca_file: /nonexistent.pem",
    ] {
        assert!(said.contains(fault), "{fault} is not in:\n{said}");
    }
}
