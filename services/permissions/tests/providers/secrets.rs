//! What must stay in this process stays in it: no log, no error and no `Debug` tells a secret or an address.

use crate::{
    browser::{Back, Browser},
    idp::{Idp, SECRET},
    site::{config, oidc, person, query, tampered, with_idp},
};
use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};
use std::{
    io,
    sync::{Arc, Mutex},
};
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn nothing_secret_is_logged_or_told() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    // Of all tests of this process: what one of them does is not to be found in the log of another either.
    tracing::subscriber::set_global_default(subscriber.with_writer(log.clone()).finish()).unwrap();
    let mut idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &["eng"])).await;
    let world = with_idp(&idp, "create_groups = true").await;
    let mut secrets = vec![SECRET.to_owned(), "ana@example.org".to_owned()];
    let (mut challenges, mut told) = (Vec::new(), Vec::new());

    let mut attempts: Vec<(proto::permissions::v1::StartSignInResponse, Back)> = Vec::new();
    for parameter in ["", "nonce", "code_challenge"] {
        let begun = world.begin("corp").await;
        let value = "x".repeat(43);
        let url = if parameter.is_empty() {
            begun.authorization_url.clone()
        } else {
            tampered(&begun.authorization_url, parameter, &value)
        };
        let back = Browser::default().sign_in(&url, "ana").await;
        challenges.push(query(&begun.authorization_url, "code_challenge"));
        let nonce = query(&begun.authorization_url, "nonce");
        secrets.extend([begun.sign_in_token.clone(), nonce, back.get("code"), back.get("state")]);
        attempts.push((begun, back));
    }
    for (begun, back) in &attempts {
        let first = world.complete(begun, back).await;
        told.extend(first.err());
        told.extend(world.complete(begun, back).await.err());
    }
    let begun = world.begin("corp").await;
    let back = Browser::default().sign_in(&begun.authorization_url, "ana").await;
    idp.stop().await;
    told.extend(world.complete(&begun, &back).await.err());
    assert_eq!(told.len(), 6, "{told:?}");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    // The test's own browser and JSON are not in it, but what the service did is.
    assert!(log.contains("request refused") && log.contains("PROVIDER_UNAVAILABLE"), "{log}");
    let told = format!("{told:?}");
    for secret in secrets {
        assert!(!secret.is_empty() && !told.contains(&secret), "{secret} was told: {told}");
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret} was logged: {line:?}");
    }
    // The verifiers are in no hand of the test, but their challenges are.
    let words = log.split(|letter: char| !(letter.is_ascii_alphanumeric() || "-_".contains(letter)));
    for word in words.filter(|word| word.len() == 43) {
        let verifier = PkceCodeVerifier::new(word.to_owned());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        assert!(!challenges.contains(&challenge.as_str().to_owned()), "a verifier was logged");
    }
}

#[test]
fn debug_of_the_settings_tells_no_secret() {
    let config = config(&oidc("corp", "https://login.example.org", "")).unwrap();
    let shown = format!("{config:?}");
    assert!(shown.contains("login.example.org") && !shown.contains(SECRET), "{shown}");
}
