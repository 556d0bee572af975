//! The engine on this machine: whether it answers, whether it can complete, and what it shows of its work.

use crate::{
    Config,
    web::{self, Silence, Site, Web},
};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(2);
/// How long reading its metrics may take: the page is made by the process that computes.
const SCRAPE: Duration = Duration::from_secs(5);

/// The engine.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    site: Site,
    completion: Duration,
}

/// Why an engine is not ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    #[error(transparent)]
    Silent(#[from] Silence),
    #[error("it answers {0} to {1}")]
    Refuses(u16, &'static str),
    #[error("it names no model")]
    NoModel,
    #[error("its completion holds nothing")]
    NoToken,
}

impl Engine {
    pub(crate) fn new(config: &Config, web: &Web) -> Result<Self, String> {
        Ok(Self { site: web.site(&config.engine)?, completion: config.warm_up.completion })
    }

    /// Whether something answers where it should be, whatever it says.
    pub(crate) async fn answers(&self) -> bool {
        // What cannot be reached is 502.
        self.site.get("/health", &[], LOOK).await.is_ok_and(|answer| answer.status.as_u16() != 502)
    }

    /// Whether it says that it is well.
    pub(crate) async fn is_well(&self) -> bool {
        self.site.get("/health", &[], LOOK).await.is_ok_and(|answer| answer.status.is_success())
    }

    /// Has it complete something: one token, or one vector where it makes vectors.
    pub(crate) async fn complete(&self) -> Result<(), NotReady> {
        let models = self.site.get("/v1/models", &[], LOOK).await?;
        if !models.status.is_success() {
            return Err(NotReady::Refuses(models.status.as_u16(), "/v1/models"));
        }
        let models: Value = serde_json::from_str(&models.body).unwrap_or_default();
        let model = models["data"][0]["id"].as_str().ok_or(NotReady::NoModel)?;
        let tried = [
            ("/v1/completions", json!({ "model": model, "prompt": "1", "max_tokens": 1 }), "/choices/0"),
            ("/v1/embeddings", json!({ "model": model, "input": "1" }), "/data/0/embedding"),
        ];
        for (path, body, token) in tried {
            let headers = [("content-type", "application/json")];
            let request = web::request("POST", path, &headers, body.to_string());
            let answer = self.site.ask(request, self.completion).await?;
            // Models that make vectors have no completions.
            if answer.status.as_u16() == 404 && path == "/v1/completions" {
                continue;
            }
            if !answer.status.is_success() {
                return Err(NotReady::Refuses(answer.status.as_u16(), path));
            }
            let answer: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            return if answer.pointer(token).is_some() { Ok(()) } else { Err(NotReady::NoToken) };
        }
        Err(NotReady::Refuses(404, "/v1/embeddings"))
    }

    /// Its page of metrics; none when it does not show one.
    pub(crate) async fn metrics(&self) -> Option<String> {
        let page = self.site.get("/metrics", &[], SCRAPE).await.ok()?;
        page.status.is_success().then_some(page.body)
    }
}
