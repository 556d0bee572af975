//! `tollgate simulate`: what a scheduling policy makes of a recorded workload, in virtual time.
//!
//! Load 1 is the rate at which plain FIFO completes 97 % of what is offered by the same trace to the same engines; it is
//! found first and printed.

mod table;

use crate::trace;
use anyhow::Context;
use serde_json::{Value, json};
use simulate::{
    Setting, bound, capacity,
    judge::Report,
    policy::Name,
    workload::{Recorded, Users},
};
use simulator::Profile;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// Simulates a recorded workload on several engines and says what a policy makes of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// CSV file with the columns TIMESTAMP,ContextTokens,GeneratedTokens.
    #[arg(long)]
    trace: PathBuf,
    /// Engines, all alike.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    engines: u16,
    /// What is offered, in times of load 1.
    #[arg(long, default_value_t = 1.0)]
    load: f64,
    /// One policy, several with commas between, or all.
    #[arg(long, default_value = "tollgate")]
    policy: String,
    /// How requests are divided among users: zipf (100) or noisy (16, of which one sends half).
    #[arg(long, default_value = "zipf")]
    users: String,
    /// Decides users, classes and the noise of engines.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Seconds of arrivals; the first third of them, at most 600, is warm-up and not counted.
    #[arg(long, default_value_t = 1_800.0)]
    duration: f64,
    /// What engines are like: quick, reference, tiny, or a file in that form.
    #[arg(long, default_value = "reference", value_parser = Profile::named)]
    profile: Profile,
    /// Prints a list of objects instead of a table.
    #[arg(long)]
    json: bool,
}

/// Time that requests arrive before they are counted, at most: the longest that anything is promised, so that by then as
/// much old batch work comes due as new is put off.
const WARM_UP: f64 = 600.0;

impl Args {
    fn setting(&self) -> anyhow::Result<Setting> {
        anyhow::ensure!(self.load.is_finite() && self.load > 0.0, "--load must be greater than 0");
        let usable = (1.0..=86_400.0).contains(&self.duration);
        anyhow::ensure!(usable, "--duration counts seconds, from 1 to 86400");
        let users = match self.users.as_str() {
            "zipf" => Users::Zipf,
            "noisy" => Users::Noisy,
            other => anyhow::bail!("--users is zipf or noisy, not {other:?}"),
        };
        let warm_up = WARM_UP.min(self.duration / 3.0);
        Ok(Setting {
            engines: usize::from(self.engines),
            profile: self.profile,
            counted: Duration::from_secs_f64(self.duration - warm_up),
            warm_up: Duration::from_secs_f64(warm_up),
            users,
            seed: self.seed,
        })
    }

    fn policies(&self) -> anyhow::Result<Vec<Name>> {
        if self.policy == "all" {
            return Ok(Name::ALL.to_vec());
        }
        let known = || Name::ALL.map(Name::as_str).join(", ");
        let name = |word: &str| {
            Name::from_word(word.trim())
                .with_context(|| format!("--policy {word:?} is not known; there are: {}, all", known()))
        };
        self.policy.split(',').map(name).collect()
    }
}

/// Simulates and prints what came of it.
///
/// # Errors
/// When the arguments make no sense or the trace cannot be read.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (setting, policies) = (args.setting()?, args.policies()?);
    let rows = trace::read(&args.trace)?;
    let trace: Vec<Recorded> = rows
        .iter()
        .map(|row| Recorded { at: row.at, prompt: row.context_tokens, output: row.generated_tokens })
        .collect();
    let one = capacity::find(&setting, &trace);
    anyhow::ensure!(one.requests > 0.0, "these engines complete no request of this trace");
    let rate = one.requests * args.load;
    let workload = setting.workload(&trace, rate);
    let bound = bound::bound(&setting, &workload);
    let reports: Vec<(Name, Report)> = std::thread::scope(|scope| {
        let runs: Vec<_> = policies
            .iter()
            .map(|&policy| {
                let (setting, trace) = (&setting, &trace);
                (policy, scope.spawn(move || setting.run(trace, rate, policy)))
            })
            .collect();
        runs.into_iter().filter_map(|(policy, run)| Some((policy, run.join().ok()?))).collect()
    });
    let mut out = Vec::new();
    if args.json {
        let mut list: Vec<Value> = Vec::new();
        for (policy, report) in &reports {
            let mut object = serde_json::to_value(report)?;
            object["policy"] = json!(policy.as_str());
            list.push(object);
        }
        if args.policy == "all" {
            // It is no run: only what it bounds is known of it.
            list.push(json!({
                "policy": "bound",
                "goodput_rps": bound.requests,
                "goodput_tps": bound.tokens,
                "attainment": bound.requests / rate,
                "ttft_p99_ms": null,
                "tpot_p99_ms": null,
                "jain": null,
                "max_wait_s": null,
                "refused": {},
                "utilisation": 1.0,
            }));
        }
        for object in &mut list {
            object["load"] = json!(args.load);
            object["load_1_rps"] = json!(one.requests);
            object["capacity_tps"] = json!(one.tokens);
        }
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
    } else {
        table::write(
            &mut out,
            &table::Run { args, setting: &setting, one, bound, stretched: workload.stretched },
            &reports,
        )?;
    }
    io::stdout().lock().write_all(&out)?;
    Ok(ExitCode::SUCCESS)
}
