//! The OpenID provider of npm as a process. It is installed on first use, beside the other tools of the tests.

use crate::browser::REDIRECT;
use serde_json::{Value, json};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
};
use tests::http::Client;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// What the provider knows this installation by.
pub(crate) const SECRET: &str = "the-client-secret-of-the-tests";

/// A running provider. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Idp {
    child: Child,
    address: SocketAddr,
}

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(install);

/// Puts the program where its dependencies are, and those there when they are missing.
fn install() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/providers/idp");
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/idp");
    fs::create_dir_all(&tools).unwrap();
    for file in ["package.json", "provider.mjs"] {
        fs::copy(here.join(file), tools.join(file)).unwrap();
    }
    if !tools.join("node_modules/.package-lock.json").exists() {
        let mut npm = std::process::Command::new("npm");
        npm.args(["install", "--silent", "--no-fund", "--no-audit", "--no-package-lock"]).current_dir(&tools);
        assert!(npm.status().expect("npm is needed").success(), "npm could not install the provider");
    }
    tools.join("provider.mjs")
}

impl Idp {
    pub(crate) async fn start() -> Self {
        let program = tokio::task::spawn_blocking(|| PROGRAM.clone()).await.unwrap();
        let mut child = Command::new("node")
            .arg(program)
            .args([REDIRECT, SECRET])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node is needed");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = tests::within("the provider", async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the provider ended");
                if let Some(port) = line.strip_prefix("listening on ") {
                    return port.parse().unwrap();
                }
            }
        })
        .await;
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives an account these claims.
    pub(crate) async fn account(&self, login: &str, claims: Value) {
        self.order(json!({"order": "account", "login": login, "claims": claims})).await;
    }

    /// Tells it something, and returns how often its documents were fetched.
    pub(crate) async fn order(&self, order: Value) -> Value {
        Client::new(self.address, None).post("/control", &order).await.ok().json()
    }

    /// Ends it.
    pub(crate) async fn stop(&mut self) {
        self.child.kill().await.unwrap();
    }
}
