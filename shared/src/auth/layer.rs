//! The layer before every service. What it lets through and whom it turns away is decided in one place, `decide`.

use super::{
    Caller, Credential, Denied, Refusal, ServiceToken, Verify, credential, presence, role_number,
    scope_from_number, secret::SERVICE_PREFIX,
};
use crate::{
    api_key,
    limits::{self, Gate},
    peer::Peer,
    security::{Scene, Watch},
    telemetry::Note,
};
use http::{Request, Response};
use policy::Scope;
use std::{
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::Status;
use tower::{Layer, Service};

/// What the layer holds a caller against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The contract's table, by method. What is not in it is refused.
    Methods,
    /// Any person whose credential is for inference; for HTTP routes that decide by model.
    Persons,
}

/// Puts authentication before a service. `refuse` turns a status into that service's kind of answer.
#[derive(Debug, Clone)]
pub struct AuthLayer<V, F> {
    verify: V,
    service_token: Option<Arc<ServiceToken>>,
    access: Access,
    refuse: F,
    watch: Option<Watch>,
    limits: Option<Gate>,
}

impl<V, F> AuthLayer<V, F> {
    /// A layer that asks `verify`, accepts `service_token` from services, and refuses by `refuse`.
    pub fn new(verify: V, service_token: Option<ServiceToken>, access: Access, refuse: F) -> Self {
        Self { verify, service_token: service_token.map(Arc::new), access, refuse, watch: None, limits: None }
    }

    /// Tells `watch` of refusals and of keys that are used, and lets whatever is behind the layer tell it more.
    #[must_use]
    pub fn watched(self, watch: Watch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Asks `gate` for every call that is let in, and for those that are not.
    #[must_use]
    pub fn limited(self, gate: Gate) -> Self {
        Self { limits: Some(gate), ..self }
    }

    /// How a refusal is said to this service's callers.
    pub const fn refuse(&self) -> &F {
        &self.refuse
    }
}

impl<S, V: Clone, F: Clone> Layer<S> for AuthLayer<V, F> {
    type Service = Auth<S, V, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth { inner, layer: Arc::new(self.clone()) }
    }
}

/// The service that [`AuthLayer`] makes.
#[derive(Debug, Clone)]
pub struct Auth<S, V, F> {
    inner: S,
    layer: Arc<AuthLayer<V, F>>,
}

impl<S, V, F, B, R> Service<Request<B>> for Auth<S, V, F>
where
    V: Verify,
    F: Fn(Status) -> Response<R> + Clone + Send + Sync + 'static,
    B: Send + 'static,
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let layer = Arc::clone(&self.layer);
        Box::pin(async move {
            // Who calls is what is found out here, whatever a caller in this process may have left behind.
            request.extensions_mut().remove::<Caller>();
            let path = request.uri().path();
            let asked = Asked {
                secret: credential(request.headers()),
                peer: request.extensions().get().map(|Peer(peer)| *peer),
                row: if layer.access == Access::Methods { proto::access(path) } else { None },
            };
            let mut scene = layer.watch.clone().map(|watch| Scene::of(watch, asked.peer, path, asked.row));
            let peer = asked.peer;
            let (caller, may) = layer.decide(asked, scene.as_mut()).await;
            if let (Some(note), Some(Caller::Person(person))) = (request.extensions().get::<Note>(), &caller)
            {
                note.learn(|learned| learned.person = Some(*person));
            }
            let verb = request.method().as_str();
            let asked = limits::Asked { caller: caller.as_ref(), peer, verb, path };
            let ticket = layer.limits.as_ref().map(|gate| gate.enter(asked));
            let openai = limits::is_openai(path);
            let ticket = match ticket.transpose() {
                Ok(ticket) => ticket,
                Err(refused) => {
                    let mut answer = (layer.refuse)(refused.status());
                    limits::dress(answer.headers_mut(), &refused.standing(), Some(&refused), openai);
                    return Ok(answer);
                }
            };
            if let Err(denied) = may {
                scene.inspect(|scene| scene.turned_away(denied));
                let mut answer = (layer.refuse)(denied.into());
                if let Some(ticket) = ticket {
                    ticket.dress(answer.headers_mut(), openai);
                }
                return Ok(answer);
            }
            if let Some(caller) = caller {
                caller.person().inspect(|person| presence::note(person));
                request.extensions_mut().insert(caller);
            }
            let call = inner.call(request);
            let Some(ticket) = ticket else { return within(scene, call).await };
            let mut answer = ticket.clone().around(within(scene, call)).await;
            if let Ok(answer) = &mut answer {
                ticket.dress(answer.headers_mut(), openai);
                ticket.answered(answer.status(), answer.headers());
            }
            answer
        })
    }
}

/// Runs a call in its scene.
async fn within<F: Future>(scene: Option<Scene>, call: F) -> F::Output {
    match scene {
        Some(scene) => scene.around(call).await,
        None => call.await,
    }
}

/// What of a request decides.
struct Asked<'a> {
    secret: Option<&'a str>,
    peer: Option<IpAddr>,
    row: Option<&'static proto::Row>,
}

impl<V: Verify, F> AuthLayer<V, F> {
    /// Who calls, as far as that is known, and why they may not. Every refusal of this layer comes from here.
    async fn decide(
        &self,
        asked: Asked<'_>,
        scene: Option<&mut Scene>,
    ) -> (Option<Caller>, Result<(), Denied>) {
        let row = asked.row;
        let caller = self.identify(&asked).await;
        if let (Ok(caller), Some(scene)) = (&caller, scene) {
            scene.enter(caller.clone());
        }
        if row.is_some_and(|row| row.public) {
            return (caller.ok(), Ok(()));
        }
        match caller {
            Ok(caller) => {
                let may = self.admit(&caller, row);
                (Some(caller), may)
            }
            Err(refusal) => (None, Err(refusal.into())),
        }
    }

    async fn identify(&self, asked: &Asked<'_>) -> Result<Caller, Refusal> {
        let secret = asked.secret.ok_or(Refusal::Missing)?;
        if secret.starts_with(SERVICE_PREFIX) {
            let known = self.service_token.as_ref().is_some_and(|token| token.matches(secret));
            return known.then_some(Caller::Service).ok_or(Refusal::ServiceToken);
        }
        if secret.starts_with(api_key::PREFIX) && !api_key::is_plausible(secret) {
            // Mistyped or cut: nobody holds that, whatever is looked up.
            return Err(Refusal::Unknown);
        }
        self.verify.verify(Credential::of(secret), asked.peer).await.map(Caller::Person)
    }

    fn admit(&self, caller: &Caller, row: Option<&proto::Row>) -> Result<(), Denied> {
        let role = caller.person().map(|person| person.role);
        let may = match (self.access, role) {
            (Access::Persons, role) => role.is_some(),
            (Access::Methods, None) => row.is_some_and(|row| row.service),
            (Access::Methods, Some(role)) => row.is_some_and(|row| row.roles.contains(&role_number(role))),
        };
        if !may {
            return Err(Denied::Role(role));
        }
        // A number that this version does not know stands for the most that can be asked for.
        let scope = row.map_or(Scope::Inference, |row| scope_from_number(row.scope).unwrap_or(Scope::Write));
        match caller.person() {
            Some(person) if !person.scopes.contains(scope) => Err(Denied::Scope(scope)),
            _ => Ok(()),
        }
    }
}
