//! Prices: what models cost, since when, and what a request would.

use super::{
    call::Client,
    plan::{Column, Plan, request},
};
use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

const PRICES: &[Column] = &[
    ("MODEL", "model"),
    ("INPUT $/M", "input_usd"),
    ("CACHED $/M", "cache_read_usd"),
    ("OUTPUT $/M", "output_usd"),
    ("FROM", "effective_from"),
    ("SOURCE", "source"),
    ("REASON", "reason"),
];

const GPU_PRICES: &[Column] = &[
    ("POOL", "pool"),
    ("GPU HOUR $", "hour_usd"),
    ("ON SPOT $", "spot_hour_usd"),
    ("CAPACITY", "capacity"),
    ("FROM", "effective_from"),
    ("REASON", "reason"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Prices {
    /// Lists what each model costs now.
    List {
        /// Only this model.
        #[arg(long, default_value = "")]
        model: String,
        /// All versions, of the past and of what is to come.
        #[arg(long)]
        all: bool,
    },
    /// Puts a price: dollars for a million tokens, like 0.15. What is left out is not known; 0 is free.
    Put {
        model: String,
        #[arg(long = "input-usd")]
        input: Option<String>,
        /// Of input from the prefix cache; as other input when left out.
        #[arg(long = "cached-usd")]
        cached: Option<String>,
        #[arg(id = "output_usd", long = "output-usd")]
        output: Option<String>,
        /// From when on it counts, like 2026-12-01T00:00:00Z; now when left out.
        #[arg(long)]
        from: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
        /// A UUID: sent again under it, the same price is shown.
        #[arg(long, default_value = "")]
        request_id: String,
        /// Only show what would be put.
        #[arg(long)]
        dry_run: bool,
    },
    /// Lists what the GPUs of each pool cost, all versions.
    Gpu {
        /// Only this pool.
        #[arg(long, default_value = "")]
        pool: String,
    },
    /// Puts what a GPU of a pool costs for an hour, in dollars, like 2.50. What is left out is not known; 0 is free.
    GpuPut {
        pool: String,
        #[arg(long = "hour-usd")]
        hour: Option<String>,
        /// On spot instances.
        #[arg(long = "spot-hour-usd")]
        spot: Option<String>,
        /// Weighted tokens that a GPU does in an hour when it is full; the pool's best hour when left out.
        #[arg(long)]
        capacity: Option<u64>,
        /// From when on it counts, like 2026-12-01T00:00:00Z; now when left out.
        #[arg(long)]
        from: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
        /// A UUID: sent again under it, the same price is shown.
        #[arg(long, default_value = "")]
        request_id: String,
    },
    /// Imports LiteLLM's price list, model_prices_and_context_window.json.
    Import {
        file: PathBuf,
        /// Only what this provider offers, by LiteLLM's name of it.
        #[arg(long, default_value = "")]
        provider: String,
        /// Only this model; may be given again.
        #[arg(long)]
        model: Vec<String>,
        #[arg(long, default_value = "")]
        reason: String,
        /// Only show what would be imported.
        #[arg(long)]
        dry_run: bool,
    },
    /// What a request costs now.
    Quote {
        model: String,
        prompt_tokens: u64,
        completion_tokens: u64,
        /// Of the prompt tokens, those from the prefix cache.
        #[arg(long, default_value_t = 0)]
        cached: u64,
    },
}

impl Prices {
    #[expect(clippy::unused_async, reason = "as the other nouns, some of which look names up")]
    pub(crate) async fn plan(self, _client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { model, all } => {
                let at = (!all).then(|| json!(jiff::Timestamp::now().to_string()));
                let asked = request([("model", Some(json!(model))), ("at_time", at)]);
                Plan::list("PriceService/ListPrices", asked, "prices", PRICES)
            }
            Self::Put { model, input, cached, output, from, reason, request_id, dry_run } => {
                let price = request([
                    ("model", Some(json!(model))),
                    ("input_usd", input.map(Value::from)),
                    ("cache_read_usd", cached.map(Value::from)),
                    ("output_usd", output.map(Value::from)),
                    ("effective_from", from.map(Value::from)),
                ]);
                let asked = json!({
                    "price": price, "reason": reason, "request_id": request_id, "validate_only": dry_run,
                });
                Plan::thing("PriceService/PutPrice", asked, "price")
            }
            Self::Gpu { pool } => {
                Plan::list("CostService/ListGpuPrices", json!({ "pool": pool }), "prices", GPU_PRICES)
            }
            Self::GpuPut { pool, hour, spot, capacity, from, reason, request_id } => {
                let price = request([
                    ("pool", Some(json!(pool))),
                    ("hour_usd", hour.map(Value::from)),
                    ("spot_hour_usd", spot.map(Value::from)),
                    ("capacity", capacity.map(Value::from)),
                    ("effective_from", from.map(Value::from)),
                ]);
                let asked = json!({ "price": price, "reason": reason, "request_id": request_id });
                Plan::thing("CostService/PutGpuPrice", asked, "price")
            }
            Self::Import { file, provider, model, reason, dry_run } => {
                let list = fs::read_to_string(&file);
                let list = list.with_context(|| format!("cannot read {}", file.display()))?;
                let asked = json!({
                    "litellm_json": list, "provider": provider, "models": model, "reason": reason,
                    "validate_only": dry_run,
                });
                Plan::thing("PriceService/ImportPrices", asked, "")
            }
            Self::Quote { model, prompt_tokens, completion_tokens, cached } => {
                let asked = json!({
                    "model": model, "prompt_tokens": prompt_tokens, "cached_prompt_tokens": cached,
                    "completion_tokens": completion_tokens,
                });
                Plan::thing("PriceService/QuoteCost", asked, "")
            }
        })
    }
}
