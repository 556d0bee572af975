//! Engines: how they stand, and taking them out and putting them back.

use super::{
    call::Client,
    names::duration,
    plan::{Column, Plan, request},
};
use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

const ENGINES: &[Column] = &[
    ("ENGINE", "url"),
    ("STATE", "state"),
    ("MODELS", "models"),
    ("IN FLIGHT", "requests_in_flight"),
    ("KV", "gauges.kv_cache_usage"),
    ("REASON", "state_reason"),
    ("ID", "engine_id"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Engines {
    /// Lists engines.
    List {
        /// Only those that serve this model, by the name that they know it by.
        #[arg(long, default_value = "")]
        model: String,
    },
    /// Shows all that is known of one engine.
    Show {
        /// Its URL or id.
        engine: String,
    },
    /// Gives an engine nothing new; what runs there goes on.
    Cordon {
        /// Its URL or id.
        engine: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// The same, to empty it. Answers at once; `engines show` says DRAINED when it is empty.
    Drain {
        /// Its URL or id.
        engine: String,
        /// When it should be empty: 30m, 2h.
        #[arg(long)]
        limit: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Lets an engine have requests again.
    #[command(alias = "undrain")]
    Uncordon {
        /// Its URL or id.
        engine: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
}

impl Engines {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { model } => {
                Plan::list("EngineService/ListEngines", json!({ "model": model }), "engines", ENGINES)
            }
            Self::Show { engine } => {
                let asked = json!({ "engine_id": id(client, &engine).await? });
                Plan::thing("EngineService/GetEngine", asked, "engine")
            }
            Self::Cordon { engine, reason } => {
                let asked = json!({ "engine_id": id(client, &engine).await?, "reason": reason });
                Plan::thing("EngineService/CordonEngine", asked, "engine")
            }
            Self::Drain { engine, limit, reason } => {
                let limit = limit.as_deref().map(duration).transpose()?;
                let engine = id(client, &engine).await?;
                let asked = [("engine_id", Some(engine)), ("limit", limit), ("reason", Some(json!(reason)))];
                Plan::thing("EngineService/DrainEngine", request(asked), "engine")
            }
            Self::Uncordon { engine, reason } => {
                let asked = json!({ "engine_id": id(client, &engine).await?, "reason": reason });
                Plan::thing("EngineService/UncordonEngine", asked, "engine")
            }
        })
    }
}

/// An engine by its URL; anything else is taken for an id.
async fn id(client: &Client, engine: &str) -> anyhow::Result<Value> {
    if !engine.contains("://") {
        return Ok(json!(engine));
    }
    let url = engine.trim_end_matches('/');
    let engines = client.all("EngineService/ListEngines", json!({}), "engines").await?;
    let found = engines.into_iter().find(|engine| engine["url"] == url);
    Ok(found.with_context(|| format!("there is no engine {url}"))?["engine_id"].take())
}
