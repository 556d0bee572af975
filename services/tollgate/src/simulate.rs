//! `tollgate simulate`: what a scheduling policy makes of a recorded workload, in virtual time.
//!
//! Load 1 is the rate at which plain FIFO completes 97 % of what is offered by the same trace to the same engines; it is
//! found first and printed.

mod table;

use crate::trace;
use anyhow::Context;
use serde_json::{Value, json};
use simulate::{
    Class, Setting, bound,
    capacity::{self, Capacity},
    judge::Report,
    policy::Name,
    workload::{MIX, Recorded, Users},
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
    /// What each class offers, in times of load 1, in the place of --load: interactive=0.2,default=0.3,batch=2.
    #[arg(long, conflicts_with = "load")]
    classes: Option<String>,
    /// How much later than its deadline a request is ordered, in times its own work, in the place of the policy's own
    /// weight.
    #[arg(long)]
    weight: Option<f64>,
    /// Also seeks the largest load under which 95 of a hundred requests are in time, for each policy.
    #[arg(long)]
    sustained: bool,
    /// One policy, several with commas between, or all.
    #[arg(long, default_value = "tollgate")]
    policy: String,
    /// How requests are divided among users: zipf (100), noisy (16, of which one sends half) or jobs (100 as zipf, and one more who
    /// sends all that is of class batch).
    #[arg(long, default_value = "zipf")]
    users: String,
    /// Decides users, classes and the noise of engines.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Seconds of arrivals; the first third of them, at most 600, is warm-up and not counted.
    #[arg(long, default_value_t = 1_800.0)]
    duration: f64,
    /// Seconds for which requests go on arriving after that; what is not answered by then is late.
    #[arg(long, default_value_t = 600.0)]
    settle: f64,
    /// Requests say how long their answer will be, as `tollgate replay` does. Without it only means are known.
    #[arg(long)]
    lengths: bool,
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
        anyhow::ensure!((0.0..=86_400.0).contains(&self.settle), "--settle counts seconds, from 0 to 86400");
        let weight = self.weight.filter(|weight| !(weight.is_finite() && *weight >= 0.0));
        anyhow::ensure!(weight.is_none(), "--weight cannot be negative");
        let (warm_up, counted) = spans(self.duration);
        Ok(Setting {
            engines: usize::from(self.engines),
            warm_up,
            counted,
            settle: Duration::from_secs_f64(self.settle),
            lengths_known: self.lengths,
            mix: self.mix()?,
            weight: self.weight,
            users: users(&self.users)?,
            seed: self.seed,
            ..Setting::new(self.profile)
        })
    }

    /// What each class offers.
    fn mix(&self) -> anyhow::Result<Vec<(Class, f64)>> {
        let Some(said) = &self.classes else { return Ok(MIX.to_vec()) };
        let part = |word: &str| {
            let (class, load) = word.split_once('=')?;
            let load: f64 = load.trim().parse().ok().filter(|load: &f64| load.is_finite() && *load >= 0.0)?;
            Some((Class::from_word(class.trim()).filter(|class| *class != Class::System)?, load))
        };
        let mix: Option<Vec<_>> = said.split(',').map(part).collect();
        let mix = mix.filter(|mix| mix.iter().map(|(_, load)| load).sum::<f64>() > 0.0);
        mix.with_context(|| {
            format!("--classes is a list like interactive=0.2,default=0.3,batch=2, not {said:?}")
        })
    }

    /// What is offered, in times of load 1.
    fn offered(&self, setting: &Setting) -> f64 {
        match self.classes {
            Some(_) => setting.mix.iter().map(|(_, load)| load).sum(),
            None => self.load,
        }
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

/// The largest load under which nearly all are in time, by policy.
fn sustained(setting: &Setting, trace: &[Recorded], one: Capacity, policies: &[Name]) -> Vec<(Name, f64)> {
    std::thread::scope(|scope| {
        let seek = |&policy| (policy, scope.spawn(move || capacity::sustained(setting, trace, policy, one)));
        let sought: Vec<_> = policies.iter().map(seek).collect();
        sought.into_iter().filter_map(|(policy, sought)| Some((policy, sought.join().ok()?))).collect()
    })
}

/// How long requests arrive before they are counted, and then.
pub(crate) fn spans(duration: f64) -> (Duration, Duration) {
    let warm_up = WARM_UP.min(duration / 3.0);
    (Duration::from_secs_f64(warm_up), Duration::from_secs_f64(duration - warm_up))
}

/// Who sends requests, by the word for it.
pub(crate) fn users(word: &str) -> anyhow::Result<Users> {
    match word {
        "zipf" => Ok(Users::Zipf),
        "noisy" => Ok(Users::Noisy),
        "jobs" => Ok(Users::Jobs),
        other => anyhow::bail!("--users is zipf, noisy or jobs, not {other:?}"),
    }
}

/// Simulates and prints what came of it.
///
/// # Errors
/// When the arguments make no sense or the trace cannot be read.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (setting, policies) = (args.setting()?, args.policies()?);
    let rows = trace::read(&args.trace)?;
    let trace: Vec<Recorded> = rows.iter().map(Recorded::from).collect();
    let one = capacity::find(&setting, &trace);
    anyhow::ensure!(one.requests > 0.0, "these engines complete no request of this trace");
    let load = args.offered(&setting);
    let rate = one.requests * load;
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
    let sustained = if args.sustained { sustained(&setting, &trace, one, &policies) } else { Vec::new() };
    let mut out = Vec::new();
    if args.json {
        let mut list: Vec<Value> = Vec::new();
        for (policy, report) in &reports {
            let mut object = serde_json::to_value(report)?;
            object["policy"] = json!(policy.as_str());
            if let Some((_, load)) = sustained.iter().find(|(name, _)| name == policy) {
                object["sustained_load"] = json!(load);
            }
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
            object["load"] = json!(load);
            object["load_1_rps"] = json!(one.requests);
            object["capacity_tps"] = json!(one.tokens);
        }
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
    } else {
        table::write(
            &mut out,
            &table::Run {
                args,
                load,
                setting: &setting,
                one,
                bound,
                stretched: workload.stretched,
                sustained,
            },
            &reports,
        )?;
    }
    io::stdout().lock().write_all(&out)?;
    Ok(ExitCode::SUCCESS)
}
