//! EngineService: the fleet as this gateway sees it.

use super::Api;
use crate::engines::Engine;
use proto::inference::v1::{self as pb, engine_service_server::EngineService};
use shared::time;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl EngineService for Api {
    async fn list_engines(
        &self,
        request: Request<pb::ListEnginesRequest>,
    ) -> Result<Response<pb::ListEnginesResponse>, Status> {
        let model = request.into_inner().model;
        let all = self.fleet.all().iter();
        let chosen = all.filter(|engine| model.is_empty() || engine.sight().models.contains_key(&model));
        let engines = chosen.map(|engine| self.describe(engine)).collect();
        Ok(Response::new(pb::ListEnginesResponse { engines }))
    }
}

impl Api {
    fn describe(&self, engine: &Engine) -> pb::Engine {
        let (requests_in_flight, tokens_outstanding) = self.queue.load(engine.id);
        let sight = engine.sight().clone();
        let state = match sight.healthy {
            None => pb::EngineState::Unknown,
            Some(true) => pb::EngineState::Healthy,
            Some(false) => pb::EngineState::Unhealthy,
        };
        pb::Engine {
            url: engine.url.clone(),
            state: state.into(),
            max_model_len: sight.models.values().copied().max().unwrap_or(0),
            models: sight.models.into_keys().collect(),
            requests_in_flight,
            tokens_outstanding,
            last_success_time: sight.last_success.map(time::to_proto),
            check_latency: sight.last_success.map(|_| time::duration_to_proto(sight.latency)),
            consecutive_failures: sight.failures,
        }
    }
}
