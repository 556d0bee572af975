//! A server that behaves as GitHub documents its OAuth 2 and the three paths of its API that are asked.
//!
//! It holds clients to the protocol: the secret, the redirect address, PKCE with S256, codes that work once, refusals
//! with status 200, a token in `Authorization`, a `User-Agent` in every question, pages of organisations.

use crate::browser::REDIRECT;
use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use openidconnect::{PkceCodeChallenge, PkceCodeVerifier, url::form_urlencoded};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, task::JoinSet};

pub(crate) const SECRET: &str = "the-github-secret-of-the-tests";
const TOKEN: &str = "gho_of-the-tests";

type Form = HashMap<String, String>;

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Octocat {
    pub(crate) address: SocketAddr,
    pub(crate) account: Arc<Mutex<Account>>,
    _server: JoinSet<()>,
}

/// Who is signed in there.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) name: Option<String>,
    pub(crate) emails: Vec<(&'static str, bool, bool)>,
    pub(crate) organisations: Vec<String>,
}

#[derive(Clone)]
struct Server {
    account: Arc<Mutex<Account>>,
    codes: Arc<Mutex<HashMap<String, Form>>>,
}

impl Octocat {
    pub(crate) async fn start() -> Self {
        let account = Account {
            name: Some("Mona".to_owned()),
            emails: vec![("old@example.org", false, true), ("mona@example.org", true, true)],
            organisations: vec!["Acme".to_owned()],
        };
        let account = Arc::new(Mutex::new(account));
        let server = Server { account: Arc::clone(&account), codes: Arc::default() };
        let router = Router::new()
            .route("/login/oauth/authorize", get(authorize))
            .route("/login/oauth/access_token", post(access_token))
            .route("/api/v3/user", get(user))
            .route("/api/v3/user/emails", get(emails))
            .route("/api/v3/user/orgs", get(organisations))
            .with_state(server);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut running = JoinSet::new();
        running.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, account, _server: running }
    }

    /// Settings of this server, as one of an enterprise.
    pub(crate) fn settings(&self, extra: &str) -> String {
        let at = self.address;
        format!(
            "[[identity_providers]]\nid = \"github\"\nkind = \"github\"\ndisplay_name = \"GitHub\"\n\
             authorize_url = \"http://{at}/login/oauth/authorize\"\n\
             token_url = \"http://{at}/login/oauth/access_token\"\napi_url = \"http://{at}/api/v3\"\n\
             client_id = \"Iv1.tests\"\nclient_secret.value = \"{SECRET}\"\n\
             redirect_uris = [\"{REDIRECT}\"]\n{extra}\n"
        )
    }
}

async fn authorize(State(server): State<Server>, Query(asked): Query<Form>) -> Redirect {
    assert_eq!((asked["client_id"].as_str(), asked["redirect_uri"].as_str()), ("Iv1.tests", REDIRECT));
    assert_eq!(
        (asked["scope"].as_str(), asked["code_challenge_method"].as_str()),
        ("read:user user:email read:org", "S256")
    );
    let code = uuid::Uuid::new_v4().simple().to_string();
    let back = format!("{REDIRECT}?code={code}&state={}", asked["state"]);
    server.codes.lock().unwrap().insert(code, asked);
    Redirect::to(&back)
}

async fn access_token(State(server): State<Server>, body: String) -> Json<Value> {
    let form: Form = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let refusal = |error: &str| {
        Json(json!({"error": error, "error_description": "No.", "error_uri": "https://docs.example"}))
    };
    if (form["client_id"].as_str(), form["client_secret"].as_str()) != ("Iv1.tests", SECRET) {
        return refusal("incorrect_client_credentials");
    }
    let Some(asked) = server.codes.lock().unwrap().remove(&form["code"]) else {
        return refusal("bad_verification_code");
    };
    let verifier = PkceCodeVerifier::new(form["code_verifier"].clone());
    if PkceCodeChallenge::from_code_verifier_sha256(&verifier).as_str() != asked["code_challenge"] {
        return refusal("bad_verification_code");
    }
    if form["redirect_uri"] != asked["redirect_uri"] {
        return refusal("redirect_uri_mismatch");
    }
    Json(json!({"access_token": TOKEN, "scope": "read:org,read:user,user:email", "token_type": "bearer"}))
}

fn answer(headers: &HeaderMap, body: Value) -> Response {
    let is = |name: header::HeaderName, value: &str| headers.get(name).is_some_and(|found| found == value);
    if !headers.contains_key(header::USER_AGENT) {
        return (StatusCode::FORBIDDEN, "Request forbidden by administrative rules").into_response();
    }
    if !is(header::AUTHORIZATION, &format!("Bearer {TOKEN}")) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"message": "Bad credentials"}))).into_response();
    }
    Json(body).into_response()
}

async fn user(State(server): State<Server>, headers: HeaderMap) -> Response {
    let name = server.account.lock().unwrap().name.clone();
    answer(
        &headers,
        json!({
            "login": "Mona-Lisa", "id": 583_231, "node_id": "MDQ6VXNlcjE=", "type": "User", "site_admin": false,
            "name": name, "company": null, "email": "public@example.org", "public_repos": 2
        }),
    )
}

async fn emails(State(server): State<Server>, headers: HeaderMap) -> Response {
    let emails = server.account.lock().unwrap().emails.clone();
    let entry = |(email, primary, verified): (&str, bool, bool)| json!({"email": email, "primary": primary, "verified": verified, "visibility": null});
    answer(&headers, emails.into_iter().map(entry).collect())
}

async fn organisations(
    State(server): State<Server>,
    headers: HeaderMap,
    Query(page): Query<Form>,
) -> Response {
    let all = server.account.lock().unwrap().organisations.clone();
    let number = |name: &str, default: usize| page.get(name).map_or(default, |text| text.parse().unwrap());
    let (size, page) = (number("per_page", 30), number("page", 1));
    let entry = |login: &String| json!({"login": login, "id": 1, "node_id": "x", "description": ""});
    answer(&headers, all.iter().skip(size * (page - 1)).take(size).map(entry).collect())
}
