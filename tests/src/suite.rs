//! `tollgate up`: the whole suite in one process, on one address.

use crate::{
    http::Client,
    process::{Process, free_address},
    tls::Tls,
};
use serde::Deserialize;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// The name that simulated engines serve.
pub const MODEL: &str = "tollgate-sim";

/// A running suite.
#[derive(Debug)]
pub struct Suite {
    /// Its one address.
    pub address: SocketAddr,
    /// Its process.
    pub process: Process,
    under: &'static [&'static str],
    variables: Vec<(String, String)>,
    tls: Option<Tls>,
    folder: TempDir,
}

/// What the first start wrote.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the file's fields")]
pub struct FirstRun {
    pub base_url: String,
    pub api_key: String,
    pub model: String,
    pub owner_email: String,
    pub owner_password: String,
    pub owner_id: String,
}

impl FirstRun {
    /// Reads it from a data folder.
    #[must_use]
    pub fn read(data: &Path) -> Self {
        serde_json::from_slice(&fs::read(data.join("first-run.json")).unwrap()).unwrap()
    }
}

impl Suite {
    /// Starts it in a folder of its own, with further settings from the environment.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::over(None, &[], settings).await
    }

    /// Starts it behind the words of another program.
    pub async fn start_under(words: &'static [&'static str], settings: &[(&str, &str)]) -> Self {
        Self::over(None, words, settings).await
    }

    /// Starts it with settings that make it speak TLS; this is how its clients come.
    pub async fn secured(tls: &Tls, settings: &[(&str, &str)]) -> Self {
        Self::over(Some(tls.clone()), &[], settings).await
    }

    async fn over(tls: Option<Tls>, under: &'static [&'static str], settings: &[(&str, &str)]) -> Self {
        let address = free_address();
        let mut variables = vec![
            ("TOLLGATE_PORTS__PERMISSIONS".to_owned(), "127.0.0.1:0".to_owned()),
            ("TOLLGATE_PORTS__INFERENCE".to_owned(), "127.0.0.1:0".to_owned()),
            ("TOLLGATE_PORTS__MONITORING".to_owned(), "127.0.0.1:0".to_owned()),
        ];
        variables.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let folder = TempDir::new().unwrap();
        let process = run(under, address, &variables, &folder);
        let mut suite = Self { address, process, under, variables, tls, folder };
        suite.until_ready().await;
        suite
    }

    /// Starts it again in the same folder, after it ended.
    pub async fn start_again(&mut self) {
        self.process = run(self.under, self.address, &self.variables, &self.folder);
        self.until_ready().await;
    }

    async fn until_ready(&mut self) {
        let nobody = self.nobody();
        self.process.until_ok_by(&nobody, "/health/ready").await;
        let written = async || self.data().join("first-run.json").exists().then_some(());
        crate::until("first-run.json", written).await;
    }

    /// Where it runs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it keeps everything.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What its first start wrote.
    #[must_use]
    pub fn first_run(&self) -> FirstRun {
        FirstRun::read(&self.data())
    }

    /// A client without a credential.
    #[must_use]
    pub fn nobody(&self) -> Client {
        let plain = Client::new(self.address, None);
        match &self.tls {
            Some(tls) => plain.over(tls),
            None => plain,
        }
    }

    /// A client with the owner's key.
    #[must_use]
    pub fn owner(&self) -> Client {
        self.nobody().with_key(&self.first_run().api_key)
    }

    /// The sum of a metric of its page, over all series whose labels contain a text.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        crate::metrics::sum(&self.nobody().get("/metrics").await.ok().text(), name, label)
    }
}

fn run(under: &[&str], address: SocketAddr, variables: &[(String, String)], folder: &TempDir) -> Process {
    let listen = address.to_string();
    let arguments = ["up", "--data-dir", "data", "--listen", &listen];
    Process::start_under(under, "up", &arguments, variables, folder.path())
}
