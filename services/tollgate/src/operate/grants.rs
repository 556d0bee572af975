//! Grants: who may, or may not, use what; one by one, or many from a file.

use super::{
    call::Client,
    import::{Import, Way, lines},
    names::in_future,
    plan::{Column, Plan, Shape, request},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

const GRANTS: &[Column] = &[
    ("MODEL", "model_id|model_set_id"),
    ("FOR", "user_id|group_id|everyone"),
    ("ACTION", "action"),
    ("EFFECT", "effect"),
    ("UNTIL", "expire_time"),
    ("ID", "grant_id"),
];
const RESULTS: &[Column] = &[
    ("CREATED", "created.grant_id"),
    ("REVOKED", "revoked"),
    ("FAILED", "error.message"),
    ("CORRELATION", "correlation_id"),
];
const GRANTS_IMPORT: Way = Way {
    upload: "BatchService/ImportGrants",
    stand: "BatchService/GetImport",
    part: "grants",
    rows: "grants",
};

#[derive(Debug, Subcommand)]
pub(crate) enum Grants {
    /// Lists grants.
    List {
        /// Name or id of a model.
        #[arg(long)]
        model: Option<String>,
        /// E-mail address or id: grants to this user directly.
        #[arg(long)]
        user: Option<String>,
        /// Name or id: grants to this group.
        #[arg(long)]
        group: Option<String>,
    },
    /// Creates a grant.
    Create {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        grantee: Grantee,
        /// Manage instead of use.
        #[arg(long)]
        manage: bool,
        /// Deny instead of allow.
        #[arg(long)]
        deny: bool,
        /// How long, from now: 12h, 30d.
        #[arg(long)]
        expires: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Revokes a grant by its id.
    Revoke {
        grant_id: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Does up to 1,000 operations of a file: a line of JSON each, {"create": {…}} or {"revoke": "<grant id>"}.
    Batch {
        /// `-`: standard input.
        file: PathBuf,
        /// Does what can be done instead of all or nothing.
        #[arg(long)]
        best_effort: bool,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Creates grants from a file of any length: a line of JSON each, as `grants export` writes them.
    Import(Import),
    /// Writes every grant as of one revision, in parts; with `-o json` a line per part.
    Export {
        /// Only grants on this model.
        #[arg(long)]
        model: Option<String>,
    },
}

/// A model or a set of models.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Name or id of a model.
    #[arg(long)]
    model: Option<String>,
    /// Name or id of a model set.
    #[arg(long, value_name = "SET")]
    model_set: Option<String>,
}

/// Whom it is for.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Grantee {
    /// E-mail address or id of a user.
    #[arg(long)]
    user: Option<String>,
    /// Name or id of a group.
    #[arg(long)]
    group: Option<String>,
    /// Every user.
    #[arg(long)]
    everyone: bool,
}

impl Grants {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { model, user, group } => {
                let asked = request([
                    ("model_id", client.maybe(model.as_deref().map(|name| client.model(name))).await?),
                    ("user_id", client.maybe(user.as_deref().map(|user| client.user(user))).await?),
                    ("group_id", client.maybe(group.as_deref().map(|name| client.group(name))).await?),
                ]);
                Plan::list("GrantService/ListGrants", asked, "grants", GRANTS)
            }
            Self::Create { target, grantee, manage, deny, expires, reason } => {
                let rest = [
                    ("action", Some(json!(if manage { "ACTION_MANAGE" } else { "ACTION_USE" }))),
                    ("effect", Some(json!(if deny { "EFFECT_DENY" } else { "EFFECT_ALLOW" }))),
                    ("expire_time", expires.as_deref().map(in_future).transpose()?),
                ];
                let target = target.fields(client).await?;
                let grant = request(target.into_iter().chain(grantee.fields(client).await?).chain(rest));
                Plan::thing("GrantService/CreateGrant", json!({ "grant": grant, "reason": reason }), "grant")
            }
            Self::Revoke { grant_id, reason } => {
                let asked = json!({ "grant_id": grant_id, "reason": reason });
                Plan::done("GrantService/RevokeGrant", asked, "revoked")
            }
            Self::Batch { file, best_effort, reason } => {
                let mode = if best_effort { "BATCH_MODE_BEST_EFFORT" } else { "BATCH_MODE_ATOMIC" };
                let asked = json!({ "operations": lines(&file)?, "mode": mode, "reason": reason });
                let shape = Shape::List { rows: "results", columns: RESULTS };
                Plan::new("BatchService/BatchGrants", asked, shape)
            }
            Self::Import(import) => import.plan(client, &GRANTS_IMPORT).await?,
            Self::Export { model } => {
                let model = client.maybe(model.as_deref().map(|name| client.model(name))).await?;
                let shape = Shape::Stream { row: "", columns: &[("GRANTS", "grants")] };
                Plan::new("BatchService/ExportGrants", request([("model_id", model)]), shape)
            }
        })
    }
}

impl Target {
    async fn fields(&self, client: &Client) -> anyhow::Result<[(&'static str, Option<Value>); 2]> {
        let model = client.maybe(self.model.as_deref().map(|name| client.model(name))).await?;
        let set = client.maybe(self.model_set.as_deref().map(|name| client.set(name))).await?;
        Ok([("model_id", model), ("model_set_id", set)])
    }
}

impl Grantee {
    async fn fields(&self, client: &Client) -> anyhow::Result<[(&'static str, Option<Value>); 3]> {
        let user = client.maybe(self.user.as_deref().map(|user| client.user(user))).await?;
        let group = client.maybe(self.group.as_deref().map(|name| client.group(name))).await?;
        Ok([("user_id", user), ("group_id", group), ("everyone", self.everyone.then_some(json!(true)))])
    }
}
