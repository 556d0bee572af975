//! One real token, asked of an engine past the queue and the ledger: what tells a hung engine from a busy one.

use super::{
    Engine, Fleet,
    breaker::Position,
    check::{Failure, whole},
};
use crate::metrics;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use std::{sync::Arc, time::Instant};

/// An answer to a probe larger than this is none.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Token,
    Nothing(String),
    /// It answered without having to compute: it is full, or cannot be asked so.
    Words,
}

impl Fleet {
    /// Probes an engine. What is found is noted there.
    pub(super) async fn probe(&self, engine: Arc<Engine>) {
        let limit = self.settings().probe.timeout;
        let found = match tokio::time::timeout(limit, self.ask(&engine)).await {
            Ok(found) => found,
            Err(_) => Found::Nothing(format!("a probe got no token in {} ms", limit.as_millis())),
        };
        metrics::probed(match found {
            Found::Token => "token",
            Found::Nothing(_) => "nothing",
            Found::Words => "words",
        });
        tracing::debug!(engine = engine.url, ?found, "probed");
        let now = Instant::now();
        engine.update(|state, config| {
            state.probing = false;
            let for_health = state.breaker.position() != Position::HalfOpen || state.health.suspicious();
            state.breaker.probed(!matches!(found, Found::Nothing(_)), now, &config.breaker);
            match &found {
                Found::Token => {
                    state.heard = now;
                    state.health.probed(Ok(()));
                }
                Found::Nothing(why) if for_health => drop(state.health.probed(Err(why))),
                // What only the breaker asked for is no sign that it hangs.
                Found::Nothing(_) | Found::Words => {}
            }
        });
    }

    async fn ask(&self, engine: &Engine) -> Found {
        let Some(model) = engine.state().sight.models.keys().next().cloned() else { return Found::Words };
        let body = json!({ "model": model, "prompt": "1", "max_tokens": 1 });
        match self.post(engine, "/v1/completions", &body).await {
            // Models that make vectors have no such route.
            Ok(StatusCode::NOT_FOUND) => {
                let body = json!({ "model": model, "input": "1" });
                read(self.post(engine, "/v1/embeddings", &body).await)
            }
            answer => read(answer),
        }
    }

    async fn post(
        &self,
        engine: &Engine,
        path: &'static str,
        body: &serde_json::Value,
    ) -> Result<StatusCode, Failure> {
        let request = engine.request(Method::POST, path, Bytes::from(body.to_string()));
        whole(engine, request, path, MAX_ANSWER_BYTES).await.map(|(status, _)| status)
    }
}

fn read(answer: Result<StatusCode, Failure>) -> Found {
    match answer {
        Ok(StatusCode::OK) => Found::Token,
        Ok(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => Found::Words,
        Ok(status) if status.is_client_error() => Found::Words,
        Ok(status) => Found::Nothing(format!("a probe was answered {}", status.as_u16())),
        Err(Failure::NoConnection(why) | Failure::Poor(why)) => {
            Found::Nothing(format!("a probe failed: {why}"))
        }
    }
}
