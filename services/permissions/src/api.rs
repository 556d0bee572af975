//! The contract's services: translate a request in, call one function, translate the answer out.
//!
//! One file per service. Fields are read in the `TryFrom`-like functions beside the handlers and checked in
//! [`crate::field`]; what only the store can know is decided behind them.

mod access_requests;
mod aliases;
mod audit;
mod authorization;
mod batches;
mod changes;
mod database;
mod erasure;
mod events;
mod grants;
mod groups;
mod imports;
mod incidents;
mod keys;
mod me;
mod models;
mod policy;
mod providers;
mod replicas;
mod sessions;
mod sets;
mod signing;
mod users;

use crate::{
    changes::Hub,
    check::Verifier,
    config::{Config, Retention},
    error::Error,
    field,
    freshness::{self, Consistency, MinRevisionLayer, Moment},
    history::History,
    incidents::Keeper,
    provider::Providers,
    replicas::Replicas,
    sessions::Sessions,
    signing::Signing,
    tail::Tail,
    write::{Actor, Origin, Repeat, Write, Writer},
};
use ::policy::{Member, Role, Time};
use proto::common::v1::event_service_server::EventServiceServer;
use proto::permissions::v1::{
    self as pb, access_request_service_server::AccessRequestServiceServer,
    alias_service_server::AliasServiceServer, audit_service_server::AuditServiceServer,
    authorization_service_server::AuthorizationServiceServer, batch_service_server::BatchServiceServer,
    change_service_server::ChangeServiceServer, database_service_server::DatabaseServiceServer,
    grant_service_server::GrantServiceServer, group_service_server::GroupServiceServer,
    incident_service_server::IncidentServiceServer, key_service_server::KeyServiceServer,
    me_service_server::MeServiceServer, model_service_server::ModelServiceServer,
    model_set_service_server::ModelSetServiceServer, policy_service_server::PolicyServiceServer,
    privacy_service_server::PrivacyServiceServer, provider_service_server::ProviderServiceServer,
    replica_service_server::ReplicaServiceServer, session_service_server::SessionServiceServer,
    signing_service_server::SigningServiceServer, user_service_server::UserServiceServer,
};
use proto::{Mutation, Written};
use shared::{
    auth::{self, Caller, Person, Refusal, RequestExt},
    db::Db,
    deadline::Deadline,
    request_id::RequestId,
    security::Watch,
    server::Tasks,
    telemetry::serve::LogApi,
    time,
};
use std::{collections::HashSet, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};

/// The services, as health checks name them.
pub(crate) const SERVICES: &[&str] = &[
    "tollgate.permissions.v1.AccessRequestService",
    "tollgate.permissions.v1.AliasService",
    "tollgate.permissions.v1.AuditService",
    "tollgate.permissions.v1.AuthorizationService",
    "tollgate.permissions.v1.BatchService",
    "tollgate.permissions.v1.ChangeService",
    "tollgate.permissions.v1.DatabaseService",
    "tollgate.permissions.v1.GrantService",
    "tollgate.permissions.v1.GroupService",
    "tollgate.permissions.v1.IncidentService",
    "tollgate.permissions.v1.KeyService",
    "tollgate.permissions.v1.MeService",
    "tollgate.permissions.v1.ModelService",
    "tollgate.permissions.v1.ModelSetService",
    "tollgate.permissions.v1.PolicyService",
    "tollgate.permissions.v1.PrivacyService",
    "tollgate.permissions.v1.ProviderService",
    "tollgate.permissions.v1.ReplicaService",
    "tollgate.permissions.v1.SessionService",
    "tollgate.permissions.v1.SigningService",
    "tollgate.permissions.v1.UserService",
    "tollgate.common.v1.EventService",
    "tollgate.common.v1.LogService",
];

/// What holds for keys when a request does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyRules {
    lifetime: Duration,
    grace: Duration,
}

impl KeyRules {
    pub(crate) const fn new(config: &Config) -> Self {
        Self { lifetime: config.key_lifetime, grace: config.key_rotation_grace }
    }
}

/// What the handlers call.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) db: Db,
    pub(crate) writer: Writer,
    pub(crate) tail: Tail,
    pub(crate) replicas: Replicas,
    pub(crate) verifier: Verifier,
    pub(crate) sessions: Sessions,
    pub(crate) signing: Signing,
    pub(crate) incidents: Keeper,
    pub(crate) keys: KeyRules,
    pub(crate) retention: Retention,
    pub(crate) providers: Providers,
    pub(crate) stop: CancellationToken,
    pub(crate) history: History,
    pub(crate) hub: Hub,
    pub(crate) tasks: Tasks,
}

impl Api {
    /// What this process sees of attacks and of keys in use.
    pub(crate) const fn watch(&self) -> &Watch {
        self.incidents.watch()
    }

    /// Makes the change that a request asks for, as [`Writer::perform`] says.
    async fn change<Q: Mutation>(
        &self,
        request: &Request<Q>,
        change: impl AsyncFnOnce(&mut Write) -> Result<Q::Answer, Error>,
    ) -> Result<Response<Q::Answer>, Status> {
        let origin = origin(request)?;
        let mut answer = self.writer.perform(origin, change).await?;
        if request.get_ref().urgent() && !request.get_ref().validate_only() {
            let token = self.tail.tokens().decode("token", answer.token())?;
            answer.set_laggards(self.replicas.everyone(token, left(request)).await);
        }
        Ok(Response::new(answer))
    }

    /// Waits until the state is there that a question asks for.
    async fn settle(&self, wanted: Option<&pb::Consistency>, left: Duration) -> Result<Moment, Error> {
        freshness::settle(&self.history, consistency(&self.tail, wanted)?, left).await
    }

    /// All services, without layers.
    pub(crate) fn routes(&self) -> axum::Router {
        Routes::new(AuthorizationServiceServer::new(self.clone()))
            .add_service(AccessRequestServiceServer::new(self.clone()))
            .add_service(AliasServiceServer::new(self.clone()))
            .add_service(AuditServiceServer::new(self.clone()))
            .add_service(BatchServiceServer::new(self.clone()))
            .add_service(ChangeServiceServer::new(self.clone()))
            .add_service(DatabaseServiceServer::new(self.clone()))
            .add_service(GrantServiceServer::new(self.clone()))
            .add_service(GroupServiceServer::new(self.clone()))
            .add_service(IncidentServiceServer::new(self.clone()))
            .add_service(KeyServiceServer::new(self.clone()))
            .add_service(MeServiceServer::new(self.clone()))
            .add_service(ModelServiceServer::new(self.clone()))
            .add_service(ModelSetServiceServer::new(self.clone()))
            .add_service(PolicyServiceServer::new(self.clone()))
            .add_service(PrivacyServiceServer::new(self.clone()))
            .add_service(ProviderServiceServer::new(self.clone()))
            .add_service(ReplicaServiceServer::new(self.clone()))
            .add_service(SessionServiceServer::new(self.clone()))
            .add_service(SigningServiceServer::new(self.clone()))
            .add_service(UserServiceServer::new(self.clone()))
            .add_service(EventServiceServer::new(self.clone()))
            .add_service(LogApi::server("permissions", self.writer.clone(), &self.tasks))
            .into_axum_router()
            .layer(MinRevisionLayer(self.tail.clone()))
    }
}

/// The id of a request.
fn request_id<T>(request: &Request<T>) -> &str {
    request.extensions().get::<RequestId>().map_or("-", RequestId::as_str)
}

/// Who changes something, in which request and why.
fn origin<Q: Mutation>(request: &Request<Q>) -> Result<Origin, Status> {
    let id = request_id(request);
    let asked = request.get_ref();
    let repeat = match asked.request_id() {
        "" => request.metadata().get("idempotency-key").map(|key| Repeat::named(key.as_encoded_bytes())),
        id => Some(field::id("request_id", id)?),
    };
    Ok(Origin {
        actor: Actor::Caller(request.caller()?),
        request_id: id.to_owned(),
        reason: field::reason(asked.reason().to_owned())?,
        now: time::now(),
        repeat: repeat.map(|id| Repeat::new(id, Q::PATH, asked)),
        validate_only: asked.validate_only(),
    })
}

/// The calling person, where a service has no business.
fn person<T>(request: &Request<T>) -> Result<Person, Status> {
    let caller = request.caller()?;
    caller.person().copied().ok_or_else(|| Refusal::Unknown.into())
}

/// Time until the request's deadline.
fn left<T>(request: &Request<T>) -> Duration {
    request.extensions().get::<Deadline>().copied().map_or(Duration::MAX, Deadline::left)
}

/// How new an answer must be.
fn consistency(tail: &Tail, wanted: Option<&pb::Consistency>) -> Result<Consistency, Error> {
    use pb::consistency::Requirement as Wire;
    let Some(wanted) = wanted.and_then(|wanted| wanted.requirement.as_ref()) else {
        return Ok(Consistency::MinimizeLatency);
    };
    let must_be_true = |field| Error::invalid(field, "must be true or left out");
    Ok(match wanted {
        Wire::MinimizeLatency(true) => Consistency::MinimizeLatency,
        Wire::MinimizeLatency(false) => return Err(must_be_true("consistency.minimize_latency")),
        Wire::MaxStaleness(limit) => {
            let limit = time::duration_from_proto(limit);
            let field = "consistency.max_staleness";
            Consistency::MaxStaleness(limit.ok_or_else(|| Error::invalid(field, "must not be negative"))?)
        }
        Wire::AtLeastAsFresh(token) => {
            Consistency::AtLeast(tail.tokens().decode(freshness::AT_LEAST, token)?)
        }
        Wire::FullyConsistent(true) => Consistency::Full,
        Wire::FullyConsistent(false) => return Err(must_be_true("consistency.fully_consistent")),
        Wire::AtRevision(token) => {
            Consistency::AtRevision(tail.tokens().decode(freshness::AT_REVISION, token)?)
        }
        Wire::AtTime(at) => Consistency::AtTime(field::instant(freshness::AT_TIME, time::from_proto(at))?),
    })
}

/// The user asked about: the caller when none is named.
fn asked(caller: &Caller, user: &str) -> Result<::policy::UserId, Error> {
    match (field::optional_id("user_id", user)?, caller) {
        (Some(user), _) => Ok(user),
        (None, Caller::Person(person)) => Ok(person.user),
        (None, Caller::Service) => Err(Error::invalid("user_id", "is needed: a service is no user")),
    }
}

/// An instant of a request.
fn instant(field: &'static str, time: Option<&prost_types::Timestamp>) -> Result<Option<Time>, Error> {
    time.map(|time| field::instant(field, time::from_proto(time))).transpose()
}

/// A role of a request, or `None` for 0.
fn role(number: i32) -> Result<Option<Role>, Error> {
    if number == 0 {
        return Ok(None);
    }
    let role = auth::role_from_number(number);
    role.map(Some).ok_or_else(|| Error::invalid("role", "must be one of the roles 1 to 6"))
}

/// A model's owner in a request.
fn owner(owner: Option<&pb::ModelOwner>) -> Result<Option<Member>, Error> {
    use pb::model_owner::Owner;
    let Some(owner) = owner else { return Ok(None) };
    match &owner.owner {
        Some(Owner::UserId(id)) => field::id("owner.user_id", id).map(|id| Some(Member::User(id))),
        Some(Owner::GroupId(id)) => field::id("owner.group_id", id).map(|id| Some(Member::Group(id))),
        None => Err(Error::invalid("owner", "must name a user or a group")),
    }
}

/// A model's or set's owner in a change; `None` leaves it as it is.
fn owner_patch(given: Option<&pb::ModelOwner>, clear: bool) -> Result<Option<Option<Member>>, Error> {
    match (owner(given)?, clear) {
        (Some(_), true) => Err(Error::invalid("clear_owner", "cannot be given together with owner")),
        (Some(owner), false) => Ok(Some(Some(owner))),
        (None, clear) => Ok(clear.then_some(None)),
    }
}

/// Most things in one call.
const MANY: usize = 1_000;

/// 1 to 1,000 things of a request, none of them twice.
fn each_once<T, U, K: Eq + std::hash::Hash>(
    field: &'static str,
    given: &[T],
    read: impl Fn(&T) -> Result<U, Error>,
    key: impl Fn(&U) -> K,
) -> Result<Vec<U>, Error> {
    if given.is_empty() || given.len() > MANY {
        return Err(Error::invalid(field, format!("must have 1 to {MANY} entries")));
    }
    let (mut seen, mut all) = (HashSet::with_capacity(given.len()), Vec::with_capacity(given.len()));
    for (place, given) in given.iter().enumerate() {
        let part = format!("{field}[{place}]");
        let thing = read(given).map_err(|error| error.within(&part))?;
        if !seen.insert(key(&thing)) {
            return Err(Error::invalid(part, "was named before in this call"));
        }
        all.push(thing);
    }
    Ok(all)
}
