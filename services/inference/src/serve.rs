//! Puts the parts together and the layers before them.

use crate::{
    Config,
    api::{self, Api},
    cache::Cache,
    dispatch::Dispatcher,
    engines::Fleet,
    follow::{self, PolicyView},
    gateways::{Gateways, Peers},
    goodput::Goodput,
    infer::{Fallback, Inference},
    journal::Journal,
    metrics,
    openai::{self, OpenAi},
    queue::Queue,
    settle::{Estimator, Ledger},
    ship,
    weights::Weights,
};
use axum::{Router, extract::Request, routing::any};
use policy::Bounds;
use shared::{
    auth::{Access, AuthLayer, ServiceToken},
    channel::Channel,
    health::Health,
    redis::shelf::Shelf,
    security::{self, Watch},
    server::{self, Guard, Tasks},
};
use std::{io, sync::Arc};
use tower::ServiceExt;

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

    /// Both on one port, told apart by content type.
    pub fn routes(&self) -> Router {
        let (grpc, http) = (self.grpc.clone(), self.http.clone());
        Router::new().fallback_service(any(move |request: Request| {
            if server::is_grpc(&request) { grpc.clone() } else { http.clone() }.oneshot(request)
        }))
    }
}

/// Opens the journal, starts to follow permissions and to watch the engines, and returns what to serve.
///
/// # Errors
/// When the journal cannot be opened.
pub async fn open(
    config: Config,
    upstreams: Upstreams,
    service_token: Option<ServiceToken>,
    health: &Health,
    tasks: &Tasks,
) -> io::Result<Gateway> {
    let journal = Arc::new(Journal::open(&config.data_dir.join("journal"))?);
    ship::start(Arc::clone(&journal), upstreams.monitoring, health.component("usage shipping", false), tasks);
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
    let (fallback, weights) = (Fallback::new(&config.fallback), Weights::new(&config.queue.weights));
    let goodput = Goodput::new(std::time::Instant::now());
    metrics::observe_queue(&queue);
    metrics::observe_goodput(&goodput);
    let shelf =
        Shelf::open(&config.redis, "tollgate:answer:", tasks, || health.component("answers in redis", false));
    let cache = Cache::new(&config.cache, shelf, tasks);
    metrics::observe_cache(&cache);
    let inference = Inference {
        policy: policy.clone(),
        queue: queue.clone(),
        dispatcher: Dispatcher { fleet: fleet.clone(), max_answer_bytes: config.max_answer_bytes },
        ledger: Ledger { journal, estimator: Arc::new(Estimator::default()) },
        goodput,
        weights: weights.clone(),
        wait: config.queue.wait,
        fallback: fallback.clone(),
        cache: cache.clone(),
        gateways,
    };
    let api = Api { inference: inference.clone(), fleet: fleet.clone(), queue: queue.clone() };
    health.serves("tollgate.inference.v1.InferenceService");
    health.serves("tollgate.inference.v1.EngineService");
    health.serves("tollgate.inference.v1.QueueService");
    health.serves("tollgate.inference.v1.CacheService");
    health.serves("tollgate.inference.v1.GatewayService");
    let guard = Guard { in_flight: config.max_in_flight, deadline: None, service: "inference" };
    let methods =
        AuthLayer::new(policy.clone(), service_token.clone(), Access::Methods, server::grpc_refusal);
    let grpc = api::routes(api, config.max_body_bytes).into_axum_router();
    let persons = AuthLayer::new(policy.clone(), service_token, Access::Persons, openai::error::refusal);
    let http = openai::routes(OpenAi { inference, max_body_bytes: config.max_body_bytes });
    Ok(Gateway {
        grpc: server::guarded(grpc, &guard, methods.watched(watch.clone())),
        http: server::guarded(http, &guard, persons.watched(watch)),
        fleet,
        policy,
        fallback,
        cache,
        queue,
        weights,
    })
}
