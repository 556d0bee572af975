//! With which credential a command calls: a key from a file, the session of the last login, or the first run's key.

use super::{
    Common,
    call::{Client, Contract, needed},
};
use crate::first_run::Welcome;
use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    channel::{self, Channel},
    config::{ExposeSecret, SecretString},
    tls::{Dialer, Trust},
};
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Where the suite is when nobody says otherwise.
pub(super) const SERVER: &str = "http://127.0.0.1:8080";
/// An access token that ends sooner is renewed first.
const SOON: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// What a login leaves.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) server: String,
    pub(super) access_token: String,
    pub(super) access_expire_time: Timestamp,
    pub(super) refresh_token: String,
    /// The TLS of the login, for the commands after it.
    #[serde(default)]
    tls: Trust,
}

impl Session {
    /// From what signing in or renewing answered.
    pub(super) fn read(account: &Account, tokens: &Value) -> anyhow::Result<Self> {
        Ok(Self {
            server: account.server.clone(),
            tls: account.trust.clone(),
            access_token: needed(tokens, "access_token")?.to_owned(),
            access_expire_time: needed(tokens, "access_expire_time")?.parse()?,
            refresh_token: needed(tokens, "refresh_token")?.to_owned(),
        })
    }

    /// Keeps it for its owner alone.
    pub(super) fn keep(&self, path: &Path) -> anyhow::Result<()> {
        let next = path.with_extension("next");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(&next, path).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn kept(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}

/// Who calls, and where.
pub(super) struct Account {
    pub(super) server: String,
    pub(super) file: PathBuf,
    trust: Trust,
    credential: Credential,
}

enum Credential {
    Key(SecretString),
    Session(Session),
    None,
}

impl Account {
    pub(super) fn open(common: &Common) -> anyhow::Result<Self> {
        let file = match &common.login_file {
            Some(file) => file.clone(),
            None => std::env::home_dir()
                .context("there is no home folder; say --login-file")?
                .join(".tollgate-login"),
        };
        let session = Session::kept(&file);
        let welcome = Welcome::read(Path::new(".tollgate"));
        let server = common.server.clone().or_else(|| session.as_ref().map(|session| session.server.clone()));
        let server = server.or_else(|| welcome.as_ref().map(|welcome| welcome.base_url.clone()));
        let server = server.unwrap_or_else(|| SERVER.to_owned());
        let trust = match (common.secured.trust(), &session) {
            (Some(said), _) => said.absolute()?,
            (None, Some(session)) if session.server == server => session.tls.clone(),
            (None, _) => Trust::default(),
        };
        let credential = match (&common.key_file, session, welcome) {
            (Some(path), _, _) => Credential::Key(key(path)?),
            (None, Some(session), _) if session.server == server => Credential::Session(session),
            (None, _, Some(welcome)) if welcome.base_url == server => Credential::Key(welcome.api_key.into()),
            (None, ..) => Credential::None,
        };
        Ok(Self { server, file, trust, credential })
    }

    /// A client without a credential, for signing in.
    pub(super) fn stranger(&self, contract: &Contract) -> anyhow::Result<Client> {
        Ok(Client::new(contract.clone(), self.channel()?))
    }

    fn channel(&self) -> anyhow::Result<Channel> {
        let dialer = Dialer::open(&self.trust, "the command's TLS")?;
        channel::remote(&self.server, &dialer)
            .with_context(|| format!("{} is no address like {SERVER}", self.server))
    }

    /// A client with the credential, renewed first when it is about to end.
    pub(super) async fn client(&self, contract: &Contract) -> anyhow::Result<Client> {
        let token = match &self.credential {
            Credential::Key(key) => key.clone(),
            Credential::Session(session) => self.token(session, contract).await?.into(),
            Credential::None => {
                bail!("not signed in at {}: run `tollgate login`, or say --key-file", self.server)
            }
        };
        Ok(Client::new(contract.clone(), channel::with_service_token(self.channel()?, &token)))
    }

    async fn token(&self, session: &Session, contract: &Contract) -> anyhow::Result<String> {
        if Timestamp::now().duration_until(session.access_expire_time) > SOON {
            return Ok(session.access_token.clone());
        }
        let request = json!({ "refresh_token": session.refresh_token });
        let answer = self.stranger(contract)?.unary("SessionService/RefreshSession", &request).await;
        let answer = answer.context("the login has ended: run `tollgate login`")?;
        let session = Session::read(self, &answer["tokens"])?;
        session.keep(&self.file)?;
        Ok(session.access_token)
    }

    pub(super) const fn session(&self) -> Option<&Session> {
        match &self.credential {
            Credential::Session(session) => Some(session),
            Credential::Key(_) | Credential::None => None,
        }
    }
}

fn key(path: &Path) -> anyhow::Result<SecretString> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let key: SecretString = text.trim().into();
    if key.expose_secret().is_empty() { bail!("{} holds no key", path.display()) } else { Ok(key) }
}
