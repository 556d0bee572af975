//! Grants: who may, or may not, use what; one by one, or many from a file.

use super::{
    call::Client,
    names::in_future,
    plan::{Column, Plan, Shape, request},
};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{fs, io::BufRead, path::PathBuf};

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
/// Grants of one part of an import.
const PART: usize = 500;

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
    Import {
        /// `-`: standard input.
        file: PathBuf,
        /// The same UUID goes on with the same import.
        #[arg(long, value_name = "UUID")]
        id: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
    },
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
            Self::Import { file, id, reason } => import(client, &file, id, reason).await?,
            Self::Export { model } => {
                let model = client.maybe(model.as_deref().map(|name| client.model(name))).await?;
                let shape = Shape::Stream { row: "", columns: &[("GRANTS", "grants")] };
                Plan::new("BatchService/ExportGrants", request([("model_id", model)]), shape)
            }
        })
    }
}

/// Sends the file from where the import stands, then shows how far it has come.
async fn import(client: &Client, file: &PathBuf, id: Option<String>, reason: String) -> anyhow::Result<Plan> {
    let known = id.is_some();
    let id = id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let asked = json!({ "import_id": id });
    let done = if known {
        let answer = client.unary("BatchService/GetImport", &asked).await?;
        answer["progress"]["next_offset"].as_u64().unwrap_or(0)
    } else {
        0
    };
    let grants = lines(file)?;
    let skip = usize::try_from(done)?;
    let mut parts = vec![json!({ "begin": { "import_id": id, "reason": reason } })];
    for (number, part) in grants.get(skip..).unwrap_or_default().chunks(PART).enumerate() {
        parts.push(json!({ "grants": { "offset": skip + number * PART, "grants": part } }));
    }
    if parts.len() > 1 {
        let sent = client.upload("BatchService/ImportGrants", parts).await;
        sent.with_context(|| format!("the import broke off; go on with --id {id}"))?;
    }
    Ok(Plan::thing("BatchService/GetImport", asked, "progress"))
}

/// The lines of JSON of a file; a line of an export holds many grants.
fn lines(file: &PathBuf) -> anyhow::Result<Vec<Value>> {
    let reader: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        Box::new(std::io::BufReader::new(opened))
    };
    let mut values = Vec::new();
    for (number, line) in reader.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let mut value: Value =
            serde_json::from_str(&line).with_context(|| format!("line {} is no JSON", number + 1))?;
        match value["grants"].take() {
            Value::Array(grants) => values.extend(grants),
            _ => values.push(value),
        }
    }
    Ok(values)
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
