//! The service under test, and what every test asks it.

use crate::{postgres::Database, sample::HOUR};
use axum::Router;
use monitoring::{Alerts, Config, MIGRATIONS, SCHEMA};
use policy::{KeyHash, KeyId, Role, Scopes, UserId};
use pricing::Money;
use proto::monitoring::v1::{
    GetUsageRequest, ListUsageRecordsRequest, Outcome, RecordUsageRequest, RecordUsageResponse, TimeBucket,
    UsageDimension, UsageRecord, UsageRow, budget_service_client::BudgetServiceClient,
    metrics_service_client::MetricsServiceClient, price_service_client::PriceServiceClient,
    request_service_client::RequestServiceClient, usage_service_client::UsageServiceClient,
};
use shared::{
    auth::{Credential, Person, Refusal, ServiceToken, Verify, hash},
    channel::{self, Channel},
    config::SecretString,
    db::Db,
    health::Health,
    seal::Sealer,
    security::Watch,
    server::{self, Tasks},
    telemetry::{self, Telemetry},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tonic::Status;
use uuid::Uuid;

pub(crate) type Client = UsageServiceClient<Channel>;
pub(crate) type Budgets = BudgetServiceClient<Channel>;
pub(crate) type Prices = PriceServiceClient<Channel>;

const SERVICE_TOKEN: &str = "tgs_the-token-of-these-tests";

/// Methods that are answered from memory: the database is asked for nothing while a caller waits.
pub(crate) const FROM_MEMORY: [&str; 14] = [
    "/tollgate.monitoring.v1.HealthService/GetHealth",
    "/tollgate.monitoring.v1.HealthService/ListDependencies",
    "/tollgate.monitoring.v1.HealthService/WatchHealth",
    "/tollgate.monitoring.v1.HealthService/CheckNow",
    "/tollgate.monitoring.v1.HealthService/ReportHealth",
    "/tollgate.monitoring.v1.MetricsService/ReportSeries",
    "/tollgate.monitoring.v1.MetricsService/RecordSample",
    "/tollgate.monitoring.v1.MetricsService/ListMetrics",
    "/tollgate.monitoring.v1.MetricsService/WatchMetrics",
    "/tollgate.monitoring.v1.MetricsService/GetLlmSummary",
    "/tollgate.monitoring.v1.MetricsService/GetSystem",
    "/tollgate.monitoring.v1.MetricsService/GetCallSummary",
    "/tollgate.monitoring.v1.MetricsService/GetScalability",
    "/tollgate.monitoring.v1.MetricsService/GetConcurrency",
];

/// Instruments belong to the meter there is when they are first used, so it starts before the first service.
static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();

/// The service over a database of its own.
pub(crate) struct Ledger {
    pub(crate) db: Db,
    pub(crate) health: Health,
    /// What the service tells permissions of.
    pub(crate) watch: Watch,
    config: Config,
    routes: Router,
    channel: Channel,
    tasks: Tasks,
    place: Place,
}

/// Where the database is.
enum Place {
    Folder(#[expect(dead_code, reason = "it is removed when dropped")] tempfile::TempDir),
    Server(Database),
    /// That of another replica.
    Shared,
}

/// Everybody there is: one person per role, whose key is the role's name.
#[derive(Clone)]
struct Persons(Arc<HashMap<KeyHash, Person>>);

impl Persons {
    fn new() -> Self {
        Self(Arc::new(Role::ALL.iter().map(|role| (hash(&secret(*role)), person(*role))).collect()))
    }
}

impl Verify for Persons {
    async fn verify(&self, credential: Credential<'_>, _: Option<IpAddr>) -> Result<Person, Refusal> {
        let Credential::Key(hash) = credential else { return Err(Refusal::Token) };
        self.0.get(&hash).copied().ok_or(Refusal::Unknown)
    }
}

/// The person of these tests who holds an office.
pub(crate) fn person(role: Role) -> Person {
    let number = shared::auth::role_number(role).unsigned_abs().into();
    let user = UserId(Uuid::from_u64_pair(0xa000, number));
    let key = Some(KeyId(Uuid::from_u64_pair(0xb000, number)));
    Person { user, key, session: None, role, scopes: Scopes::ALL }
}

fn secret(role: Role) -> String {
    format!("secret of {role:?}")
}

impl Ledger {
    pub(crate) async fn sqlite() -> Self {
        Self::sqlite_with(Alerts::default()).await
    }

    pub(crate) async fn sqlite_with(alerts: Alerts) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        Self::open(url.into(), Place::Folder(folder), alerts).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::postgres_with(Alerts::default()).await
    }

    pub(crate) async fn postgres_with(alerts: Alerts) -> Self {
        let database = Database::new().await;
        Self::open(database.url.clone().into(), Place::Server(database), alerts).await
    }

    /// Another replica over the same database; it ends before this one.
    pub(crate) async fn replica(&self) -> Self {
        let config = self.config.clone();
        let url = config.database.clone();
        Self::run(url, Place::Shared, config).await
    }

    async fn open(url: SecretString, place: Place, alerts: Alerts) -> Self {
        let encryption_keys = vec![Sealer::generate()];
        let config = Config { database: url.clone(), encryption_keys, alerts, ..Config::default() };
        Self::run(url, place, config).await
    }

    async fn run(url: SecretString, place: Place, config: Config) -> Self {
        TELEMETRY.get_or_init(|| {
            let quiet = telemetry::Config { log: "off,sqlx=off".into(), ..telemetry::Config::default() };
            telemetry::start(&quiet, "monitoring").unwrap()
        });
        let db = Db::open(&url, SCHEMA, &MIGRATIONS).await.unwrap();
        Self::over(db, place, config)
    }

    fn over(db: Db, place: Place, config: Config) -> Self {
        let (tasks, health) = (Tasks::default(), Health::default());
        let token = ServiceToken::new(&SERVICE_TOKEN.into());
        let watch = Watch::default();
        let verify = Persons::new();
        let routes = monitoring::routes(
            config.clone(),
            db.clone(),
            &tasks,
            &health,
            verify,
            Some(token),
            watch.clone(),
        );
        let routes = routes.unwrap();
        let channel = channel::in_process(routes.clone());
        Self { db, health, watch, config, routes, channel, tasks, place }
    }

    /// Serves on a socket, too, until the service is stopped.
    pub(crate) async fn listen(&self) -> String {
        let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = self.tasks.stopping();
        self.tasks.spawn(server::serve(listener, self.routes.clone(), server::Limits::default(), stop));
        address
    }

    /// A request of the auditor over a socket.
    pub(crate) fn signed<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let bearer = format!("Bearer {}", secret(Role::Auditor)).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    /// Stops the service and removes its database.
    pub(crate) async fn end(self) {
        assert!(self.tasks.end(Duration::from_secs(10)).await, "a task outlived the service");
        self.db.close().await;
        if let Place::Server(database) = self.place {
            database.end().await;
        }
    }

    /// What a client of any service with the person's role is made of.
    pub(crate) fn channel(&self, role: Role) -> Channel {
        channel::with_service_token(self.channel.clone(), &secret(role).into())
    }

    /// The same of another service.
    pub(crate) fn service_channel(&self) -> Channel {
        channel::with_service_token(self.channel.clone(), &SERVICE_TOKEN.into())
    }

    /// A client with this bearer token.
    pub(crate) fn bearer(&self, token: &str) -> Client {
        Client::new(channel::with_service_token(self.channel.clone(), &token.into()))
    }

    /// The price list, for the person with this role.
    pub(crate) fn prices(&self, role: Role) -> Prices {
        Prices::new(self.as_person(role))
    }

    /// What was measured, asked by the person with this role.
    pub(crate) fn metrics(&self, role: Role) -> MetricsServiceClient<Channel> {
        MetricsServiceClient::new(self.as_person(role))
    }

    /// Starts the service once more over the same database, as another replica, and ends this one.
    pub(crate) async fn again(self) -> Self {
        assert!(self.tasks.end(Duration::from_secs(10)).await, "a task outlived the service");
        Self::over(self.db, self.place, self.config)
    }

    /// The way of another service to any service here.
    pub(crate) fn as_service(&self) -> Channel {
        channel::with_service_token(self.channel.clone(), &SERVICE_TOKEN.into())
    }

    /// The way of the person with this role.
    pub(crate) fn as_person(&self, role: Role) -> Channel {
        channel::with_service_token(self.channel.clone(), &secret(role).into())
    }

    /// Why requests went as they did, asked by the person with this role.
    pub(crate) fn requests(&self, role: Role) -> RequestServiceClient<Channel> {
        RequestServiceClient::new(self.as_person(role))
    }

    /// Budgets, for the person with this role.
    pub(crate) fn budgets(&self, role: Role) -> Budgets {
        Budgets::new(channel::with_service_token(self.channel.clone(), &secret(role).into()))
    }

    /// Budgets, for a gateway.
    pub(crate) fn budgets_of_service(&self) -> Budgets {
        Budgets::new(channel::with_service_token(self.channel.clone(), &SERVICE_TOKEN.into()))
    }

    /// A client without a credential.
    pub(crate) fn nobody(&self) -> Client {
        Client::new(self.channel.clone())
    }

    /// Another service.
    pub(crate) fn service(&self) -> Client {
        self.bearer(SERVICE_TOKEN)
    }

    /// The person with this role.
    pub(crate) fn person(&self, role: Role) -> Client {
        self.bearer(&secret(role))
    }

    pub(crate) async fn record(&self, records: &[UsageRecord]) -> Result<RecordUsageResponse, Status> {
        let request = RecordUsageRequest { records: records.to_vec() };
        Ok(self.service().record_usage(request).await?.into_inner())
    }

    /// Records in calls of 1,000, all of which must be new.
    pub(crate) async fn keep(&self, records: &[UsageRecord]) {
        for part in records.chunks(1_000) {
            let answer = self.record(part).await.unwrap();
            assert_eq!((answer.recorded as usize, answer.duplicates), (part.len(), 0));
        }
    }

    /// All rows of a report, read in pages of `size`.
    pub(crate) async fn report(&self, request: GetUsageRequest, size: i32) -> Vec<UsageRow> {
        let (mut rows, mut token) = (Vec::new(), String::new());
        loop {
            let request = GetUsageRequest { page_size: size, page_token: token, ..request.clone() };
            let page = self.service().get_usage(request).await.unwrap().into_inner();
            assert!(page.rows.len() <= size.unsigned_abs() as usize);
            rows.extend(page.rows);
            token = page.next_page_token;
            if token.is_empty() {
                return rows;
            }
        }
    }

    /// All records of a list, read in pages of `size`.
    pub(crate) async fn list(&self, request: ListUsageRecordsRequest, size: i32) -> Vec<UsageRecord> {
        let (mut records, mut token) = (Vec::new(), String::new());
        loop {
            let request = ListUsageRecordsRequest { page_size: size, page_token: token, ..request.clone() };
            let page = self.service().list_usage_records(request).await.unwrap().into_inner();
            assert!(page.records.len() <= size.unsigned_abs() as usize);
            records.extend(page.records);
            token = page.next_page_token;
            if token.is_empty() {
                return records;
            }
        }
    }

    /// All records, oldest first, after holding the hourly sums against them.
    pub(crate) async fn audited(&self) -> Vec<UsageRecord> {
        let mut records = self.list(ListUsageRecordsRequest::default(), 1_000).await;
        records.reverse();
        use UsageDimension::{Endpoint, Engine, Group, Key, Model, ServedModel, User};
        let by_all = [User, Key, Group, Model, Endpoint, ServedModel, Engine];
        let request = GetUsageRequest {
            group_by: by_all.map(i32::from).to_vec(),
            bucket: TimeBucket::Hour.into(),
            ..GetUsageRequest::default()
        };
        let (told, expected) = (self.report(request, 1_000).await, sums(&records));
        for (told, expected) in told.iter().zip(&expected) {
            let kinds = [&told.input_cost_usd, &told.cache_read_cost_usd, &told.output_cost_usd];
            let kinds = kinds.map(|kind| kind.as_deref().map_or(0, pico)).iter().sum::<i128>();
            assert_eq!(kinds, told.cost_usd.as_deref().map_or(0, pico), "kinds add up: {told:?}");
            let told = UsageRow {
                input_cost_usd: None,
                cache_read_cost_usd: None,
                output_cost_usd: None,
                ..told.clone()
            };
            assert_eq!(told, *expected, "the sums are not those of the ledger");
        }
        assert_eq!(told.len(), expected.len(), "the sums are not those of the ledger");
        records
    }
}

/// Pico-dollars of an amount.
pub(crate) fn pico(dollars: &str) -> i128 {
    dollars.parse::<Money>().unwrap().0.into()
}

/// What the hourly sums of these records must be, worked out another way than the service does.
fn sums(records: &[UsageRecord]) -> Vec<UsageRow> {
    let mut rows: Vec<UsageRow> = Vec::new();
    let mut sorted: Vec<&UsageRecord> = records.iter().collect();
    let group = |record: &UsageRecord| {
        let seconds = record.start_time.unwrap().seconds;
        let UsageRecord { user_id, key_id, group_id, model, endpoint, served_model, engine, .. } =
            record.clone();
        let served_model = if served_model.is_empty() { model.clone() } else { served_model };
        (seconds - seconds % HOUR, user_id, key_id, group_id, model, endpoint, served_model, engine)
    };
    sorted.sort_by_key(|record| group(record));
    for part in sorted.chunk_by(|one, other| group(one) == group(other)) {
        let ended =
            |outcome: Outcome| part.iter().filter(|record| record.outcome() == outcome).count() as u64;
        let total = |tokens: fn(&UsageRecord) -> u64| part.iter().map(|record| tokens(record)).sum();
        let (hour, user_id, key_id, group_id, model, endpoint, served_model, engine) = group(part[0]);
        let costs: Vec<i128> =
            part.iter().filter_map(|record| record.cost_usd.as_deref().map(pico)).collect();
        rows.push(UsageRow {
            bucket_time: Some(crate::sample::time(hour)),
            user_id,
            key_id,
            group_id,
            model,
            endpoint,
            requests: part.len() as u64,
            finished: ended(Outcome::Finished),
            cancelled: ended(Outcome::Cancelled),
            failed: ended(Outcome::Failed),
            crashed: ended(Outcome::Crashed),
            prompt_tokens: total(|record| record.prompt_tokens),
            cached_prompt_tokens: total(|record| record.cached_prompt_tokens),
            completion_tokens: total(|record| record.completion_tokens),
            estimated_tokens: total(|record| {
                if record.estimated { record.prompt_tokens + record.completion_tokens } else { 0 }
            }),
            cached: total(|record| record.cached.into()),
            saved_prompt_tokens: total(|record| record.saved_prompt_tokens),
            saved_completion_tokens: total(|record| record.saved_completion_tokens),
            cost_usd: (!costs.is_empty()).then(|| Money::dollars(costs.iter().sum())),
            unpriced: (part.len() - costs.len()) as u64,
            served_model,
            engine,
            engine_time: Some(at_engines(part)),
            gpu_time: Some(span(part.iter().map(|record| micros(record.gpu_time)).sum())),
            ..UsageRow::default()
        });
    }
    rows
}

/// How long records were at engines.
fn at_engines(records: &[&UsageRecord]) -> prost_types::Duration {
    let one = |record: &&UsageRecord| {
        if record.cached {
            0
        } else {
            (micros(record.duration) - micros(record.queue_duration)).clamp(0, 86_400_000_000)
        }
    };
    span(records.iter().map(one).sum())
}

fn micros(span: Option<prost_types::Duration>) -> i64 {
    span.map_or(0, |span| span.seconds * 1_000_000 + i64::from(span.nanos) / 1_000)
}

const fn span(micros: i64) -> prost_types::Duration {
    prost_types::Duration { seconds: micros / 1_000_000, nanos: (micros % 1_000_000 * 1_000) as i32 }
}
