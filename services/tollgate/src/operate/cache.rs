//! The answers that a gateway keeps: what they are worth, which they are, dropping some.

use super::plan::{Column, Plan};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

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
    ("SCORE", "score"),
    ("TEMPLATE", "template"),
    ("TAGS", "tags"),
    ("KEY", "key"),
];

const GATEWAYS: &[Column] = &[("GATEWAY", "gateway"), ("INVALIDATIONS", "sequence"), ("SEEN", "seen_time")];

const DEPENDENCIES: &[Column] = &[("TAG", "tag"), ("DEPENDS ON", "depends_on")];

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// How often answers were there, and what that saved, per model.
    Stats {
        /// Only this model, by the name that engines know it by.
        #[arg(long, default_value = "")]
        model: String,
    },
    /// How far each gateway is with what was invalidated.
    Gateways,
    /// Lists answers in memory, the most used first.
    List {
        #[command(flatten)]
        chosen: Chosen,
        /// In the order in which they are made anew: by uses × novelty.
        #[arg(long)]
        by_score: bool,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Drops answers at every gateway, in memory and in Redis.
    Invalidate {
        #[command(flatten)]
        chosen: Chosen,
        /// A tag or template stands for those below it, and a tag for those that depend on it.
        #[arg(long)]
        cascade: bool,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
        /// Only say how many would go.
        #[arg(long)]
        dry_run: bool,
    },
    /// Has answers made anew, the most used first.
    Warm {
        #[command(flatten)]
        chosen: Chosen,
        /// At most this many; else as many as are made at a time.
        #[arg(long, default_value_t = 0)]
        limit: u16,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
        /// Only say how many it would be.
        #[arg(long)]
        dry_run: bool,
    },
    /// Lists the tags that depend on others.
    Dependencies {
        /// Only this tag.
        #[arg(long, default_value = "")]
        tag: String,
    },
    /// Says on which tags a tag depends; none: on nothing any more.
    Depend {
        /// The tag.
        tag: String,
        /// One on which it depends; may be given several times.
        #[arg(long)]
        on: Vec<String>,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
        /// Only check it.
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
    /// Those of templates that match.
    #[arg(long, default_value = "")]
    template: String,
    /// Those of revisions of models that match.
    #[arg(long, default_value = "")]
    revision: String,
}

impl Chosen {
    /// The same with what else is asked.
    fn and(self, mut asked: Value) -> Value {
        let Self { key, model, endpoint, tag, template, revision } = self;
        for (name, value) in [
            ("key", key),
            ("model", model),
            ("endpoint", endpoint),
            ("tag", tag),
            ("template", template),
            ("revision", revision),
        ] {
            asked[name] = value.into();
        }
        asked
    }
}

impl Cache {
    pub(crate) fn plan(self) -> Plan {
        match self {
            Self::Stats { model } => {
                let asked = json!({ "model": model });
                Plan::list("CacheService/GetCacheStatistics", asked, "models", STATISTICS)
            }
            Self::Gateways => Plan::list("CacheService/GetCacheStatistics", json!({}), "gateways", GATEWAYS),
            Self::List { chosen, by_score, limit } => {
                let asked = chosen.and(json!({"page_size": limit, "by_score": by_score}));
                Plan::list("CacheService/ListCached", asked, "answers", ANSWERS)
            }
            Self::Invalidate { chosen, cascade, reason, dry_run } => {
                let asked =
                    chosen.and(json!({"cascade": cascade, "reason": reason, "validate_only": dry_run}));
                Plan::thing("CacheService/InvalidateCached", asked, "")
            }
            Self::Warm { chosen, limit, reason, dry_run } => {
                let asked = chosen.and(json!({"limit": limit, "reason": reason, "validate_only": dry_run}));
                Plan::thing("CacheService/WarmCache", asked, "")
            }
            Self::Dependencies { tag } => {
                let asked = json!({ "tag": tag });
                Plan::list("CacheService/ListCacheDependencies", asked, "dependencies", DEPENDENCIES)
            }
            Self::Depend { tag, on, reason, dry_run } => {
                let asked = json!({"tag": tag, "depends_on": on, "reason": reason, "validate_only": dry_run});
                Plan::done("CacheService/SetCacheDependencies", asked, "set")
            }
        }
    }
}
