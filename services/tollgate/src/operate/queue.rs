//! The queue: who waits, taking somebody out, and how well promises are kept.

use super::{
    call::Client,
    names::duration,
    plan::{Column, Plan, request},
};
use clap::Subcommand;
use serde_json::json;

const MODELS: &[Column] = &[
    ("MODEL", "model"),
    ("INTERACTIVE", "waiting_interactive"),
    ("DEFAULT", "waiting_default"),
    ("BATCH", "waiting_batch"),
    ("OLDEST", "oldest_wait"),
    ("DRAINED IN", "predicted_drain"),
    ("WHY", "wait_reason"),
    ("STOPPED", "preemptions"),
    ("GATEWAY", "gateway"),
];

const REQUESTS: &[Column] = &[
    ("MODEL", "model"),
    ("CLASS", "priority_class"),
    ("SINCE", "since_time"),
    ("STARTS", "predicted_start_time"),
    ("ENDS", "predicted_finish_time"),
    ("WHY", "wait_reason"),
    ("USER", "user_id"),
    ("ID", "usage_id"),
    ("GATEWAY", "gateway"),
];

const GOODPUT: &[Column] = &[
    ("MODEL", "model"),
    ("CLASS", "priority_class"),
    ("WINDOW", "window"),
    ("OFFERED", "offered"),
    ("IN TIME", "attainment"),
    ("REFUSED", "missed.refused"),
    ("LATE", "missed.late_first_token"),
    ("SLOW", "missed.slow_tokens"),
    ("LEFT", "left"),
    ("TOKENS/S IN TIME", "tokens_per_second"),
    ("PREFILL/S", "prefill_tokens_per_second"),
    ("DECODE/S", "decode_tokens_per_second"),
    ("FIRST TOKEN P99", "first_token.p99"),
    ("PER TOKEN P99", "per_token.p99"),
    ("GATEWAY", "gateway"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Sums up the queue of each model.
    Models {
        /// Only this model, by the name that engines know it by.
        #[arg(long, default_value = "")]
        model: String,
    },
    /// Lists who waits and why, in the order in which they are believed to start.
    List {
        /// Only requests for this model, by the name that engines know it by.
        #[arg(long, default_value = "")]
        model: String,
        /// Only those of this user: e-mail address or id.
        #[arg(long)]
        user: Option<String>,
    },
    /// Takes a request out that waits.
    Cancel {
        /// Its id, as `queue list` shows it.
        usage_id: String,
        /// Why; its caller reads it.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// How many requests got what their class is promised, and what became of the others.
    Goodput {
        /// How far back: 1m, 5m or 60m; all three when left out.
        #[arg(long)]
        window: Option<String>,
        /// Only this model, by the name that engines know it by.
        #[arg(long, default_value = "")]
        model: String,
    },
}

impl Queue {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::Models { model } => {
                Plan::list("QueueService/ListQueues", json!({ "model": model }), "queues", MODELS)
            }
            Self::List { model, user } => {
                let user = match user {
                    Some(user) => Some(client.user(&user).await?),
                    None => None,
                };
                let asked = request([("model", Some(json!(model))), ("user_id", user)]);
                Plan::list("QueueService/ListQueued", asked, "requests", REQUESTS)
            }
            Self::Cancel { usage_id, reason } => {
                let asked = json!({ "usage_id": usage_id, "reason": reason });
                Plan::done("QueueService/CancelQueued", asked, "cancelled")
            }
            Self::Goodput { window, model } => {
                let window = window.as_deref().map(duration).transpose()?;
                let asked = request([("model", Some(json!(model))), ("window", window)]);
                Plan::list("QueueService/GetGoodput", asked, "goodput", GOODPUT)
            }
        })
    }
}
