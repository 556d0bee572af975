//! A person who is signed in, and renews the access token as good clients do: well before its end, keeping the old one
//! while no new one is to be had.

use crate::http::Client;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What is left of a token's life when it is renewed: a third, as 5 of 15 minutes.
const LEFT: u32 = 3;
/// What a token may live longer than is known here: it says whole seconds, and its answer was under way.
const MARGIN: Duration = Duration::from_secs(2);

/// The tokens of one session.
#[derive(Debug)]
pub struct Session {
    door: Client,
    access: String,
    refresh: String,
    end: Instant,
    lifetime: Duration,
}

impl Session {
    /// Signs in; `door` is who is asked, and needs no credential.
    pub async fn open(door: Client, email: &str, password: &str) -> Self {
        let credentials = json!({"email": email, "password": password});
        let asked = Instant::now();
        let tokens = door.post("/api/v1/auth:signIn", &credentials).await.data()["tokens"].take();
        let mut session = Self {
            door,
            access: String::new(),
            refresh: String::new(),
            end: asked,
            lifetime: Duration::ZERO,
        };
        session.take(&tokens, asked);
        session
    }

    /// The access token.
    #[must_use]
    pub fn access(&self) -> &str {
        &self.access
    }

    /// Whether the token is certainly past its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() > self.end + MARGIN
    }

    /// Whether it is time to renew the token.
    #[must_use]
    pub fn is_due(&self) -> bool {
        Instant::now() + self.lifetime / LEFT > self.end
    }

    /// Renews the token. Returns whether there was somebody to do that; a refusal fails the test.
    pub async fn renew(&mut self) -> bool {
        let body = json!({"refresh_token": self.refresh});
        let asked = Instant::now();
        let answer = self.door.try_send(self.door.with_json("POST", "/api/v1/auth:refresh", &body)).await;
        match answer {
            Ok(answer) if answer.status < 500 => {
                self.take(&answer.data()["tokens"], asked);
                true
            }
            _ => false,
        }
    }

    fn take(&mut self, tokens: &Value, asked: Instant) {
        let text = |field: &str| tokens[field].as_str().unwrap().to_owned();
        (self.access, self.refresh) = (text("access_token"), text("refresh_token"));
        self.lifetime = Duration::from_secs(tokens["expires_in"].as_u64().unwrap());
        self.end = asked + self.lifetime;
    }
}
