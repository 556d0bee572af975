//! The gRPC services of this crate. Handlers translate; the verbs decide.

mod cache;
mod engines;
mod gateways;
mod infer;
mod queue;
mod wire;

use crate::{engines::Fleet, infer::Inference, queue::Queue};
use proto::inference::v1::{
    cache_service_server::CacheServiceServer, engine_service_server::EngineServiceServer,
    gateway_service_server::GatewayServiceServer, inference_service_server::InferenceServiceServer,
    queue_service_server::QueueServiceServer,
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
}

/// The services, without the layers before them.
#[must_use]
pub fn routes(api: Api, max_body_bytes: usize) -> Routes {
    let inference = InferenceServiceServer::new(api.clone()).max_decoding_message_size(max_body_bytes);
    let queue = QueueServiceServer::new(api.clone());
    let cache = CacheServiceServer::new(api.clone());
    let gateways = GatewayServiceServer::new(api.clone());
    let gateways = gateways.max_decoding_message_size(max_body_bytes + gateways::BESIDE_THE_BODY);
    Routes::new(inference)
        .add_service(EngineServiceServer::new(api))
        .add_service(queue)
        .add_service(cache)
        .add_service(gateways)
}
