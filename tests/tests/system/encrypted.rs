//! Everything over TLS: the services among each other, their callers, the engines, and the operators' commands.

use crate::{
    chat::{CHAT, TEMPLATE, chat, recorded, streamed, until_usable},
    config::fails,
    operate::Desk,
};
use proto::inference::v1::{InferRequest, Prompt, inference_service_client::InferenceServiceClient};
use std::{error::Error, fs, net::SocketAddr, path::Path};
use tempfile::TempDir;
use tests::{
    apart::{Apart, Role},
    authority::Authority,
    engine::Engine,
    http::Client,
    ledger, people,
    postgres::Private,
    rpc,
    suite::{MODEL, Suite},
    tls::{Proxy, Tls},
    until,
};

const ROLES: [Role; 4] = [Role::Permissions, Role::Monitoring, Role::Inference, Role::Edge];

/// The four services with mutual TLS among them, and an engine behind TLS too.
struct Encrypted {
    apart: Apart,
    authority: Authority,
    /// Where the services' files are.
    folder: TempDir,
    _engine: (Engine, Proxy),
}

/// Settings of listeners, and of what services trust.
fn settings(folder: &Path) -> Vec<(String, String)> {
    let at = |file: &str| folder.join(file).display().to_string();
    let settings = [
        ("TLS__CERT_FILE", "service.crt"),
        ("TLS__KEY_FILE", "service.key"),
        ("TLS__CLIENT_CA_FILE", "ca.crt"),
        ("TLS__SERVICES__CA_FILE", "ca.crt"),
        ("TLS__SERVICES__CERT_FILE", "service.crt"),
        ("TLS__SERVICES__KEY_FILE", "service.key"),
        ("INFERENCE__ENGINE_TLS__CA_FILE", "ca.crt"),
    ];
    settings.map(|(name, file)| (format!("TOLLGATE_{name}"), at(file))).to_vec()
}

/// As settings are given.
fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

async fn proxied(authority: &Authority) -> (Engine, Proxy) {
    let engine = Engine::start("--time-scale 10").await;
    let address: SocketAddr = engine.url.trim_start_matches("http://").parse().unwrap();
    let proxy = Proxy::start(&authority.issue(&["127.0.0.1"]), address).await;
    (engine, proxy)
}

impl Encrypted {
    async fn start() -> Self {
        let (folder, authority) = (TempDir::new().unwrap(), Authority::new("Tollgate tests"));
        let _ = authority.write(folder.path(), "ca");
        let _ = authority.issue(&["127.0.0.1"]).write(folder.path(), "service");
        let engine = proxied(&authority).await;
        let mut settings = settings(folder.path());
        settings.push(("TOLLGATE_ENGINES".to_owned(), engine.1.url.clone()));
        let mut apart = Apart::prepare(&borrowed(&settings)).over(&Tls::of(&authority));
        apart.run_all().await;
        people::register(&apart.owner(), MODEL).await;
        until_usable(&apart.owner()).await;
        Self { apart, authority, folder, _engine: engine }
    }

    /// A client of a service's own port, with a certificate.
    fn gateway(&self) -> Client {
        let tls = Tls::of(&self.authority).with(&self.authority.issue(&["a-client"]));
        let key = self.apart.first_run().api_key;
        Client::new(self.apart.address(Role::Inference), Some(&key)).over(&tls)
    }
}

#[tokio::test]
async fn the_journey_is_the_same_over_tls() {
    let world = Encrypted::start().await;
    let (apart, owner) = (&world.apart, world.apart.owner());
    assert!(apart.first_run().base_url.starts_with("https://"));
    let before = ledger::at_least(&owner, 1).await.len();
    let _ = owner.post(CHAT, &chat(2, 3)).await.ok();
    let events = owner.stream(CHAT, &streamed(3, 4)).await.all().await;
    assert_eq!(events.last().unwrap(), "[DONE]");
    let _ = world.gateway().post(CHAT, &chat(4, 5)).await.ok();
    let tls = Tls::of(&world.authority).with(&world.authority.issue(&["a-client"]));
    let channel = rpc::secured(apart.address(Role::Inference), &tls, &apart.first_run().api_key).await;
    let prompt =
        Prompt { model: MODEL.into(), text: "w1 w2".into(), max_tokens: Some(6), ..Prompt::default() };
    let mut grpc = InferenceServiceClient::new(channel.unwrap());
    grpc.infer(InferRequest { prompt: Some(prompt), ..InferRequest::default() }).await.unwrap();

    let mut records = ledger::at_least(&owner, before + 4).await;
    records.sort_by(|one, other| one.usage_id.cmp(&other.usage_id));
    let costs: Vec<_> = records[before..].iter().map(recorded).collect();
    assert_eq!(costs, [(2 + TEMPLATE, 3), (3 + TEMPLATE, 4), (4 + TEMPLATE, 5), (2, 6)]);
    for role in ROLES {
        let admin = Client::new(apart.admin(role), None);
        let page = admin.get("/metrics").await.ok().text();
        assert!(page.contains("tollgate_tls_certificate_expires"), "{role:?}: probes and metrics stay plain");
    }
}

#[tokio::test]
async fn nobody_comes_in_plainly_and_services_ask_for_certificates() {
    let world = Encrypted::start().await;
    let key = world.apart.first_run().api_key;
    let without = Tls::of(&world.authority);
    let stranger = without.with(&Authority::new("Tollgate tests").issue(&["a-client"]));
    for role in ROLES {
        let address = world.apart.address(role);
        let plain = Client::new(address, Some(&key));
        let answer = plain.try_send(plain.request("GET", "/v1/models")).await;
        assert!(answer.is_err(), "{role:?} answered without TLS: {answer:?}");
        if role == Role::Edge {
            continue;
        }
        for (client, alert) in
            [(plain.over(&without), "CertificateRequired"), (plain.over(&stranger), "alert")]
        {
            let refused = client.try_send(client.request("GET", "/v1/models")).await.unwrap_err();
            let chain = chain(refused.as_ref());
            assert!(chain.contains(alert), "{role:?}: {chain}");
        }
    }
    let unknown =
        Client::new(world.apart.address(Role::Edge), Some(&key)).over(&Tls::of(&Authority::new("Other")));
    let refused = unknown.try_send(unknown.request("GET", "/v1/models")).await.unwrap_err();
    assert!(chain(refused.as_ref()).contains("invalid peer certificate"), "{refused}");
}

/// Everything an error says, with its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn certificates_are_renewed_without_a_restart() {
    let mut world = Encrypted::start().await;
    let next = Authority::new("Next year's");
    let (key, edge) = (world.apart.first_run().api_key, world.apart.address(Role::Edge));
    let new = Client::new(edge, Some(&key)).over(&Tls::of(&next));
    assert!(new.try_send(new.request("GET", "/v1/models")).await.is_err());

    // What is broken changes nothing and says so.
    let file = world.folder.path().join("service.key");
    let good = fs::read(&file).unwrap();
    fs::write(&file, "no key").unwrap();
    for role in ROLES {
        until("a word about the broken key", async || {
            let log = world.apart.process(role).log();
            let said = |line: &str| line.contains("tls.key_file") && line.contains("stay in use");
            log.lines().any(said).then_some(())
        })
        .await;
    }
    let _ = world.apart.owner().post(CHAT, &chat(1, 1)).await.ok();
    fs::write(&file, good).unwrap();

    // First everybody trusts both authorities, then the certificates are those of the new one.
    fs::write(world.folder.path().join("ca.crt"), format!("{}{}", world.authority.pem, next.pem)).unwrap();
    for role in ROLES {
        until("both authorities in use", async || {
            world.apart.process(role).log().contains("new certificates are in use").then_some(())
        })
        .await;
    }
    let _ = next.issue(&["127.0.0.1"]).write(world.folder.path(), "service");
    until("the new certificate at the edge", async || {
        new.try_send(new.request("GET", "/v1/models")).await.ok().filter(|answer| answer.status == 200)
    })
    .await;
    let _ = new.post(CHAT, &chat(1, 1)).await.ok();
    // Whoever connects anew meets new certificates on both sides.
    world.apart.run(Role::Inference).await;
    until_usable(&new).await;
}

#[tokio::test]
async fn a_service_that_is_not_trusted_is_not_used_and_the_log_says_why() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Tollgate tests");
    let _ = authority.write(folder.path(), "ca");
    let _ = authority.issue(&["permissions.example.org"]).write(folder.path(), "service");
    let settings = settings(folder.path());
    let mut apart = Apart::prepare(&borrowed(&settings)).over(&Tls::of(&authority));
    apart.run(Role::Permissions).await;
    let gateway = apart.spawn(Role::Inference, &[]);
    until("why it is not trusted", async || {
        let log = gateway.log();
        let said = |line: &str| line.contains("not valid for name") && line.contains("tls.services");
        log.lines().any(said).then_some(())
    })
    .await;
    let admin = Client::new(apart.admin(Role::Inference), None);
    until("its admin port", async || admin.try_send(admin.request("GET", "/health/live")).await.ok()).await;
    assert_eq!(admin.get("/health/ready").await.status, 503);
    drop(gateway);
    let named = [("TOLLGATE_TLS__SERVICES__SERVER_NAME", "permissions.example.org")];
    let mut named = apart.spawn(Role::Inference, &named);
    named.until_ok(apart.admin(Role::Inference), "/health/ready").await;
}

#[tokio::test]
async fn an_engine_of_an_unknown_authority_is_not_used_and_the_log_says_why() {
    let authority = Authority::new("Tollgate tests");
    let (_engine, proxy) = proxied(&authority).await;
    let suite = Suite::start(&[("TOLLGATE_ENGINES", &proxy.url)]).await;
    let log = suite.process.log();
    let why = log.lines().find(|line| line.contains("engine is unhealthy"));
    assert!(why.is_some_and(|line| line.contains("UnknownIssuer")), "{log}");
    let folder = TempDir::new().unwrap();
    let ca = authority.write(folder.path(), "ca").display().to_string();
    let settings = [("TOLLGATE_ENGINES", &*proxy.url), ("TOLLGATE_INFERENCE__ENGINE_TLS__CA_FILE", &ca)];
    let suite = Suite::start(&settings).await;
    let _ = suite.owner().post(CHAT, &chat(1, 1)).await.ok();
}

#[tokio::test]
async fn a_database_is_reached_over_tls_and_held_against_its_authority() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Tollgate tests");
    let database = Private::secured(&authority.issue(&["127.0.0.1"])).await;
    let url = |name: &str, authority: &Authority| {
        let ca = authority.write(folder.path(), name);
        format!("{}?sslmode=verify-full&sslrootcert={}", database.url(), ca.display())
    };
    let known = url("known", &authority);
    let settings = [("TOLLGATE_PERMISSIONS__DATABASE", &*known), ("TOLLGATE_MONITORING__DATABASE", &*known)];
    let suite = Suite::start(&settings).await;
    let _ = suite.owner().post(CHAT, &chat(1, 1)).await.ok();
    let stranger = url("stranger", &Authority::new("Tollgate tests"));
    let refused = [("TOLLGATE_PERMISSIONS__DATABASE", &*stranger)];
    let said = fails(&["up", "--listen", "127.0.0.1:0"], &refused).await;
    assert!(said.contains("permissions.database") && said.contains("certificate"), "{said}");
}

#[tokio::test]
async fn commands_trust_whom_they_are_told_to_and_remember_it() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new("Tollgate tests"));
    let ca = authority.write(folder.path(), "ca").display().to_string();
    let own = authority.issue(&["127.0.0.1"]).write(folder.path(), "service");
    let client = authority.issue(&["an-operator"]).write(folder.path(), "client");
    let (certificate, key) = (own.certificate.display().to_string(), own.key.display().to_string());
    let tls = Tls::of(&authority).with(&authority.issue(&["a-probe"]));
    let suite = Suite::secured(
        &tls,
        &[
            ("TOLLGATE_TLS__CERT_FILE", &certificate),
            ("TOLLGATE_TLS__KEY_FILE", &key),
            ("TOLLGATE_TLS__EDGE_CLIENT_CA_FILE", &ca),
        ],
    )
    .await;
    let (desk, first) = (Desk::new(&suite), suite.first_run());
    assert_eq!(first.base_url, format!("https://{}", suite.address));
    let login = ["login", "--server", &first.base_url, "--email", &first.owner_email];
    let password = format!("{}\n", first.owner_password);
    desk.run(&login, &password).refused(&["UnknownIssuer", "--ca"]);
    let trusting = [&login[..], &["--ca", &ca]].concat();
    desk.run(&trusting, &password).refused(&["CertificateRequired", "--client-cert"]);
    let (certificate, key) = (client.certificate.display().to_string(), client.key.display().to_string());
    let known = [&trusting[..], &["--client-cert", &certificate, "--client-key", &key]].concat();
    assert!(desk.run(&known, &password).err.contains("signed in"));
    assert_eq!(desk.json("me")["user"]["user_id"], first.owner_id);
    desk.run(&["me", "--server-name", "elsewhere.example.org", "--ca", &ca], "").refused(&["elsewhere"]);
    let _ = suite.owner().post(CHAT, &chat(1, 1)).await.ok();
}
