//! The operators' commands: each is one call of the contract, shown as a table or as JSON.
//!
//! A command says which method it calls, with what, and which fields are columns ([`plan`]); [`call`] sends it over
//! gRPC by the method's name, [`account`] says with which credential, and [`show`] prints what came back.

mod account;
mod alerts;
mod audit;
mod batches;
mod budgets;
mod cache;
mod call;
mod engines;
mod grants;
mod groups;
mod health;
mod import;
mod instances;
mod jobs;
mod keys;
mod limits;
mod log_level;
mod login;
mod metrics;
mod models;
mod names;
mod plan;
mod prices;
mod queue;
mod requests;
mod scaling;
mod show;
mod silence;
mod top;
mod usage;
mod users;
mod why;

use crate::secured::Secured;
use account::Account;
use call::{Client, Contract};
use clap::{Args, Subcommand, ValueEnum};
use login::Login;
use plan::Plan;
use show::Printer;
use std::{path::PathBuf, process::ExitCode};

/// What every operators' command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Where Tollgate is, like http://127.0.0.1:8080 or https://llm.example.org; the server of the last login when left out.
    #[arg(long, global = true)]
    server: Option<String>,
    /// A file that holds an API key to use instead of the login; `-`: standard input.
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Where logins are kept; `.tollgate-login` in the home folder when left out.
    #[arg(long, global = true, value_name = "FILE")]
    login_file: Option<PathBuf>,
    #[command(flatten)]
    secured: Secured,
    /// How to print what came back.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// The nouns that operators work with.
#[derive(Debug, Subcommand)]
pub(crate) enum Operate {
    /// Signs in with a password and keeps the session for the other commands.
    Login(With<Login>),
    /// Ends the session of the last login.
    Logout(Common),
    /// Who am I, and what may I use?
    Me(Common),
    /// May somebody use a model, and why?
    Explain(With<models::Explain>),
    /// Models, their aliases and sets.
    Models(On<models::Models>),
    /// Users, and many of them at once.
    Users(On<users::Users>),
    /// Groups and who is in them.
    Groups(On<groups::Groups>),
    /// Grants: who may, or may not, use what.
    Grants(On<grants::Grants>),
    /// Asking for models, and deciding about it.
    Requests(On<requests::Requests>),
    /// API keys.
    Keys(On<keys::Keys>),
    /// Engines: how they stand, taking them out and putting them back.
    Engines(On<engines::Engines>),
    /// Instances: how engines live and end, as their agents say.
    Instances(On<instances::Instances>),
    /// Scaling: how many replicas pools should have, and what is allowed.
    Scaling(On<scaling::Scaling>),
    /// The queue: who waits and why, and how well promises are kept.
    Queue(On<queue::Queue>),
    /// Health: how everything is, and what is wrong.
    Health(With<health::Health>),
    /// Limits: how much callers may, and what they have used of it.
    Limits(On<limits::Limits>),
    /// What is measured: numbers now and over time, models, machines.
    Metrics(On<metrics::Metrics>),
    /// How everything goes, again and again: traffic, times, queues, engines, GPUs, alerts.
    Top(With<top::Top>),
    /// Jobs: what is done in the background.
    Jobs(On<jobs::Jobs>),
    /// Batches: files of requests.
    Batches(On<batches::Batches>),
    /// Kept answers: what they are worth, which they are, dropping some.
    Cache(On<cache::Cache>),
    /// Usage: what was used, by whom and at what cost.
    Usage(On<usage::Usage>),
    /// Prices: what models cost.
    Prices(On<prices::Prices>),
    /// Budgets: what users, groups, keys and models may cost.
    Budgets(On<budgets::Budgets>),
    /// Alerts: what is wrong, the rules that say so, and who is told.
    Alerts(On<alerts::Alerts>),
    /// Silences: of which alerts nobody wants to hear for a while.
    Silence(On<silence::Silences>),
    /// What was changed, by whom, and what was true when.
    Audit(On<audit::Audit>),
    /// Why a request was refused, slow or dear.
    Why(With<why::Why>),
    /// Which log lines services write, changed while they run.
    LogLevel(On<log_level::LogLevel>),
}

/// A command of its own arguments.
#[derive(Debug, Args)]
pub(crate) struct With<A: Args> {
    #[command(flatten)]
    args: A,
    #[command(flatten)]
    common: Common,
}

/// What is done with a noun.
#[derive(Debug, Args)]
pub(crate) struct On<V: Subcommand> {
    #[command(subcommand)]
    verb: V,
    #[command(flatten)]
    common: Common,
}

/// Runs one command.
pub(crate) async fn run(command: Operate) -> anyhow::Result<ExitCode> {
    match command {
        Operate::Login(With { args, common }) => args.run(&common).await?,
        Operate::Logout(common) => login::sign_out(&common).await?,
        Operate::Me(common) => show(&common, async |_| Ok(models::me())).await?,
        Operate::Explain(With { args, common }) => {
            show(&common, async |client| args.plan(client).await).await?
        }
        Operate::Models(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Users(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Groups(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Grants(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Requests(On { verb, common }) => {
            show(&common, async |client| verb.plan(client).await).await?
        }
        Operate::Keys(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Engines(On { verb, common }) => {
            show(&common, async |client| verb.plan(client).await).await?
        }
        Operate::Instances(On { verb, common }) => {
            show(&common, async |client| verb.plan(client).await).await?
        }
        Operate::Scaling(On { verb, common }) => {
            show(&common, async |client| verb.plan(client).await).await?
        }
        Operate::Queue(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Health(With { args, common }) => return args.run(&common).await,
        Operate::Limits(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Metrics(On { verb, common }) => {
            show(&common, async |client| verb.plan(client).await).await?
        }
        Operate::Top(With { args, common }) => Box::pin(args.run(&common)).await?,
        Operate::Jobs(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Batches(On { verb, common }) => {
            show(&common, async |client| verb.plan(client).await).await?
        }
        Operate::Cache(On { verb, common }) => show(&common, async |_| Ok(verb.plan())).await?,
        Operate::Usage(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Budgets(On { verb, common }) => {
            show(&common, async |client| verb.plan(client).await).await?
        }
        Operate::Prices(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Alerts(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Silence(On { verb, common }) => {
            show(&common, async |client| verb.plan(client).await).await?
        }
        Operate::Audit(On { verb, common }) => show(&common, async |client| verb.plan(client).await).await?,
        Operate::Why(With { args, common }) => show(&common, async |_| Ok(args.plan())).await?,
        Operate::LogLevel(On { verb, common }) => show(&common, async |_| verb.plan()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(
    common: &Common,
    plan: impl AsyncFnOnce(&Client) -> anyhow::Result<Plan>,
) -> anyhow::Result<()> {
    let client = Account::open(common)?.client(&Contract::open()?).await?;
    let plan = plan(&client).await?;
    client.follow(plan, Printer::new(common.output == Output::Json)).await
}
