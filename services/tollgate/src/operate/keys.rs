//! API keys.

use super::{
    call::Client,
    names::{duration, in_future},
    plan::{Column, Plan, request},
};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

const KEYS: &[Column] = &[
    ("NAME", "name"),
    ("HINT", "hint"),
    ("UNTIL", "expire_time"),
    ("REVOKED", "revoke_time"),
    ("LAST USED", "last_used_time"),
    ("ID", "key_id"),
];

/// What a key can be narrowed to.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Scope {
    Inference,
    Read,
    Write,
}

impl Scope {
    const fn number(self) -> &'static str {
        match self {
            Self::Inference => "SCOPE_INFERENCE",
            Self::Read => "SCOPE_READ",
            Self::Write => "SCOPE_WRITE",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Lists keys.
    List {
        /// E-mail address or id of the owner; yourself when left out.
        #[arg(long)]
        user: Option<String>,
    },
    /// Creates a key and shows its secret, this once.
    Create {
        name: String,
        /// E-mail address or id of the owner; yourself when left out.
        #[arg(long)]
        user: Option<String>,
        /// Only for these models.
        #[arg(long)]
        model: Vec<String>,
        /// Only for these kinds of calls.
        #[arg(long, value_enum)]
        scope: Vec<Scope>,
        /// Only from these networks: 10.0.0.0/8.
        #[arg(long)]
        network: Vec<String>,
        /// How long: 30d; 90 days when left out.
        #[arg(long)]
        expires: Option<String>,
    },
    /// Makes a new secret; the old one goes on working for the grace.
    Rotate {
        key_id: String,
        /// How long the old secret still works: 0s, 24h.
        #[arg(long)]
        grace: Option<String>,
    },
    /// Revokes a key for good.
    Revoke {
        key_id: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
}

impl Keys {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { user } => {
                let user = client.maybe(user.as_deref().map(|user| client.user(user))).await?;
                Plan::list("KeyService/ListKeys", request([("user_id", user)]), "keys", KEYS)
            }
            Self::Create { name, user, model, scope, network, expires } => {
                let mut models = Vec::with_capacity(model.len());
                for model in &model {
                    models.push(client.model(model).await?);
                }
                let scopes: Vec<&str> = scope.into_iter().map(Scope::number).collect();
                let asked = request([
                    ("name", Some(json!(name))),
                    ("user_id", client.maybe(user.as_deref().map(|user| client.user(user))).await?),
                    ("model_ids", Some(json!(models))),
                    ("scopes", (!scopes.is_empty()).then(|| json!(scopes))),
                    ("networks", (!network.is_empty()).then(|| json!(network))),
                    ("expire_time", expires.as_deref().map(in_future).transpose()?),
                ]);
                Plan::thing("KeyService/CreateKey", asked, "key")
            }
            Self::Rotate { key_id, grace } => {
                let grace = grace.as_deref().map(duration).transpose()?;
                let asked = request([("key_id", Some(json!(key_id))), ("grace", grace)]);
                Plan::thing("KeyService/RotateKey", asked, "key")
            }
            Self::Revoke { key_id, reason } => {
                let asked = json!({ "key_id": key_id, "reason": reason });
                Plan::done("KeyService/RevokeKey", asked, "revoked")
            }
        })
    }
}
