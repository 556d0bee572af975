//! The gRPC services of this crate. Handlers translate; the verbs decide.

mod engines;
mod gateways;
mod infer;
mod limits;
mod queue;
mod wire;

use crate::{engines::Fleet, infer::Inference, queue::Queue};
use proto::inference::v1::{
    engine_service_server::EngineServiceServer, gateway_service_server::GatewayServiceServer,
    inference_service_server::InferenceServiceServer, limit_service_server::LimitServiceServer,
    queue_service_server::QueueServiceServer,
};
use shared::limits::Gate;
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
}

/// The services, without the layers before them.
#[must_use]
pub fn routes(api: Api, max_body_bytes: usize) -> Routes {
    let inference = InferenceServiceServer::new(api.clone()).max_decoding_message_size(max_body_bytes);
    let queue = QueueServiceServer::new(api.clone());
    let limits = LimitServiceServer::new(api.clone());
    let gateways = GatewayServiceServer::new(api.clone());
    let gateways = gateways.max_decoding_message_size(max_body_bytes + gateways::BESIDE_THE_BODY);
    let routes = Routes::new(inference).add_service(EngineServiceServer::new(api)).add_service(queue);
    routes.add_service(limits).add_service(gateways)
}
