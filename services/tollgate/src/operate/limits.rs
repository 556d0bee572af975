//! Limits: the tables, what somebody has used of them, forgetting that, and what a call would get.

use super::{
    call::Client,
    plan::{Column, Plan, request},
};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

const LIMITS: &[Column] = &[
    ("ACTION", "action"),
    ("PER", "layer"),
    ("COUNTS", "measure"),
    ("LIMIT", "limit"),
    ("WINDOW", "window"),
    ("BURST", "burst"),
    ("IMPORTANCE", "importance"),
    ("FREE NOW", "free_now"),
    ("PREMIUM NOW", "premium_now"),
    ("ADMIN NOW", "admin_now"),
];

const USAGE: &[Column] = &[
    ("ACTION", "limit.action"),
    ("SUBJECT", "subject"),
    ("COUNTS", "limit.measure"),
    ("USED", "used"),
    ("HERE", "used_here"),
    ("LIMIT", "limit.limit"),
    ("WINDOW", "limit.window"),
    ("ALL BACK IN", "reset"),
];

/// Whose a limit is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Layer {
    Address,
    Key,
    User,
    Group,
    Model,
    Endpoint,
}

impl Layer {
    fn word(self) -> &'static str {
        match self {
            Self::Address => "LIMIT_LAYER_ADDRESS",
            Self::Key => "LIMIT_LAYER_KEY",
            Self::User => "LIMIT_LAYER_USER",
            Self::Group => "LIMIT_LAYER_GROUP",
            Self::Model => "LIMIT_LAYER_MODEL",
            Self::Endpoint => "LIMIT_LAYER_ENDPOINT",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Limits {
    /// Shows the tables, and what they come to at this hour and load.
    List,
    /// Shows what somebody has used, or who has used most.
    Show {
        /// Whose.
        #[arg(value_enum)]
        layer: Layer,
        /// A user's e-mail address or id, another id, a network address, a method or route; those who used most when left out.
        subject: Option<String>,
    },
    /// Forgets what somebody has used.
    Reset {
        /// Whose.
        #[arg(value_enum)]
        layer: Layer,
        /// A user's e-mail address or id, another id, a network address, a method or route.
        subject: String,
        /// Only of this action.
        #[arg(long, default_value = "")]
        action: String,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Says what a call would get, without making it.
    Simulate {
        /// The method or route, like /v1/chat/completions.
        route: String,
        /// Who would call: e-mail address or id.
        #[arg(long)]
        user: Option<String>,
        /// The id of their key.
        #[arg(long)]
        key: Option<String>,
        /// From which network address.
        #[arg(long)]
        address: Option<String>,
        /// Tokens that it may come to.
        #[arg(long)]
        tokens: Option<u64>,
    },
}

impl Limits {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List => Plan::list("LimitService/ListLimits", json!({}), "limits", LIMITS),
            Self::Show { layer, subject } => {
                let subject = match subject {
                    Some(subject) => Some(named(client, layer, subject).await?),
                    None => None,
                };
                let asked = request([("layer", Some(json!(layer.word()))), ("subject", subject)]);
                Plan::list("LimitService/GetLimitUsage", asked, "usage", USAGE)
            }
            Self::Reset { layer, subject, action, reason } => {
                let subject = named(client, layer, subject).await?;
                let asked =
                    json!({ "layer": layer.word(), "subject": subject, "action": action, "reason": reason });
                Plan::done("LimitService/ResetLimit", asked, "reset")
            }
            Self::Simulate { route, user, key, address, tokens } => {
                let user = match user {
                    Some(user) => Some(client.user(&user).await?),
                    None => None,
                };
                let asked = request([
                    ("route", Some(json!(route))),
                    ("user_id", user),
                    ("key_id", key.map(|key| json!(key))),
                    ("address", address.map(|address| json!(address))),
                    ("tokens", tokens.map(|tokens| json!(tokens))),
                ]);
                Plan::thing("LimitService/SimulateLimit", asked, "")
            }
        })
    }
}

/// A subject by its id; of users by the e-mail address too.
async fn named(client: &Client, layer: Layer, subject: String) -> anyhow::Result<Value> {
    match layer {
        Layer::User if subject.contains('@') => client.user(&subject).await,
        _ => Ok(json!(subject)),
    }
}
