//! A running service with an owner, and clients for whoever calls.

use permissions::{Config, MIGRATIONS, Permissions};
use policy::{Time, UserId};
use proto::{
    common::v1::Role,
    permissions::v1::{
        self as pb, alias_service_client::AliasServiceClient,
        authorization_service_client::AuthorizationServiceClient, grant_service_client::GrantServiceClient,
        group_service_client::GroupServiceClient, incident_service_client::IncidentServiceClient,
        key_service_client::KeyServiceClient, me_service_client::MeServiceClient,
        model_service_client::ModelServiceClient, model_set_service_client::ModelSetServiceClient,
        policy_service_client::PolicyServiceClient, privacy_service_client::PrivacyServiceClient,
        replica_service_client::ReplicaServiceClient, session_service_client::SessionServiceClient,
        signing_service_client::SigningServiceClient, user_service_client::UserServiceClient,
    },
};
use secrecy::{ExposeSecret, SecretString};
use shared::{
    auth::ServiceToken,
    channel::{self, Channel},
    db::Db,
    health::Health,
    on,
    server::Tasks,
};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// What other services prove themselves with here.
pub(crate) const SERVICE: &str = "tgs_service-token-of-the-tests";

/// One process of the service, and the store it is on.
pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) owner: Caller,
    /// What the owner signs in with.
    pub(crate) password: SecretString,
    pub(crate) tasks: Tasks,
    pub(crate) health: Health,
    channel: Channel,
    schema: Option<&'static str>,
}

/// Somebody with a credential.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) id: String,
    pub(crate) secret: String,
    channel: Channel,
}

/// Defines tests that run once on SQLite and once on PostgreSQL.
macro_rules! on_both_engines {
    ($(async fn $name:ident($world:ident: World) $body:block)+) => {$(
        async fn $name($world: &crate::world::World) $body

        mod $name {
            #[tokio::test]
            async fn sqlite() {
                let world = crate::world::World::sqlite().await;
                super::$name(&world).await;
                world.end().await;
            }

            #[tokio::test]
            async fn postgres() {
                let world = crate::world::World::postgres().await;
                super::$name(&world).await;
                world.end().await;
            }
        }
    )+};
}
pub(crate) use on_both_engines;

impl World {
    pub(crate) async fn sqlite() -> Self {
        Self::on(Db::memory(&MIGRATIONS).await.unwrap(), None, &config()).await
    }

    pub(crate) async fn postgres() -> Self {
        let schema: &'static str = Box::leak(format!("test_{}", Uuid::new_v4().simple()).into_boxed_str());
        let url = SecretString::from(tests::postgres::url());
        let db = Db::open(&url, schema, &MIGRATIONS).await.unwrap();
        Self::on(db, Some(schema), &config()).await
    }

    /// One process of several on the same SQLite file.
    pub(crate) async fn file(path: &std::path::Path) -> Db {
        let url = SecretString::from(format!("sqlite:{}", path.display()));
        Db::open(&url, "permissions", &MIGRATIONS).await.unwrap()
    }

    pub(crate) async fn on(db: Db, schema: Option<&'static str>, config: &Config) -> Self {
        let first = permissions::bootstrap(&db, now()).await.unwrap().expect("the store is new");
        let (tasks, health, channel) = start(&db, config).await;
        let owner = Caller::new(&channel, &first.user_id, first.api_key.expose_secret());
        Self { db, owner, password: first.owner_password, tasks, health, channel, schema }
    }

    /// A second process on the same store.
    pub(crate) async fn another(&self) -> Self {
        self.another_with(&config()).await
    }

    pub(crate) async fn another_with(&self, config: &Config) -> Self {
        self.another_on(self.db.clone(), config).await
    }

    pub(crate) async fn another_on(&self, db: Db, config: &Config) -> Self {
        let (tasks, health, channel) = start(&db, config).await;
        let owner = Caller { channel: with(&channel, &self.owner.secret), ..self.owner.clone() };
        let password = self.password.clone();
        Self { db, owner, password, tasks, health, channel, schema: None }
    }

    /// Ends the process, and takes its tables along when they are in a database of others.
    pub(crate) async fn end(self) {
        assert!(self.tasks.end(Duration::from_secs(5)).await, "all tasks end when they are told to");
        if let (Some(schema), Db::Postgres(pool)) = (self.schema, &self.db) {
            let mut drop = sqlx::QueryBuilder::<sqlx::Postgres>::new("DROP SCHEMA ");
            drop.push(schema).push(" CASCADE").build().execute(pool).await.unwrap();
        }
    }

    /// Somebody who shows this secret.
    pub(crate) fn with_secret(&self, secret: &str) -> Caller {
        Caller { id: String::new(), secret: secret.to_owned(), channel: with(&self.channel, secret) }
    }

    /// Another service.
    pub(crate) fn service(&self) -> Caller {
        self.with_secret(SERVICE)
    }

    /// Somebody without a credential.
    pub(crate) fn nobody(&self) -> Caller {
        Caller { id: String::new(), secret: String::new(), channel: self.channel.clone() }
    }

    /// A new user of this office, with a key.
    pub(crate) async fn user(&self, role: Role) -> Caller {
        let email = format!("{}@example.org", Uuid::new_v4().simple());
        let request = pb::CreateUserRequest {
            email,
            display_name: "Somebody".to_owned(),
            role: role.into(),
            ..Default::default()
        };
        let user = self.owner.users().create_user(request).await.unwrap().into_inner().user.unwrap();
        let request = pb::CreateKeyRequest {
            name: "key".to_owned(),
            user_id: user.user_id.clone(),
            ..Default::default()
        };
        let key = self.owner.keys().create_key(request).await.unwrap().into_inner();
        Caller { id: user.user_id, channel: with(&self.channel, &key.secret), secret: key.secret }
    }

    /// A new group of the owner's making.
    pub(crate) async fn group(&self, name: &str) -> String {
        let request = pb::CreateGroupRequest { name: name.to_owned(), ..Default::default() };
        self.owner.groups().create_group(request).await.unwrap().into_inner().group.unwrap().group_id
    }

    /// A new model that nobody owns.
    pub(crate) async fn model(&self, name: &str) -> String {
        let request = pb::RegisterModelRequest { name: name.to_owned(), ..Default::default() };
        let answer = self.service().models().register_model(request).await.unwrap();
        answer.into_inner().model.unwrap().model_id
    }

    /// Lets a user use a model; returns the grant and the token.
    pub(crate) async fn allow(&self, user: &str, model: &str) -> (String, String) {
        let grantee = pb::grant::Grantee::UserId(user.to_owned());
        let request = pb::CreateGrantRequest {
            grant: Some(grant(model, grantee, pb::Action::Use, pb::Effect::Allow)),
            ..Default::default()
        };
        let answer = self.owner.grants().create_grant(request).await.unwrap().into_inner();
        (answer.grant.unwrap().grant_id, answer.token)
    }

    /// Makes what was deleted look as if that had been 31 days ago, by a statement on which `$1` is that instant.
    pub(crate) async fn age(&self, statement: &'static str) {
        let then = shared::db::Time(now().minus(Duration::from_secs(31 * 24 * 60 * 60)));
        on!(&self.db, |pool| sqlx::query(statement).bind(then).execute(pool).await.map(drop)).unwrap();
    }

    /// Ends the memberships of a user a while ago, which no request can.
    pub(crate) async fn sql_expire(&self, user: &str) {
        let then = shared::db::Time(now().minus(Duration::from_secs(60)));
        let user = Uuid::try_parse(user).unwrap();
        on!(&self.db, |pool| {
            let query = sqlx::query("UPDATE memberships SET expires_at = $1 WHERE member_id = $2");
            query.bind(then).bind(user).execute(pool).await.map(drop)
        })
        .unwrap();
    }

    /// Runs one statement on the store, behind the service's back.
    pub(crate) async fn sql(&self, statement: &'static str) {
        on!(&self.db, |pool| sqlx::query(statement).execute(pool).await.map(drop)).unwrap();
    }
}

impl Caller {
    fn new(channel: &Channel, id: &UserId, secret: &str) -> Self {
        Self { id: id.to_string(), secret: secret.to_owned(), channel: with(channel, secret) }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel())
    }

    pub(crate) fn groups(&self) -> GroupServiceClient<Channel> {
        GroupServiceClient::new(self.channel())
    }

    pub(crate) fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.channel())
    }

    pub(crate) fn aliases(&self) -> AliasServiceClient<Channel> {
        AliasServiceClient::new(self.channel())
    }

    pub(crate) fn sets(&self) -> ModelSetServiceClient<Channel> {
        ModelSetServiceClient::new(self.channel())
    }

    pub(crate) fn grants(&self) -> GrantServiceClient<Channel> {
        GrantServiceClient::new(self.channel())
    }

    pub(crate) fn keys(&self) -> KeyServiceClient<Channel> {
        KeyServiceClient::new(self.channel())
    }

    pub(crate) fn incidents(&self) -> IncidentServiceClient<Channel> {
        IncidentServiceClient::new(self.channel())
    }

    pub(crate) fn privacy(&self) -> PrivacyServiceClient<Channel> {
        PrivacyServiceClient::new(self.channel())
    }

    pub(crate) fn authorization(&self) -> AuthorizationServiceClient<Channel> {
        AuthorizationServiceClient::new(self.channel())
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel())
    }

    pub(crate) fn signing(&self) -> SigningServiceClient<Channel> {
        SigningServiceClient::new(self.channel())
    }

    pub(crate) fn me(&self) -> MeServiceClient<Channel> {
        MeServiceClient::new(self.channel())
    }

    pub(crate) fn policy(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel())
    }

    pub(crate) fn replicas(&self) -> ReplicaServiceClient<Channel> {
        ReplicaServiceClient::new(self.channel())
    }

    /// What Check says: the verdict and its reason.
    pub(crate) async fn may(&self, user: &str, model: &str, action: pb::Action) -> (pb::Verdict, String) {
        let request = pb::CheckRequest {
            user_id: user.to_owned(),
            model: Some(pb::check_request::Model::ModelId(model.to_owned())),
            action: action.into(),
            ..Default::default()
        };
        let answer = self.authorization().check(request).await.unwrap().into_inner();
        (answer.verdict(), answer.reason)
    }
}

/// The defaults, and a key to encrypt with that is the same for every process.
pub(crate) fn config() -> Config {
    Config {
        encryption_keys: vec!["a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=".into()],
        ..Config::default()
    }
}

async fn start(db: &Db, config: &Config) -> (Tasks, Health, Channel) {
    let (tasks, health) = (Tasks::default(), Health::default());
    let service = Permissions::start(config, db.clone(), &tasks, &health).await.unwrap();
    let routes = service.routes(Some(ServiceToken::new(&SecretString::from(SERVICE))));
    (tasks, health, channel::in_process(routes))
}

fn with(channel: &Channel, secret: &str) -> Channel {
    channel::with_service_token(channel.clone(), &secret.to_owned().into())
}

pub(crate) fn now() -> Time {
    shared::time::now()
}

/// An instant so many seconds from now.
pub(crate) fn in_seconds(seconds: i64) -> prost_types::Timestamp {
    let mut time = shared::time::to_proto(now());
    time.seconds += seconds;
    time
}

pub(crate) fn grant(
    model: &str,
    grantee: pb::grant::Grantee,
    action: pb::Action,
    effect: pb::Effect,
) -> pb::Grant {
    pb::Grant {
        model_id: model.to_owned(),
        grantee: Some(grantee),
        action: action.into(),
        effect: effect.into(),
        ..Default::default()
    }
}

pub(crate) fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// The code and the reason of a refusal, which every refusal has.
pub(crate) fn refusal<T>(result: Result<tonic::Response<T>, Status>) -> (Code, String) {
    let Err(status) = result else { panic!("should have been refused") };
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{status:?} has no ErrorInfo"));
    assert_eq!(info.domain, "tollgate");
    (status.code(), info.reason)
}

/// Holds a refusal against the code and the reason it should have.
#[track_caller]
pub(crate) fn assert_refused<T>(result: Result<tonic::Response<T>, Status>, code: Code, reason: &str) {
    assert_eq!(refusal(result), (code, reason.to_owned()));
}

/// Asserts that a request was refused for this field.
#[track_caller]
pub(crate) fn assert_invalid<T>(result: Result<tonic::Response<T>, Status>, field: &str) {
    let Err(status) = result else { panic!("{field} should have been refused") };
    let fields = status.get_details_bad_request().unwrap_or_else(|| panic!("{status:?} names no field"));
    let fields: Vec<_> = fields.field_violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!((status.code(), fields), (Code::InvalidArgument, vec![field]), "{status:?}");
}

/// Asserts that something was not found, and which.
#[track_caller]
pub(crate) fn assert_missing<T>(result: Result<tonic::Response<T>, Status>, kind: &str, id: &str) {
    let Err(status) = result else { panic!("{kind} {id} should not have been found") };
    let info = status.get_details_resource_info().unwrap_or_else(|| panic!("{status:?} names no resource"));
    let named = (status.code(), info.resource_type.as_str(), info.resource_name.as_str());
    assert_eq!(named, (Code::NotFound, kind, id));
}
