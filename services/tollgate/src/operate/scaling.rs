//! Scaling: how many replicas pools should have, and what operators allow.

use super::{
    call::Client,
    plan::{Column, Plan},
};
use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

const POLICIES: &[Column] = &[
    ("POOL", "pool"),
    ("MIN", "min_replicas"),
    ("MAX", "max_replicas"),
    ("MODELS", "models"),
    ("OUT ABOVE", "scale_out.queue_length"),
    ("IN BELOW", "scale_in.queue_length"),
    ("CHANGED", "update_time"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Scaling {
    /// Shows how many replicas a pool should have, from what, and why.
    Recommend { pool: String },
    /// Shows a pool's policy.
    Policy { pool: String },
    /// Lists the policies that were put.
    Policies,
    /// Changes a pool's policy.
    Set {
        pool: String,
        /// Fewest replicas.
        #[arg(long)]
        min: Option<u32>,
        /// Most replicas.
        #[arg(long)]
        max: Option<u32>,
        /// A model whose requests count for the pool; again for each.
        #[arg(long = "model")]
        models: Vec<String>,
        /// More replicas when more requests wait than this.
        #[arg(long)]
        out_queue: Option<u32>,
        /// Fewer when fewer wait than this.
        #[arg(long)]
        in_queue: Option<u32>,
        /// Looks at the GPUs no more: where there are none, or nobody tells.
        #[arg(long)]
        without_gpu: bool,
    },
}

impl Scaling {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::Recommend { pool } => {
                let asked = json!({ "pool": pool });
                Plan::thing("ScalingService/GetScalingRecommendation", asked, "recommendation")
            }
            Self::Policy { pool } => {
                Plan::thing("ScalingService/GetScalingPolicy", json!({ "pool": pool }), "policy")
            }
            Self::Policies => {
                Plan::list("ScalingService/ListScalingPolicies", json!({}), "policies", POLICIES)
            }
            Self::Set { pool, min, max, models, out_queue, in_queue, without_gpu } => {
                let known = client.unary("ScalingService/GetScalingPolicy", &json!({ "pool": pool })).await?;
                let mut policy = known["policy"].clone();
                let fields = policy.as_object_mut().context("the server shows no policy")?;
                fields.remove("update_time");
                fields.remove("updated_by");
                for (field, value) in [("min_replicas", min), ("max_replicas", max)] {
                    if let Some(value) = value {
                        fields.insert(field.to_owned(), json!(value));
                    }
                }
                if !models.is_empty() {
                    fields.insert("models".to_owned(), json!(models));
                }
                for (side, queue) in [("scale_out", out_queue), ("scale_in", in_queue)] {
                    let limits = fields.get_mut(side).and_then(Value::as_object_mut);
                    let limits = limits.context("the server shows no limits")?;
                    if let Some(queue) = queue {
                        limits.insert("queue_length".to_owned(), json!(queue));
                    }
                    if without_gpu {
                        limits.remove("gpu_usage");
                    }
                }
                let asked = json!({ "pool": pool, "policy": policy });
                Plan::thing("ScalingService/PutScalingPolicy", asked, "policy")
            }
        })
    }
}
