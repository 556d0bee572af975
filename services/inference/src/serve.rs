//! Puts the parts together and the layers before them.

use crate::{
    Config,
    api::{self, Api},
    batches::run::Batches,
    budgets::{self, Budgets},
    cache::Cache,
    dispatch::Dispatcher,
    engines::Fleet,
    events::Events,
    files::Files,
    follow::{self, PolicyView},
    gateways::{Gateways, Peers},
    goodput::Goodput,
    infer::{Fallback, Inference},
    invalidate::Invalidations,
    jobs::{Jobs, run::Runner},
    joint::Joint,
    journal::Journal,
    load, metrics,
    mode::Serving,
    openai::{self, OpenAi},
    queue::Queue,
    refusals::Refusals,
    settle::{Estimator, Ledger},
    ship,
    store::Store,
    stored::Names,
    warm::Warming,
    weights::Weights,
};
use axum::{BoxError, Router, response::Response, routing::future::RouteFuture};
use bytes::Bytes;
use http::Request;
use policy::Bounds;
use shared::{
    auth::{Access, AuthLayer, ServiceToken},
    channel::Channel,
    config::ExposeSecret,
    health::{Health, Kind},
    redis::{locks::Locks, shelf::Shelf},
    seal::Sealer,
    security::{self, Watch},
    server::{self, Guard, Tasks},
    telemetry::Hear,
};
use std::{
    convert::Infallible,
    io,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::Notify;
use tower::Service;

/// The services that inference needs. Both channels carry the service token.
#[derive(Debug)]
pub struct Upstreams {
    /// Whose policy is followed.
    pub permissions: Channel,
    /// Who keeps the ledger.
    pub monitoring: Channel,
    /// How other gateways over the same engines are reached; needed where there are any.
    pub peers: Option<Peers>,
}

/// A running gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The gRPC services with their layers.
    pub grpc: Router,
    /// OpenAI's routes with their layers.
    pub http: Router,
    /// The engines.
    pub fleet: Fleet,
    /// Who may use what, as known here.
    pub policy: PolicyView,
    fallback: Fallback,
    cache: Cache,
    queue: Queue,
    weights: Weights,
}

impl Gateway {
    /// Takes over what may change while it runs: the engines, how they are used and judged, and who stands in for whom.
    pub fn configure(&self, config: &Config) {
        self.fleet.configure(config);
        self.fallback.configure(&config.fallback);
        self.cache.configure(&config.cache);
        self.queue.set(config.queue.settings());
        self.weights.configure(&config.queue.weights);
    }

    /// Both on one port.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes { grpc: self.grpc.clone(), http: self.http.clone() }
    }
}

/// gRPC and OpenAI's routes, told apart by content type.
#[derive(Debug, Clone)]
pub struct Routes {
    grpc: Router,
    http: Router,
}

impl<B> Service<Request<B>> for Routes
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Routers always are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if server::is_grpc(&request) { self.grpc.call(request) } else { self.http.call(request) }
    }
}

/// Opens the journal, starts to follow permissions and to watch the engines, and returns what to serve.
///
/// # Errors
/// When the journal cannot be opened, or there is no encryption key.
pub async fn open(
    config: Config,
    upstreams: Upstreams,
    service_token: Option<ServiceToken>,
    health: &Health,
    tasks: &Tasks,
) -> io::Result<Gateway> {
    let sealer = Sealer::new(&config.encryption_keys);
    let sealer = sealer.map_err(|fault| io::Error::other(format!("inference.encryption_keys: {fault}")))?;
    let journal = Arc::new(Journal::open(&config.data_dir.join("journal"))?);
    let scaled_by = upstreams.monitoring.clone();
    let shipping = health.component("usage shipping", false);
    let behind = ship::start(Arc::clone(&journal), upstreams.monitoring.clone(), shipping, tasks);
    let refusals = Refusals::default();
    refusals.start(upstreams.monitoring.clone(), tasks);
    let budgets = Budgets::open(&config.data_dir);
    let leases = health.component("budget leases", false);
    let (folder, own) = (&config.data_dir, Arc::clone(&journal));
    budgets::start(budgets.clone(), folder, own, upstreams.monitoring, leases, tasks).await?;
    let bounds =
        Bounds { fresh_within: config.policy.fresh_within, serve_stale_for: config.policy.serve_stale_for };
    let kept = config.data_dir.join("policy.json");
    let policy = PolicyView::open(&kept, bounds);
    let watch = Watch::default();
    security::ship(&watch, upstreams.permissions.clone(), tasks);
    let queue = Queue::new(config.queue.settings());
    queue.keep_time(tasks);
    let fleet = Fleet::open(&config, queue.clone(), tasks)?;
    let several = upstreams.peers.filter(|_| config.gateways.is_one_of_several());
    let gateways = several.map(|peers| Gateways::new(&config.gateways, peers, &fleet, &queue, health));
    if let Some(gateways) = &gateways {
        gateways.watch(tasks);
    }
    let followed = health.component("policy replica", true);
    follow::start(&policy, upstreams.permissions, kept, followed, gateways.clone(), tasks);
    fleet.first_look().await;
    fleet.watch(health.component("engines", false));
    fleet.tell(health);
    let serving = Serving::new(&config.degraded);
    serving.watch(&fleet, behind, &config.degraded, health.component("serving mode", false), tasks);
    let names = Names::open(
        service_token.as_ref().filter(|_| config.gateways.is_one_of_several()),
        &config.data_dir,
    )?;
    let (fallback, weights) = (Fallback::new(&config.fallback), Weights::new(&config.queue.weights));
    let goodput = Goodput::new(std::time::Instant::now());
    metrics::observe_queue(&queue);
    metrics::observe_goodput(&goodput);
    load::start(&queue, &goodput, &shared::process::name(), scaled_by, tasks);
    let shelf =
        Shelf::open(&config.redis, "tollgate:answer:", tasks, || health.component("answers in redis", false));
    let locks = Locks::open(&config.redis, tasks, || health.component("locks", false));
    let cache = Cache::new(&config.cache, shelf, locks.clone(), tasks);
    metrics::observe_cache(&cache);
    let dispatcher = Dispatcher {
        joint: Joint::new(config.joint.clone(), &fleet, config.max_answer_bytes, tasks),
        fleet: fleet.clone(),
        max_answer_bytes: config.max_answer_bytes,
        names,
    };
    let name = config.gateways.advertise.clone();
    let name = if name.is_empty() { format!("gateway-{}", uuid::Uuid::new_v4().simple()) } else { name };
    let inference = Inference {
        policy: policy.clone(),
        queue: queue.clone(),
        dispatcher,
        budgets,
        ledger: Ledger { journal, estimator: Arc::new(Estimator::default()) },
        goodput,
        weights: weights.clone(),
        wait: config.queue.wait,
        fallback: fallback.clone(),
        cache: cache.clone(),
        serving,
        gateways,
    };
    let (store, jobs, files) = background(&config, sealer, &inference, locks, &name, health, tasks).await;
    let invalidations = Invalidations::new(store.clone(), cache.clone(), name);
    invalidations.follow(health.component("cache invalidations", false), tasks).await;
    let warming = Warming::new(inference.clone(), store.clone(), tasks);
    warming.start();
    let api = Api {
        inference: inference.clone(),
        fleet: fleet.clone(),
        queue: queue.clone(),
        limits: config.limits.clone(),
        jobs: jobs.clone(),
        files: files.clone(),
        invalidations,
        warming,
        events: Events(store),
        tasks: tasks.clone(),
        health: health.clone(),
    };
    health.serves("tollgate.inference.v1.InferenceService");
    health.serves("tollgate.inference.v1.EngineService");
    health.serves("tollgate.inference.v1.QueueService");
    health.serves("tollgate.inference.v1.CacheService");
    health.serves("tollgate.inference.v1.ModeService");
    health.serves("tollgate.inference.v1.LimitService");
    health.serves("tollgate.inference.v1.JobService");
    health.serves("tollgate.inference.v1.InferenceBatchService");
    health.serves("tollgate.inference.v1.FileService");
    health.serves("tollgate.inference.v1.GatewayService");
    health.serves("tollgate.common.v1.EventService");
    health.serves("tollgate.common.v1.LogService");
    let hear = Some(Arc::new(refusals) as Arc<dyn Hear>);
    let guard = Guard { in_flight: config.max_in_flight, deadline: None, service: "inference", hear };
    let methods =
        AuthLayer::new(policy.clone(), service_token.clone(), Access::Methods, server::grpc_refusal);
    let grpc = api::routes(api, config.max_body_bytes).into_axum_router();
    let persons =
        AuthLayer::new(policy.clone(), service_token.clone(), Access::Persons, openai::error::refusal);
    let openai = Arc::new(OpenAi { inference, jobs, files, max_body_bytes: config.max_body_bytes });
    let http = openai::routes(Arc::clone(&openai));
    let others = AuthLayer::new(policy.clone(), service_token, Access::Persons, openai::messages::refusal);
    let messages = openai::messages::routes(openai);
    Ok(Gateway {
        grpc: server::guarded(grpc, &guard, methods.watched(watch.clone()).limited(config.limits.clone())),
        http: server::guarded(http, &guard, persons.watched(watch.clone()).limited(config.limits.clone()))
            .merge(server::guarded(messages, &guard, others.watched(watch).limited(config.limits))),
        fleet,
        policy,
        fallback,
        cache,
        queue,
        weights,
    })
}

/// What goes on in the background. Its database may come later than the gateway, which does not wait for it.
async fn background(
    config: &Config,
    sealer: Sealer,
    inference: &Inference,
    locks: Locks,
    name: &str,
    health: &Health,
    tasks: &Tasks,
) -> (Store, Jobs, Files) {
    let url = if config.database.expose_secret().is_empty() {
        format!("sqlite:{}", config.data_dir.join("inference.db").display()).into()
    } else {
        config.database.clone()
    };
    let opened = Arc::new(Notify::new());
    let told = Arc::clone(&opened);
    let component = health.component("jobs database", false).of(Kind::Database);
    let store = Store::open(url, sealer, component, tasks, move || told.notify_one()).await;
    let jobs = Jobs::new(store.clone(), config.jobs.clone(), locks.clone());
    let batches = Batches::new(store.clone(), inference.clone(), config);
    let runner = Runner::new(inference.clone(), batches, locks, config.limits.clone());
    let files = Files::new(store.clone(), config);
    let name = name.to_owned();
    let (started, begin, stop) = (jobs.clone(), tasks.clone(), tasks.stopping());
    let known = store.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = opened.notified() => {
                if let Ok(vault) = known.vault() {
                    started.start(vault, &name, &runner, &begin);
                }
            }
        }
    });
    (store, jobs, files)
}
