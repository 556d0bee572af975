//! A replay that is judged as a simulation is: the same requests at the same moments, with the class that each has in
//! its header and the key of its user, and what came of them by the same definitions.

use super::call::{Ending, Fault, Outcome};
use crate::{simulate as simulated, trace::Row};
use anyhow::Context;
use http::StatusCode;
use secrecy::SecretString;
use simulate::{
    Ended, Fate, Served, Setting,
    judge::{self, Report},
    workload::{Recorded, Workload},
};
use simulator::Profile;
use std::{fs, path::PathBuf, time::Duration};

/// What makes a replay comparable with `tollgate simulate`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Requests a second, in the place of --speed: sends and judges what `tollgate simulate` simulates with the same
    /// --users, --seed, --duration, --settle and --profile.
    #[arg(long, conflicts_with_all = ["speed", "hangup", "limit"], requires = "keys")]
    rate: Option<f64>,
    /// How requests are divided among users: zipf (100) or noisy (16, of which one sends half).
    #[arg(long, default_value = "zipf")]
    users: String,
    /// File with an API key of each of these users, one a line.
    #[arg(long)]
    keys: Option<PathBuf>,
    /// Seconds for which requests go on arriving after --duration; what is not answered by then is late.
    #[arg(long, default_value_t = 600.0)]
    settle: f64,
    /// What the engines are like: it says which prompts are promised more time.
    #[arg(long, default_value = "reference", value_parser = Profile::named)]
    profile: Profile,
}

/// What is sent, and what came of it so far.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) workload: Workload,
    pub(super) keys: Vec<SecretString>,
    fates: Vec<Fate>,
    served: Served,
}

impl Options {
    /// What is to be judged, when anything is.
    pub(super) fn judged(
        &self,
        rows: &[Row],
        seed: u64,
        duration: Option<f64>,
    ) -> anyhow::Result<Option<Judged>> {
        let (Some(rate), Some(keys)) = (self.rate, &self.keys) else { return Ok(None) };
        anyhow::ensure!(rate.is_finite() && rate > 0.0, "--rate must be greater than 0");
        anyhow::ensure!((0.0..=86_400.0).contains(&self.settle), "--settle counts seconds, from 0 to 86400");
        let duration = duration.filter(|duration| (1.0..=86_400.0).contains(duration));
        let (warm_up, counted) = simulated::spans(duration.context("--rate needs a --duration, in seconds")?);
        let setting = Setting {
            warm_up,
            counted,
            settle: Duration::from_secs_f64(self.settle),
            users: simulated::users(&self.users)?,
            seed,
            ..Setting::new(self.profile)
        };
        let recorded: Vec<Recorded> = rows.iter().map(Recorded::from).collect();
        let workload = setting.workload(&recorded, rate);
        let text = fs::read_to_string(keys).with_context(|| format!("cannot read {}", keys.display()))?;
        let keys: Vec<SecretString> = text.split_whitespace().map(SecretString::from).collect();
        let enough = keys.len() >= workload.users;
        anyhow::ensure!(enough, "--keys has {} keys for {} users", keys.len(), workload.users);
        let fates = vec![Fate::default(); workload.offered.len()];
        let served = Served::new(&workload);
        Ok(Some(Judged { workload, keys, fates, served }))
    }
}

impl Judged {
    /// Notes how a request ended.
    pub(super) fn hear(&mut self, outcome: &Outcome) {
        let Some(offered) = self.workload.offered.get(outcome.row) else { return };
        let Some(fate) = self.fates.get_mut(outcome.row) else { return };
        let at = |since: Duration| offered.at + since;
        // The first event says the role, together with the first token.
        let made = outcome.events.saturating_sub(1);
        *fate = Fate {
            first: outcome.first_token.map(at),
            last: outcome.last_token.map(at).unwrap_or_default(),
            made,
            done: matches!(outcome.ending, Ending::Finished(_)),
            refused: refused(outcome).map(|reason| (at(outcome.end), reason)),
        };
        let mut first = true;
        for (&second, &events) in &outcome.by_second {
            let tokens = events - u32::from(first);
            self.served.add(at(Duration::from_secs(second)), offered, first, tokens);
            first = false;
        }
    }

    /// What came of it all.
    pub(super) fn report(&self) -> Report {
        let ended = Ended {
            fates: self.fates.clone(),
            served: self.served.clone(),
            utilisation: None,
            preemptions: None,
        };
        judge::judge(&self.workload, &ended)
    }
}

/// A refusal before so long was one on arrival.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Why a request was refused, in the simulation's words.
fn refused(outcome: &Outcome) -> Option<&'static str> {
    match outcome.ending {
        Ending::Failed(Fault::Status(StatusCode::TOO_MANY_REQUESTS)) if outcome.end < AT_ONCE => {
            Some("on arrival")
        }
        Ending::Failed(Fault::Status(StatusCode::TOO_MANY_REQUESTS)) => Some("late"),
        Ending::Failed(Fault::Status(StatusCode::SERVICE_UNAVAILABLE)) => Some("no engine"),
        // What was still waited for in the end is late, and nobody refused it.
        Ending::Failed(Fault::Timeout) | Ending::Finished(_) | Ending::HungUp => None,
        Ending::Failed(_) => Some("failed"),
    }
}
