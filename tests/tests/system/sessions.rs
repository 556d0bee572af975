//! Signing in over REST: one access token for every service, until its session is ended.

use crate::chat::{CHAT, chat};
use serde_json::{Value, json};
use tests::{
    http::{Body, Client},
    suite::{MODEL, Suite},
    until,
};

async fn sign_in(suite: &Suite, path: &str) -> Value {
    let first = suite.first_run();
    let credentials = json!({"email": first.owner_email, "password": first.owner_password});
    suite.nobody().post(path, &credentials).await.data()["tokens"].take()
}

fn with(suite: &Suite, tokens: &Value) -> Client {
    suite.nobody().with_key(tokens["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn an_access_token_opens_every_service_until_its_session_ends() {
    let suite = Suite::start(&[]).await;
    let tokens = sign_in(&suite, "/api/auth/login").await;
    let caller = with(&suite, &tokens);
    let me = caller.get("/api/v1/me").await.data();
    assert_eq!((&me["user"]["role"], &me["models"]), (&json!("ROLE_OWNER"), &json!([MODEL])));
    assert_eq!(me["credential"]["session_id"], tokens["session_id"]);
    // Inference has the policy, monitoring asks permissions.
    let services = ["/v1/models", "/api/v1/usage", "/api/v1/sessions"];
    for path in services {
        until(path, async || (caller.get(path).await.status == 200).then_some(())).await;
    }
    let _ = caller.post(CHAT, &chat(4, 5)).await.ok();

    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let next = suite.nobody().post("/api/auth/refresh", &refresh).await.data()["tokens"].take();
    let renewed = with(&suite, &next);
    let _ = renewed.get("/api/v1/me").await.data();
    let stolen = suite.nobody().post("/api/v1/auth:refresh", &refresh).await;
    assert_eq!((stolen.status, &stolen.json()["error_code"]), (401, &json!("REFRESH_TOKEN_REUSED")));
    for path in services {
        for client in [&caller, &renewed] {
            until(path, async || (client.get(path).await.status == 401).then_some(())).await;
        }
    }
    assert_eq!(caller.get("/api/v1/me").await.json()["error_code"], "SESSION_ENDED");
}

#[tokio::test]
async fn public_keys_are_published_as_others_read_them() {
    let suite = Suite::start(&[]).await;
    let tokens = sign_in(&suite, "/api/v1/auth:signIn").await;
    assert_eq!(tokens["token_type"], "Bearer");
    let keys = suite.nobody().get("/.well-known/jwks.json").await.ok().json();
    assert_eq!(keys["keys"][0]["kty"], "OKP");
    assert_eq!(keys, suite.nobody().get("/api/v1/jwks.json").await.ok().json());
}

#[tokio::test]
async fn a_client_cannot_say_where_it_is_unless_its_proxy_is_trusted() {
    for (trusted, expected) in [("[]", "127.0.0.1"), ("[\"127.0.0.0/8\"]", "203.0.113.9")] {
        let suite = Suite::start(&[("TOLLGATE_NETWORK__TRUSTED_PROXIES", trusted)]).await;
        let first = suite.first_run();
        let credentials = json!({"email": first.owner_email, "password": first.owner_password}).to_string();
        let request =
            suite.nobody().builder("POST", "/api/auth/login").header("content-type", "application/json");
        let request =
            request.header("x-forwarded-for", "198.51.100.1, 203.0.113.9").header("user-agent", "a test");
        let tokens = suite.nobody().send(request.body(Body::from(credentials)).unwrap()).await.data();
        let session =
            with(&suite, &tokens["tokens"]).get("/api/v1/sessions").await.data()["sessions"][0].take();
        assert_eq!((&session["peer_address"], &session["user_agent"]), (&json!(expected), &json!("a test")));
    }
}
