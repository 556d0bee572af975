//! Instances: how they live, what happened to them, and draining one.

use super::{
    call::Client,
    names::duration,
    plan::{Column, Plan, request},
};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

const INSTANCES: &[Column] = &[
    ("INSTANCE", "instance_id"),
    ("POOL", "spec.pool"),
    ("STATE", "state"),
    ("SINCE", "state_time"),
    ("SUSPECT", "suspect"),
    ("RUNNING", "status.requests_running"),
    ("GPU", "status.gpu_usage"),
    ("ENGINE", "spec.engine_url"),
];

const EVENTS: &[Column] = &[
    ("TIME", "time"),
    ("INSTANCE", "instance_id"),
    ("FROM", "from"),
    ("TO", "to"),
    ("CAUSE", "cause"),
    ("DETAIL", "detail"),
];

const PREEMPTIONS: &[Column] = &[
    ("NOTICE", "notice_time"),
    ("INSTANCE", "instance_id"),
    ("ACTION", "action"),
    ("DEADLINE", "deadline"),
    ("END", "end_time"),
    ("IN FLIGHT", "requests_in_flight"),
    ("FINISHED", "requests_finished"),
    ("CUT OFF", "requests_unfinished"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    Init,
    Warming,
    Ready,
    Draining,
    Terminated,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Instances {
    /// Lists instances; those that are over only when asked for.
    List {
        /// Only this pool.
        #[arg(long, default_value = "")]
        pool: String,
        #[arg(long)]
        state: Option<State>,
    },
    /// Shows instances now, and again whenever one moves.
    Watch {
        /// Only this pool.
        #[arg(long, default_value = "")]
        pool: String,
    },
    /// Has an instance finish what it has, and end.
    Drain {
        instance_id: String,
        /// How long that may take: 30m, 2h.
        #[arg(long)]
        limit: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// What happened, the newest first.
    Events {
        /// Only to this instance.
        #[arg(default_value = "")]
        instance_id: String,
    },
    /// What clouds have taken away, the newest first.
    Preemptions {
        /// Only this instance.
        #[arg(default_value = "")]
        instance_id: String,
    },
}

impl Instances {
    #[expect(clippy::unused_async, reason = "as the other nouns, some of which look names up")]
    pub(crate) async fn plan(self, _client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { pool, state } => {
                let state = state.and_then(|state| state.to_possible_value());
                let state =
                    state.map(|state| json!(format!("INSTANCE_STATE_{}", state.get_name().to_uppercase())));
                let asked = request([("pool", Some(json!(pool))), ("state", state)]);
                Plan::list("InstanceService/ListInstances", asked, "instances", INSTANCES)
            }
            Self::Watch { pool } => {
                Plan::stream("InstanceService/WatchInstances", json!({ "pool": pool }), "instance", INSTANCES)
            }
            Self::Drain { instance_id, limit, reason } => {
                let limit = limit.as_deref().map(duration).transpose()?;
                let asked = request([
                    ("instance_id", Some(json!(instance_id))),
                    ("limit", limit),
                    ("reason", Some(json!(reason))),
                ]);
                Plan::thing("InstanceService/DrainInstance", asked, "instance")
            }
            Self::Events { instance_id } => {
                let asked = json!({ "instance_id": instance_id });
                Plan::list("InstanceService/ListInstanceEvents", asked, "events", EVENTS)
            }
            Self::Preemptions { instance_id } => {
                let asked = json!({ "instance_id": instance_id });
                Plan::list("InstanceService/ListPreemptions", asked, "preemptions", PREEMPTIONS)
            }
        })
    }
}
