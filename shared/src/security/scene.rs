//! Who is calling what, for the time of one request: so that the rules of fields can say what they suspect without
//! being told who asks. The authentication layer sets it; outside of a request nothing is reported.

use super::{Incident, Kind, Watch, suspicion};
use crate::{
    auth::{Caller, Denied, Refusal},
    time,
};
use policy::{KeyId, UserId};
use std::{net::IpAddr, sync::Arc};

tokio::task_local! { static SCENE: Scene; }

/// Longest path that is kept of what nobody serves, in bytes.
const PATH: usize = 120;

/// One request, as incidents tell of it.
#[derive(Debug, Clone)]
pub struct Scene {
    watch: Watch,
    caller: Option<Caller>,
    address: Option<IpAddr>,
    path: Path,
}

/// What was called: a method of the contract, or a path.
#[derive(Debug, Clone)]
enum Path {
    Method(&'static str),
    Other(Arc<str>),
}

impl Path {
    fn of(path: &str, row: Option<&'static proto::Row>) -> Self {
        row.map_or_else(
            || Self::Other(path[..path.floor_char_boundary(PATH)].into()),
            |row| Self::Method(row.path),
        )
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Method(path) => path,
            Self::Other(path) => path,
        }
    }
}

impl Scene {
    /// A request for `path`, which is this method where it is one, from this address, by nobody knows whom yet.
    #[must_use]
    pub fn of(watch: Watch, address: Option<IpAddr>, path: &str, row: Option<&'static proto::Row>) -> Self {
        Self { watch, caller: None, address, path: Path::of(path, row) }
    }

    /// It is known who calls.
    pub fn enter(&mut self, caller: Caller) {
        if let Some(key) = caller.person().and_then(|person| person.key) {
            self.watch.used(key, time::now());
        }
        self.caller = Some(caller);
    }

    /// The authentication layer turns the caller away.
    pub fn turned_away(&self, denied: Denied) {
        let kind = match denied {
            // Neither says anything about the caller: a probe without a credential, a store that is away, a client
            // whose access token ran out and who refreshes it now.
            Denied::Refused(Refusal::Missing | Refusal::Unavailable | Refusal::TokenExpired) => return,
            Denied::Refused(_) => Kind::CredentialRefused,
            Denied::Role(_) | Denied::Scope(_) => Kind::CallRefused,
        };
        self.report(kind, denied.fault().reason);
    }

    /// Runs a request in this scene.
    pub async fn around<F: Future>(self, request: F) -> F::Output {
        SCENE.scope(self, request).await
    }

    /// Reports an incident of this request.
    pub fn report(&self, kind: Kind, detail: impl Into<String>) {
        self.report_of(self.actor(), kind, detail);
    }

    fn report_of(&self, actor: String, kind: Kind, detail: impl Into<String>) {
        let incident = Incident {
            kind,
            actor,
            key: self.key(),
            address: self.address,
            method: self.path.as_str().to_owned(),
            detail: detail.into(),
        };
        self.watch.report(incident, time::now());
    }

    fn actor(&self) -> String {
        match &self.caller {
            Some(Caller::Person(person)) => person.user.to_string(),
            Some(Caller::Service) => "service".to_owned(),
            None => String::new(),
        }
    }

    fn key(&self) -> Option<KeyId> {
        self.caller.as_ref()?.person()?.key
    }
}

/// Reports that the current request failed or was refused by something other than the authentication layer: a
/// password, a refresh token.
pub fn report(kind: Kind, detail: &'static str) {
    if let Ok(scene) = SCENE.try_with(Scene::clone) {
        scene.report(kind, detail);
    }
}

/// Reports that the current request, which anybody may send, failed to sign in this user, or somebody unknown.
pub fn report_sign_in(user: Option<UserId>, detail: String) {
    if let Ok(scene) = SCENE.try_with(Scene::clone) {
        let user = user.map(|user| user.to_string());
        scene.report_of(user.unwrap_or_default(), Kind::SignInFailed, detail);
    }
}

/// Looks at a management text and reports what it looks like; it is not refused for that. The text itself is not kept.
pub fn inspect(field: &str, text: &str) {
    // Whether there is anybody to tell is the cheaper question.
    if let Ok(scene) = SCENE.try_with(Scene::clone)
        && let Some(suspicion) = suspicion(text)
    {
        scene.report(Kind::InjectionSuspected, format!("{} in {field}", suspicion.as_str()));
    }
}
