//! How everything is: one status and what it is made of.

use super::{
    Common, Output,
    account::Account,
    call::{Client, Contract},
    plan::{Column, Plan},
    show::Printer,
};
use clap::Args;
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
pub(crate) struct Health {
    /// Shows how it is now, and again whenever that changes.
    #[arg(long)]
    watch: bool,
    /// Has everything looked at first.
    #[arg(long, conflicts_with = "watch")]
    check: bool,
}

impl Health {
    pub(crate) async fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        let client = Account::open(common)?.client(&Contract::open()?).await?;
        let printer = Printer::new(common.output == Output::Json);
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
