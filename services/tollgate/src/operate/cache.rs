//! The answers that a gateway keeps: what they are worth, which they are, dropping some.

use super::plan::{Column, Plan};
use clap::{Args, Subcommand};
use serde_json::json;

const STATISTICS: &[Column] = &[
    ("MODEL", "model"),
    ("REQUESTS", "requests"),
    ("HIT RATE", "hit_rate"),
    ("MEMORY", "from_memory"),
    ("REDIS", "from_redis"),
    ("SHARED", "from_flights"),
    ("REPEATED", "repeated"),
    ("MISSED", "missed"),
    ("SAVED READ", "saved_prompt_tokens"),
    ("SAVED MADE", "saved_completion_tokens"),
    ("SAVED TIME", "saved_time"),
    ("SAVED µ$", "saved_micro_dollars"),
];

const ANSWERS: &[Column] = &[
    ("MODEL", "model"),
    ("ROUTE", "endpoint"),
    ("USES", "uses"),
    ("BYTES", "bytes"),
    ("MADE", "create_time"),
    ("ENDS", "expire_time"),
    ("TAGS", "tags"),
    ("KEY", "key"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// How often answers were there, and what that saved, per model.
    Stats {
        /// Only this model, by the name that engines know it by.
        #[arg(long, default_value = "")]
        model: String,
    },
    /// Lists answers in memory, the most used first.
    List {
        #[command(flatten)]
        chosen: Chosen,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Drops answers, in memory and in Redis.
    Invalidate {
        #[command(flatten)]
        chosen: Chosen,
        /// A tag stands for those below it as well: `customer/7` for `customer/7/mail`.
        #[arg(long)]
        cascade: bool,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
        /// Only say how many would go.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which answers. In patterns, `*` is any text and `?` any character.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// This one, as `cache list` shows it.
    #[arg(long, default_value = "")]
    key: String,
    /// Those of models that match.
    #[arg(long, default_value = "")]
    model: String,
    /// Those of routes that match: chat/completions, completions, embeddings.
    #[arg(long, default_value = "")]
    endpoint: String,
    /// Those with a tag that matches.
    #[arg(long, default_value = "")]
    tag: String,
}

impl Cache {
    pub(crate) fn plan(self) -> Plan {
        match self {
            Self::Stats { model } => {
                let asked = json!({ "model": model });
                Plan::list("CacheService/GetCacheStatistics", asked, "models", STATISTICS)
            }
            Self::List { chosen: Chosen { key, model, endpoint, tag }, limit } => {
                let asked =
                    json!({"key": key, "model": model, "endpoint": endpoint, "tag": tag, "page_size": limit});
                Plan::list("CacheService/ListCached", asked, "answers", ANSWERS)
            }
            Self::Invalidate { chosen: Chosen { key, model, endpoint, tag }, cascade, reason, dry_run } => {
                let asked = json!({
                    "key": key, "model": model, "endpoint": endpoint, "tag": tag,
                    "cascade": cascade, "reason": reason, "validate_only": dry_run,
                });
                Plan::thing("CacheService/InvalidateCached", asked, "")
            }
        }
    }
}
