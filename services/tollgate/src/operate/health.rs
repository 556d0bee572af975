//! How everything is: one status and what it is made of; and what gateways serve.

use super::{
    Common, Output,
    account::Account,
    call::{Client, Contract},
    names::duration,
    plan::{Column, Plan, request},
    show::Printer,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::process::ExitCode;

const DEPENDENCIES: &[Column] = &[
    ("STATUS", "status"),
    ("KIND", "kind"),
    ("NAME", "name"),
    ("INSTANCE", "instance"),
    ("CRITICAL", "critical"),
    ("LATENCY", "latency"),
    ("USED", "used"),
    ("FAILURES", "consecutive_failures"),
    ("LAST SUCCESS", "last_success_time"),
    ("REASON", "reason"),
];

const CHANGES: &[Column] = &[("TIME", "time"), ("STATUS", "status"), ("REASONS", "reasons")];

/// How everything is. Ends with 0 when it is healthy, and with 1 when it is not.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Health {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Shows how it is now, and again whenever that changes.
    #[arg(long)]
    watch: bool,
    /// Has everything looked at first.
    #[arg(long, conflicts_with = "watch")]
    check: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What gateways serve: everything, or only what is urgent.
    #[command(subcommand)]
    Mode(Mode),
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Shows how the gateway serves, and why.
    Show,
    /// Orders a mode for a time, whatever is seen.
    Set {
        mode: Serving,
        /// For how long: 15m when left out, 24h at most.
        #[arg(long = "for", value_name = "TIME")]
        ttl: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Takes an order back: what is seen holds.
    Clear {
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Serving {
    Normal,
    Degraded,
}

impl Health {
    pub(crate) async fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        let client = Account::open(common)?.client(&Contract::open()?).await?;
        let printer = Printer::new(common.output == Output::Json);
        if let Some(Verb::Mode(mode)) = self.verb {
            client.follow(mode.plan()?, printer).await?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.watch {
            client.follow(Plan::stream("HealthService/WatchHealth", json!({}), "", CHANGES), printer).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let asked = if self.check { "HealthService/CheckNow" } else { "HealthService/GetHealth" };
        show(&client, asked, printer).await
    }
}

async fn show(client: &Client, asked: &'static str, printer: Printer) -> anyhow::Result<ExitCode> {
    let overall = client.unary(asked, &json!({})).await?;
    let dependencies = client.all("HealthService/ListDependencies", json!({}), "dependencies").await?;
    let healthy = overall["status"] == "HEALTH_STATUS_HEALTHY";
    let mut all = overall.clone();
    all["dependencies"] = Value::Array(dependencies.clone());
    printer.thing(&overall, &all)?;
    if !printer.is_json() {
        printer.table(DEPENDENCIES, &dependencies)?;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Mode {
    fn plan(self) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::Show => Plan::thing("ModeService/GetMode", json!({}), "mode"),
            Self::Set { mode, ttl, reason } => {
                let mode = match mode {
                    Serving::Normal => "SERVING_MODE_NORMAL",
                    Serving::Degraded => "SERVING_MODE_DEGRADED",
                };
                let ttl = ttl.as_deref().map(duration).transpose()?;
                let asked = [("mode", Some(json!(mode))), ("ttl", ttl), ("reason", Some(json!(reason)))];
                Plan::thing("ModeService/SetMode", request(asked), "mode")
            }
            Self::Clear { reason } => Plan::thing("ModeService/SetMode", json!({ "reason": reason }), "mode"),
        })
    }
}
