//! One engine: what is known of it, and whether new requests may go there.
//!
//! Whatever changes that goes through [`Engine::update`], which tells the queue at once and in order.

use super::{
    EngineId, Settings,
    breaker::{Breaker, Position},
    figures::Figures,
    gauges::Gauges,
    health::{Health, Verdict},
    outlier::{Ejection, Window},
    pulse::Pulse,
    share::Division,
};
use crate::{config, gateways::Part, metrics};
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use shared::report;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// One engine.
#[derive(Debug)]
pub struct Engine {
    /// Its place in the fleet; never given to another.
    pub id: EngineId,
    /// Its base URL, without a slash at the end.
    pub url: String,
    /// Its name in the contract, made from its URL: the same at every gateway and after every start.
    pub name: String,
    /// Whether its streams get tokens.
    pub(super) pulse: Pulse,
    pub(super) division: Division,
    base: Uri,
    key: Option<HeaderValue>,
    settings: Arc<Settings>,
    state: Mutex<State>,
    figures: Mutex<Figures>,
}

/// Everything that changes about an engine.
#[derive(Debug)]
pub struct State {
    /// What its checks saw.
    pub sight: Sight,
    /// Whether it is well.
    pub health: Health,
    /// Its breaker.
    pub breaker: Breaker,
    /// Whether it is out for doing worse than its peers.
    pub ejection: Ejection,
    /// What an operator said of it.
    pub cordon: Option<Cordon>,
    /// Why it is on its way out of the fleet.
    pub leaving: Option<String>,
    /// What part of it is this gateway's; `None` is all of it.
    part: Option<Part>,
    /// What it says of itself, and when it said so.
    pub gauges: Option<(Gauges, policy::Time)>,
    pub(super) window: Window,
    /// When something was last heard of it, or asked.
    pub(super) heard: Instant,
    pub(super) probing: bool,
    pub(super) probed: Option<Instant>,
    told: Option<Told>,
}

/// What the checks of an engine saw.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// Longest context by model name, in tokens; 0 when the engine does not say.
    pub models: BTreeMap<String, u32>,
    /// When a check last succeeded.
    pub last_success: Option<policy::Time>,
    /// How long that took.
    pub latency: Duration,
}

/// An operator's word that an engine gets nothing new.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cordon {
    /// Who said so, by their id.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Whether it is to be emptied, and until when that should be done, in microseconds since 1970.
    pub drain_until: Option<i64>,
    /// Whether its cloud takes it away.
    #[serde(default)]
    pub preempted: bool,
}

/// Whether requests may go to an engine: of all that is against it, what weighs most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not asked yet.
    Unknown,
    /// They may.
    Healthy,
    /// It is not well.
    Unhealthy,
    /// It failed too many requests in a row.
    BreakerOpen,
    /// It does far worse than its peers.
    Ejected,
    /// An operator said that it gets nothing new.
    Cordoned,
    /// The same, and that it is to be emptied.
    Draining,
    /// It has been emptied.
    Drained,
    /// It is no longer where engines are found, and finishes what it has.
    Leaving,
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    models: Vec<String>,
    accepting: bool,
    limit: u32,
    standing: Standing,
    elsewhere: bool,
}

impl Engine {
    /// An engine that nothing is known of, or `None` when its URL is none.
    pub(super) fn new(id: EngineId, url: &str, settings: &Arc<Settings>, now: Instant) -> Option<Self> {
        let state = State {
            sight: Sight::default(),
            health: Health::default(),
            breaker: Breaker::default(),
            ejection: Ejection::default(),
            cordon: None,
            leaving: None,
            part: settings.several.then(Part::default),
            gauges: None,
            window: Window::default(),
            heard: now,
            probing: false,
            probed: None,
            told: None,
        };
        Some(Self {
            id,
            url: url.to_owned(),
            name: name(url),
            pulse: Pulse::new(now),
            division: Division::default(),
            base: url.parse().ok()?,
            key: settings.key.clone(),
            settings: Arc::clone(settings),
            state: Mutex::new(state),
            figures: Mutex::default(),
        })
    }

    /// What it showed of itself.
    pub(super) fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its checks saw.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.state().sight.clone()
    }

    /// All that is known of it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether new requests may go to it.
    #[must_use]
    pub fn accepting(&self) -> bool {
        self.state().told.as_ref().is_some_and(|told| told.accepting)
    }

    /// Whether nothing of this gateway runs there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.queue.load(self.id).0 == 0
    }

    /// Requests of this gateway that it holds, and may hold by now.
    #[must_use]
    pub fn held(&self) -> (u32, u32) {
        let (requests, limit, _) = self.settings.queue.held(self.id);
        (requests, limit)
    }

    /// Changes something, and tells the queue what follows from it.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State, &config::Engine) -> T) -> T {
        let config = self.settings.engine();
        let mut state = self.state();
        let answer = change(&mut state, &config);
        self.tell(&mut state, config.max_in_flight);
        answer
    }

    /// Takes for its own what part of it is this gateway's.
    pub(crate) fn assign(&self, part: Part) {
        if self.state().part != Some(part) {
            self.settings.queue.limit_to(self.id, part.most);
            self.update(|state, _| state.part = Some(part));
        }
    }

    fn tell(&self, state: &mut State, limit: u32) {
        let standing = self.standing(state);
        let accepting = standing == Standing::Healthy;
        let elsewhere = state.is_elsewhere();
        let last = state.told.as_ref();
        let same = last.is_some_and(|told| {
            told.standing == standing
                && (told.limit, told.elsewhere) == (limit, elsewhere)
                && told.models.iter().eq(state.sight.models.keys())
        });
        if same {
            return;
        }
        let was = last.map_or(Standing::Unknown, |told| told.standing);
        if was != standing {
            self.say(state, was, standing);
        }
        let models: Vec<String> = state.sight.models.keys().cloned().collect();
        state.told = Some(Told { models: models.clone(), accepting, limit, standing, elsewhere });
        self.settings.queue.engine(self.id, &models, accepting && !elsewhere, limit);
    }

    fn say(&self, state: &State, was: Standing, standing: Standing) {
        let (engine, reason) = (&self.url, self.reason(state));
        match standing {
            Standing::Healthy => {
                tracing::info!(engine, models = ?state.sight.models.keys(), "engine is healthy");
            }
            Standing::Unhealthy => tracing::warn!(engine, reason, "engine is unhealthy"),
            Standing::BreakerOpen => tracing::warn!(engine, reason, "the breaker of an engine is open"),
            Standing::Ejected => tracing::warn!(engine, reason, "engine is ejected"),
            _ => tracing::info!(engine, reason, ?standing, "engine gets nothing new"),
        }
        let healthy = |standing| i64::from(standing == Standing::Healthy);
        metrics::engine_health(healthy(standing) - healthy(was));
        if was != Standing::Unknown || standing != Standing::Healthy {
            report::turned();
        }
    }

    /// Whether requests may go to it.
    #[must_use]
    pub fn standing(&self, state: &State) -> Standing {
        if state.leaving.is_some() {
            return Standing::Leaving;
        }
        match &state.cordon {
            Some(Cordon { drain_until: Some(_), .. }) if self.is_empty() => return Standing::Drained,
            Some(Cordon { drain_until: Some(_), .. }) => return Standing::Draining,
            Some(_) => return Standing::Cordoned,
            None => {}
        }
        match state.health.verdict() {
            Verdict::Unknown => Standing::Unknown,
            Verdict::Unhealthy => Standing::Unhealthy,
            Verdict::Healthy if state.breaker.position() != Position::Closed => Standing::BreakerOpen,
            Verdict::Healthy if state.ejection.until().is_some() => Standing::Ejected,
            Verdict::Healthy => Standing::Healthy,
        }
    }

    /// Why it stands so, in words.
    #[must_use]
    pub fn reason(&self, state: &State) -> String {
        match self.standing(state) {
            Standing::Leaving => state.leaving.clone().unwrap_or_default(),
            Standing::Drained | Standing::Draining | Standing::Cordoned => self.drain_reason(state),
            Standing::BreakerOpen => {
                format!("{} requests in a row failed; a probe decides", state.breaker.failures())
            }
            Standing::Ejected => state.ejection.reason().to_owned(),
            Standing::Unknown | Standing::Unhealthy | Standing::Healthy => state.health.reason(),
        }
    }

    fn drain_reason(&self, state: &State) -> String {
        let Some(cordon) = &state.cordon else { return String::new() };
        let (running, _) = self.settings.queue.load(self.id);
        let late = cordon.drain_until.is_some_and(|until| until < shared::time::now().0);
        if late && running > 0 {
            format!("{} (the time to drain is over, and {running} requests still run)", cordon.reason)
        } else {
            cordon.reason.clone()
        }
    }

    /// A request to this engine.
    #[must_use]
    pub fn request(&self, method: http::Method, path: &'static str, body: Bytes) -> Request<Full<Bytes>> {
        self.request_at(method, PathAndQuery::from_static(path), body)
    }

    /// The same for a path that is not known before.
    #[must_use]
    pub fn request_at(&self, method: http::Method, path: PathAndQuery, body: Bytes) -> Request<Full<Bytes>> {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(path);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.key {
            headers.insert(header::AUTHORIZATION, key.clone());
        }
        request
    }
}

impl State {
    /// Whether it is another gateway's.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.part.is_some_and(|part| !part.mine)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.told.as_ref().is_some_and(|told| told.accepting) {
            metrics::engine_health(-1);
        }
    }
}

/// Twelve digits of the URL's digest: short enough to type, and the same everywhere.
fn name(url: &str) -> String {
    hex::encode(&shared::auth::hash(url).as_bytes()[..6])
}
