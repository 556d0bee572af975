//! Models, aliases and sets; who am I; why may somebody use a model.

use super::{
    call::Client,
    names::in_future,
    plan::{Column, Plan, request},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

const MODELS: &[Column] =
    &[("NAME", "name"), ("STATE", "state"), ("OWNER", "owner.user_id|owner.group_id"), ("ID", "model_id")];
const SETS: &[Column] = &[("NAME", "name"), ("DESCRIPTION", "description"), ("ID", "model_set_id")];
const ITEMS: &[Column] = &[("MODEL", "model_id"), ("SET", "item_set_id")];
const ALIASES: &[Column] = &[("ALIAS", "name"), ("MODEL", "model_id")];

/// May somebody use a model, and why?
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Name or id of the model.
    model: String,
    /// E-mail address or id; yourself when left out.
    #[arg(long)]
    user: Option<String>,
    /// Asks about managing instead of using.
    #[arg(long)]
    manage: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Models {
    /// Lists models.
    List {
        /// Only names that contain this.
        #[arg(long, default_value = "")]
        search: String,
        /// Only what you may use now.
        #[arg(long)]
        accessible: bool,
        /// Deleted ones too.
        #[arg(long)]
        deleted: bool,
    },
    /// Shows one model.
    Show { model: String },
    /// Registers a model under the name that requests use.
    Register {
        name: String,
        #[arg(long, default_value = "")]
        description: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Says that a model is on its way out.
    Deprecate {
        model: String,
        /// Name of the model to use instead.
        #[arg(long)]
        replacement: Option<String>,
        /// When it ends, from now: 30d.
        #[arg(long)]
        sunset: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Refuses a model to everyone.
    Disable {
        model: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Takes a model back into service.
    Enable {
        model: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Deletes a model; it can be restored for 30 days.
    Delete {
        model: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Restores a deleted model with its grants; by id.
    Undelete { model_id: String },
    /// Gives a model a further name.
    Alias { alias: String, model: String },
    /// Takes a further name away.
    Unalias { alias: String },
    /// Lists further names.
    Aliases,
    /// Sets of models.
    #[command(subcommand)]
    Sets(Sets),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sets {
    /// Lists sets.
    List,
    /// Creates an empty set.
    Create {
        name: String,
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Lists what is in a set.
    Show { set: String },
    /// Puts models into a set.
    Add { set: String, models: Vec<String> },
    /// Takes models out of a set.
    Remove { set: String, models: Vec<String> },
    /// Deletes a set; it can be restored for 30 days.
    Delete { set: String },
}

/// Who am I, and what may I use?
pub(crate) fn me() -> Plan {
    Plan::thing("MeService/GetMe", json!({}), "")
}

impl Explain {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        let user = client.maybe(self.user.as_deref().map(|user| client.user(user))).await?;
        let action = if self.manage { "ACTION_MANAGE" } else { "ACTION_USE" };
        let model = client.model(&self.model).await?;
        let asked = [("user_id", user), ("model_id", Some(model)), ("action", Some(json!(action)))];
        Ok(Plan::thing("AuthorizationService/Explain", request(asked), ""))
    }
}

impl Models {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { search, accessible, deleted } => {
                let asked =
                    json!({ "search": search, "accessible_only": accessible, "show_deleted": deleted });
                Plan::list("ModelService/ListModels", asked, "models", MODELS)
            }
            Self::Show { model } => {
                let asked = json!({ "model_id": client.model(&model).await? });
                Plan::thing("ModelService/GetModel", asked, "model")
            }
            Self::Register { name, description, reason } => {
                let asked = json!({ "name": name, "description": description, "reason": reason });
                Plan::thing("ModelService/RegisterModel", asked, "model")
            }
            Self::Deprecate { model, replacement, sunset, reason } => {
                let instead = client.maybe(replacement.as_deref().map(|name| client.model(name))).await?;
                let mut asked = state(client, &model, "MODEL_STATE_DEPRECATED", reason).await?;
                let more = [
                    ("replacement_model_id", instead),
                    ("sunset_time", sunset.as_deref().map(in_future).transpose()?),
                ];
                merge(&mut asked, request(more));
                Plan::thing("ModelService/UpdateModel", asked, "model")
            }
            Self::Disable { model, reason } => {
                let asked = state(client, &model, "MODEL_STATE_DISABLED", reason).await?;
                Plan::thing("ModelService/UpdateModel", asked, "model")
            }
            Self::Enable { model, reason } => {
                let asked = state(client, &model, "MODEL_STATE_ACTIVE", reason).await?;
                Plan::thing("ModelService/UpdateModel", asked, "model")
            }
            Self::Delete { model, reason } => {
                let asked = json!({ "model_id": client.model(&model).await?, "reason": reason });
                Plan::done(
                    "ModelService/DeleteModel",
                    asked,
                    "deleted; `models undelete` restores it for 30 days",
                )
            }
            Self::Undelete { model_id } => {
                Plan::thing("ModelService/UndeleteModel", json!({ "model_id": model_id }), "model")
            }
            Self::Alias { alias, model } => {
                let asked = json!({ "name": alias, "model_id": client.model(&model).await? });
                Plan::thing("AliasService/SetAlias", asked, "alias")
            }
            Self::Unalias { alias } => {
                Plan::done("AliasService/DeleteAlias", json!({ "name": alias }), "the name is free")
            }
            Self::Aliases => Plan::list("AliasService/ListAliases", json!({}), "aliases", ALIASES),
            Self::Sets(sets) => sets.plan(client).await?,
        })
    }
}

impl Sets {
    async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List => Plan::list("ModelSetService/ListModelSets", json!({}), "model_sets", SETS),
            Self::Create { name, description } => {
                let asked = json!({ "name": name, "description": description });
                Plan::thing("ModelSetService/CreateModelSet", asked, "model_set")
            }
            Self::Show { set } => {
                let asked = json!({ "model_set_id": client.set(&set).await? });
                Plan::list("ModelSetService/ListSetItems", asked, "items", ITEMS)
            }
            Self::Add { set, models } => {
                let asked = items(client, &set, &models).await?;
                Plan::done("ModelSetService/AddSetItems", asked, "added")
            }
            Self::Remove { set, models } => {
                let asked = items(client, &set, &models).await?;
                Plan::done("ModelSetService/RemoveSetItems", asked, "removed")
            }
            Self::Delete { set } => {
                let asked = json!({ "model_set_id": client.set(&set).await? });
                Plan::done("ModelSetService/DeleteModelSet", asked, "deleted")
            }
        })
    }
}

async fn state(client: &Client, model: &str, state: &str, reason: String) -> anyhow::Result<Value> {
    Ok(json!({ "model_id": client.model(model).await?, "state": state, "reason": reason }))
}

async fn items(client: &Client, set: &str, models: &[String]) -> anyhow::Result<Value> {
    let mut items = Vec::with_capacity(models.len());
    for model in models {
        items.push(json!({ "model_id": client.model(model).await? }));
    }
    Ok(json!({ "model_set_id": client.set(set).await?, "items": items }))
}

fn merge(request: &mut Value, more: Value) {
    if let (Value::Object(request), Value::Object(more)) = (request, more) {
        request.extend(more);
    }
}
