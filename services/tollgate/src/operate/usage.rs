//! Usage: what was used, by whom and at what cost.

use super::{
    call::Client,
    plan::{Column, Plan, request},
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

const ROWS: &[Column] = &[
    ("FROM", "bucket_time"),
    ("USER", "user_id"),
    ("KEY", "key_id"),
    ("GROUP", "group_id"),
    ("MODEL", "model"),
    ("SERVED AS", "served_model"),
    ("ENDPOINT", "endpoint"),
    ("ENGINE", "engine"),
    ("REQUESTS", "requests"),
    ("PROMPT", "prompt_tokens"),
    ("CACHED", "cached_prompt_tokens"),
    ("COMPLETION", "completion_tokens"),
    ("GPU TIME", "gpu_time"),
    ("INPUT $", "input_cost_usd"),
    ("CACHED $", "cache_read_cost_usd"),
    ("OUTPUT $", "output_cost_usd"),
    ("COST $", "cost_usd"),
    ("UNPRICED", "unpriced"),
];

const RECORDS: &[Column] = &[
    ("START", "start_time"),
    ("USAGE ID", "usage_id"),
    ("ATTEMPT", "attempt"),
    ("MODEL", "model"),
    ("OUTCOME", "outcome"),
    ("PROMPT", "prompt_tokens"),
    ("COMPLETION", "completion_tokens"),
    ("GPU TIME", "gpu_time"),
    ("COST $", "cost_usd"),
    ("REVISION", "revision"),
];

const GPUS: &[Column] = &[
    ("FROM", "bucket_time"),
    ("POOL", "pool"),
    ("IDLE", "idle"),
    ("USER", "user_id"),
    ("KEY", "key_id"),
    ("GROUP", "group_id"),
    ("MODEL", "model"),
    ("PROMPT", "prompt_tokens"),
    ("CACHED", "cached_prompt_tokens"),
    ("COMPLETION", "completion_tokens"),
    ("GPU TIME", "gpu_time"),
    ("COST $", "cost_usd"),
];

const ADVICE: &[Column] = &[
    ("ABOUT", "kind"),
    ("SUBJECT", "subject"),
    ("SAVES $/MONTH", "saving_usd"),
    ("SURE", "confidence"),
    ("WHAT TO DO", "text"),
];

const WITHHELD: &[Column] = &[("ABOUT", "kind"), ("SUBJECT", "subject"), ("BECAUSE", "because")];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    User,
    Key,
    Group,
    Model,
    /// The model's own name, whatever alias callers used.
    ServedModel,
    Endpoint,
    Engine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bucket {
    Hour,
    Day,
    Month,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Csv,
    JsonLines,
}

/// Which usage.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// From then on, like 2026-11-01T00:00:00Z.
    #[arg(long)]
    start: Option<String>,
    /// Until then; now when left out.
    #[arg(long)]
    end: Option<String>,
    /// Only of this user, by e-mail address or id.
    #[arg(long)]
    user: Option<String>,
    /// Only of the key with this id.
    #[arg(long)]
    key: Option<String>,
    /// Only of this model, by the name that callers used.
    #[arg(long)]
    model: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Usage {
    /// Sums, by whatever is asked for.
    Show {
        /// What rows are separated by; may be given again.
        #[arg(long)]
        by: Vec<By>,
        #[arg(long)]
        bucket: Option<Bucket>,
        /// Whose days and months, like Europe/Berlin; UTC when left out.
        #[arg(long)]
        zone: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Single records, newest first.
    Records {
        /// Only of the request with this x-request-id.
        #[arg(long, default_value = "")]
        request_id: String,
        #[command(flatten)]
        which: Which,
    },
    /// Writes single records to standard output, oldest first.
    Export {
        #[arg(long, value_enum, default_value_t = Format::Csv)]
        format: Format,
        #[command(flatten)]
        which: Which,
    },
    /// Supersedes the counts of a record that is wrong.
    Correct {
        usage_id: String,
        #[arg(long, default_value_t = 1)]
        attempt: u32,
        #[arg(long)]
        prompt: u64,
        #[arg(long, default_value_t = 0)]
        cached: u64,
        #[arg(long)]
        completion: u64,
        #[arg(long)]
        reason: String,
    },
    /// Prices records again, as the price list says today.
    Rerate {
        /// From then on, like 2026-11-01T00:00:00Z.
        start: String,
        /// Until then; now when left out.
        #[arg(long)]
        end: Option<String>,
        /// Only this model, by its own name.
        #[arg(long, default_value = "")]
        model: String,
        #[arg(long, default_value = "")]
        reason: String,
        /// Only show what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// What one's own GPUs cost and for whom, and what was idle; the last day when no time is given.
    Gpu {
        /// What rows are separated by: user, key, group, served-model; may be given again.
        #[arg(long)]
        by: Vec<By>,
        /// Hours or days.
        #[arg(long)]
        bucket: Option<Bucket>,
        /// Only this pool.
        #[arg(long)]
        pool: Option<String>,
        #[arg(long)]
        start: Option<String>,
        #[arg(long)]
        end: Option<String>,
    },
    /// What should be done about GPUs and models; from the last 7 days when no time is given. `--output json` shows the
    /// arithmetic.
    Advice {
        /// Show why nothing is advised of the others.
        #[arg(long)]
        withheld: bool,
        #[arg(long)]
        start: Option<String>,
        #[arg(long)]
        end: Option<String>,
    },
    /// Holds the records against the hourly sums; the last day when no time is given.
    Reconcile {
        #[arg(long)]
        start: Option<String>,
        #[arg(long)]
        end: Option<String>,
    },
}

impl Which {
    async fn fields(self, client: &Client) -> anyhow::Result<[(&'static str, Option<Value>); 5]> {
        let user = match &self.user {
            Some(user) => Some(client.user(user).await?),
            None => None,
        };
        Ok([
            ("start_time", self.start.map(Value::from)),
            ("end_time", self.end.map(Value::from)),
            ("user_id", user),
            ("key_id", self.key.map(Value::from)),
            ("model", self.model.map(Value::from)),
        ])
    }
}

impl Usage {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::Show { by, bucket, zone, which } => {
                let bucket = bucket.map(|bucket| json!(format!("TIME_BUCKET_{}", word(bucket))));
                let zone = zone.map(Value::from);
                let own = [("group_by", Some(dimensions(by))), ("bucket", bucket), ("time_zone", zone)];
                let asked = request(which.fields(client).await?.into_iter().chain(own));
                Plan::list("UsageService/GetUsage", asked, "rows", ROWS)
            }
            Self::Records { request_id, which } => {
                let own = [("request_id", Some(json!(request_id)))];
                let asked = request(which.fields(client).await?.into_iter().chain(own));
                Plan::list("UsageService/ListUsageRecords", asked, "records", RECORDS)
            }
            Self::Export { format, which } => {
                let format = [("format", Some(json!(format!("EXPORT_FORMAT_{}", word(format)))))];
                let asked = request(which.fields(client).await?.into_iter().chain(format));
                Plan::bytes("UsageService/ExportUsage", asked, "data")
            }
            Self::Correct { usage_id, attempt, prompt, cached, completion, reason } => {
                let asked = json!({
                    "usage_id": usage_id, "attempt": attempt, "prompt_tokens": prompt,
                    "cached_prompt_tokens": cached, "completion_tokens": completion, "reason": reason,
                });
                Plan::thing("UsageService/CorrectUsage", asked, "record")
            }
            Self::Rerate { start, end, model, reason, dry_run } => {
                let asked = request([
                    ("start_time", Some(json!(start))),
                    ("end_time", end.map(Value::from)),
                    ("model", Some(json!(model))),
                    ("reason", Some(json!(reason))),
                    ("validate_only", Some(json!(dry_run))),
                ]);
                Plan::thing("UsageService/RerateUsage", asked, "")
            }
            Self::Gpu { by, bucket, pool, start, end } => {
                let asked = request([
                    ("group_by", Some(dimensions(by))),
                    ("bucket", bucket.map(|bucket| json!(format!("TIME_BUCKET_{}", word(bucket))))),
                    ("pool", pool.map(Value::from)),
                    ("start_time", start.map(Value::from)),
                    ("end_time", end.map(Value::from)),
                ]);
                Plan::list("CostService/GetGpuCost", asked, "rows", GPUS)
            }
            Self::Advice { withheld, start, end } => {
                let asked =
                    request([("start_time", start.map(Value::from)), ("end_time", end.map(Value::from))]);
                let (rows, columns) = if withheld { ("withheld", WITHHELD) } else { ("advice", ADVICE) };
                Plan::list("CostService/GetAdvice", asked, rows, columns)
            }
            Self::Reconcile { start, end } => {
                let asked =
                    request([("start_time", start.map(Value::from)), ("end_time", end.map(Value::from))]);
                Plan::thing("UsageService/ReconcileUsage", asked, "")
            }
        })
    }
}

fn dimensions(by: Vec<By>) -> Value {
    by.into_iter().map(|by| format!("USAGE_DIMENSION_{}", word(by))).collect()
}

fn word(value: impl ValueEnum) -> String {
    let name = value.to_possible_value().map(|value| value.get_name().to_uppercase());
    name.unwrap_or_default().replace('-', "_")
}
