//! Budgets: what users, groups, keys and models may cost, and how that stands.

use super::{
    call::Client,
    plan::{Column, Plan, request},
};
use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

const BUDGETS: &[Column] = &[
    ("ID", "budget_id"),
    ("NAME", "name"),
    ("USER", "subject.user_id"),
    ("GROUP", "subject.group_id"),
    ("KEY", "subject.key_id"),
    ("MODEL", "subject.model"),
    ("PERIOD", "period"),
    ("ZONE", "time_zone"),
    ("LIMIT $", "limit_usd"),
    ("TOKENS", "limit_tokens"),
    ("HARD", "hard"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Period {
    Day,
    Month,
}

/// How much.
#[derive(Debug, Clone, Args)]
pub(crate) struct Limits {
    /// Dollars in each window, like 12.50.
    #[arg(long)]
    usd: Option<String>,
    /// Tokens of prompts and answers in each window.
    #[arg(long)]
    tokens: Option<u64>,
    /// Refuse what does not fit.
    #[arg(long)]
    hard: bool,
}

/// Whom or what it is for: one of them.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Subject {
    /// A user, by e-mail address or id.
    #[arg(long)]
    user: Option<String>,
    /// A group, by name or id.
    #[arg(long)]
    group: Option<String>,
    /// A key, by id.
    #[arg(long)]
    key: Option<String>,
    /// A model, by its own name.
    #[arg(long)]
    model: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Budgets {
    /// Lists budgets.
    List,
    /// Makes a budget.
    Create {
        name: String,
        #[command(flatten)]
        subject: Subject,
        #[arg(long, value_enum, default_value_t = Period::Month)]
        period: Period,
        /// Of the IANA database, like Europe/Berlin; UTC when left out.
        #[arg(long, default_value = "")]
        zone: String,
        #[command(flatten)]
        limits: Limits,
        /// A UUID: sent again under it, the same budget is shown.
        #[arg(long, default_value = "")]
        request_id: String,
    },
    /// Shows a budget.
    Get { budget_id: String },
    /// Changes name and limits of a budget; a limit that is left out is none.
    Update {
        budget_id: String,
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Deletes a budget.
    Delete { budget_id: String },
    /// How a budget stands in its window, and where that will end.
    Status { budget_id: String },
    /// Takes back what a gateway holds that will not come again.
    Release { gateway_id: String },
}

impl Subject {
    async fn value(self, client: &Client) -> anyhow::Result<Value> {
        Ok(match self {
            Self { user: Some(user), .. } => json!({ "user_id": client.user(&user).await? }),
            Self { group: Some(group), .. } => json!({ "group_id": client.group(&group).await? }),
            Self { key: Some(key), .. } => json!({ "key_id": key }),
            Self { model: Some(model), .. } => json!({ "model": model }),
            _ => bail!("--user, --group, --key or --model is needed"),
        })
    }
}

impl Budgets {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List => Plan::list("BudgetService/ListBudgets", json!({}), "budgets", BUDGETS),
            Self::Create { name, subject, period, zone, limits, request_id } => {
                let period = if period == Period::Day { "BUDGET_PERIOD_DAY" } else { "BUDGET_PERIOD_MONTH" };
                let budget = request([
                    ("name", Some(json!(name))),
                    ("subject", Some(subject.value(client).await?)),
                    ("period", Some(json!(period))),
                    ("time_zone", Some(json!(zone))),
                    ("limit_usd", limits.usd.map(Value::from)),
                    ("limit_tokens", limits.tokens.map(Value::from)),
                    ("hard", Some(json!(limits.hard))),
                ]);
                let asked = json!({ "budget": budget, "request_id": request_id });
                Plan::thing("BudgetService/CreateBudget", asked, "budget")
            }
            Self::Get { budget_id } => {
                Plan::thing("BudgetService/GetBudget", json!({ "budget_id": budget_id }), "budget")
            }
            Self::Update { budget_id, name, limits } => {
                let asked = request([
                    ("budget_id", Some(json!(budget_id))),
                    ("name", Some(json!(name))),
                    ("limit_usd", limits.usd.map(Value::from)),
                    ("limit_tokens", limits.tokens.map(Value::from)),
                    ("hard", Some(json!(limits.hard))),
                ]);
                Plan::thing("BudgetService/UpdateBudget", asked, "budget")
            }
            Self::Delete { budget_id } => {
                Plan::done("BudgetService/DeleteBudget", json!({ "budget_id": budget_id }), "deleted")
            }
            Self::Status { budget_id } => {
                Plan::thing("BudgetService/GetBudgetStatus", json!({ "budget_id": budget_id }), "")
            }
            Self::Release { gateway_id } => {
                Plan::thing("BudgetService/ReleaseLeases", json!({ "gateway_id": gateway_id }), "")
            }
        })
    }
}
