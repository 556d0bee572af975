//! The gRPC services of this crate. Handlers translate; the verbs decide.

mod batches;
mod cache;
mod engines;
mod files;
mod gateways;
mod infer;
mod jobs;
mod limits;
mod mode;
mod queue;
mod wire;

use crate::{
    engines::Fleet, events::Events, files::Files, infer::Inference, invalidate::Invalidations, jobs::Jobs,
    queue::Queue, warm::Warming,
};
use proto::inference::v1::{
    cache_service_server::CacheServiceServer, engine_service_server::EngineServiceServer,
    file_service_server::FileServiceServer, gateway_service_server::GatewayServiceServer,
    inference_batch_service_server::InferenceBatchServiceServer,
    inference_service_server::InferenceServiceServer, job_service_server::JobServiceServer,
    limit_service_server::LimitServiceServer, mode_service_server::ModeServiceServer,
    queue_service_server::QueueServiceServer,
};
use shared::{
    event::serve::{EventApi, Logged as _},
    health::Health,
    limits::Gate,
    server::Tasks,
    telemetry::serve::LogApi,
};
use tonic::service::Routes;

/// What the handlers need.
#[derive(Debug, Clone)]
pub struct Api {
    /// Runs prompts.
    pub inference: Inference,
    /// The engines.
    pub fleet: Fleet,
    /// Their load.
    pub queue: Queue,
    /// What limits calls.
    pub limits: Gate,
    /// What goes on in the background.
    pub jobs: Jobs,
    /// What batches read and write.
    pub files: Files,
    /// What of the cache is to go, at all gateways.
    pub invalidations: Invalidations,
    /// What is made ahead of those who ask.
    pub warming: Warming,
    /// What was changed through this service.
    pub events: Events,
    /// What goes on until the process ends.
    pub tasks: Tasks,
    /// Whether this gateway is to end.
    pub health: Health,
}

/// The services, without the layers before them.
#[must_use]
pub fn routes(api: Api, max_body_bytes: usize) -> Routes {
    let inference = InferenceServiceServer::new(api.clone()).max_decoding_message_size(max_body_bytes);
    let queue = QueueServiceServer::new(api.clone());
    let cache = CacheServiceServer::new(api.clone());
    let limits = LimitServiceServer::new(api.clone());
    let mode = ModeServiceServer::new(api.clone());
    let gateways = GatewayServiceServer::new(api.clone());
    let gateways = gateways.max_decoding_message_size(max_body_bytes + gateways::BESIDE_THE_BODY);
    let jobs = JobServiceServer::new(api.clone()).max_decoding_message_size(max_body_bytes);
    let files = FileServiceServer::new(api.clone()).max_decoding_message_size(files::MESSAGE);
    let events = EventApi::server(api.events.clone());
    let logs = LogApi::server(Events::SERVICE, api.events.clone(), &api.tasks);
    let background =
        Routes::new(jobs).add_service(InferenceBatchServiceServer::new(api.clone())).add_service(files);
    background
        .add_service(inference)
        .add_service(EngineServiceServer::new(api))
        .add_service(queue)
        .add_service(cache)
        .add_service(limits)
        .add_service(mode)
        .add_service(gateways)
        .add_service(events)
        .add_service(logs)
}
