//! Who is calling what, for the time of one request: so that the rules of fields can say what they suspect without
//! being told who asks. The authentication layer sets it; outside of a request nothing is reported.

use super::{Incident, Kind, Watch, suspicion};
use crate::{auth::Caller, time};
use policy::KeyId;
use std::net::IpAddr;

tokio::task_local! { static SCENE: Scene; }

/// One request, as incidents tell of it.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Where incidents go.
    pub watch: Watch,
    /// Who calls, once that is known.
    pub caller: Option<Caller>,
    /// Where from.
    pub address: Option<IpAddr>,
    /// What is called.
    pub method: String,
}

impl Scene {
    /// Runs a request in this scene.
    pub async fn around<F: Future>(self, request: F) -> F::Output {
        SCENE.scope(self, request).await
    }

    /// Reports an incident of this request.
    pub fn report(&self, kind: Kind, detail: impl Into<String>) {
        let incident = Incident {
            kind,
            actor: self.actor(),
            key: self.key(),
            address: self.address,
            method: self.method.clone(),
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

/// Looks at a management text and reports what it looks like; it is not refused for that. The text itself is not kept.
pub fn inspect(field: &str, text: &str) {
    // Whether there is anybody to tell is the cheaper question.
    if let Ok(scene) = SCENE.try_with(Scene::clone)
        && let Some(suspicion) = suspicion(text)
    {
        scene.report(Kind::InjectionSuspected, format!("{} in {field}", suspicion.as_str()));
    }
}
