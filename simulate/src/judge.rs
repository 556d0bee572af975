//! What came of a run.
//!
//! A request met its objective when its first token came within its patience and its last one within that and its
//! promised time for each further token; of class batch, when the last one came in time. What was refused, left or
//! late missed it, and all that was offered counts.

use crate::{
    fairness::jain,
    workload::{Offered, Workload},
    world::{Ended, Fate, OUTPUT_WEIGHT, WINDOW},
};
use schedule::Class;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Times in milliseconds below which half, 95 and 99 of a hundred are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them.
    pub p50: f64,
    /// 95 of a hundred.
    pub p95: f64,
    /// 99 of a hundred.
    pub p99: f64,
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Requests a second that were offered.
    pub offered_rps: f64,
    /// Requests a second that met their objective.
    pub goodput_rps: f64,
    /// Tokens a second, of prompts and answers, of those.
    pub goodput_tps: f64,
    /// Tokens a second that were completed, in time or not.
    pub completed_tps: f64,
    /// Part of the offered requests that met their objective.
    pub attainment: f64,
    /// The same by class: interactive, default, batch.
    pub attainment_by_class: BTreeMap<&'static str, f64>,
    /// The same by quartile of the length of prompts, the shortest first.
    pub attainment_by_quartile: [f64; 4],
    /// Offered requests that were answered, but late.
    pub late: f64,
    /// Time to the first token by class, ms.
    pub ttft_ms: BTreeMap<&'static str, Percentiles>,
    /// Time between tokens of answers of 16 and more, by class, ms.
    pub tpot_ms: BTreeMap<&'static str, Percentiles>,
    /// 99 of a hundred of those that were answered, whatever the class, ms.
    pub ttft_p99_ms: f64,
    /// The same between tokens.
    pub tpot_p99_ms: f64,
    /// Jain's index over users of the tokens served, an answer's counting twice, against their max-min share.
    pub jain: f64,
    /// The same of requests that met their objective.
    pub jain_met: f64,
    /// The mean of the same index as `jain`, over windows of 60 seconds.
    pub jain_60s: f64,
    /// The first user's part of all service; the noisy one's.
    pub first_user: f64,
    /// Part of the other users' tokens that met their objective.
    pub others_met: f64,
    /// The longest that anybody waited for a start or a refusal, seconds.
    pub max_wait_s: f64,
    /// Part of the offered requests refused, by reason.
    pub refused: BTreeMap<&'static str, f64>,
    /// Part of the engines' time that was busy, where that is known.
    pub utilisation: Option<f64>,
    /// Sequences that engines threw out and began anew, where that is known.
    pub preemptions: Option<u64>,
}

/// Answers with fewer tokens say nothing of the time between them.
const TELLING: u32 = 16;

/// Judges what became of the counted requests.
#[must_use]
pub fn judge(workload: &Workload, ended: &Ended) -> Report {
    let counted: Vec<(&Offered, &Fate)> =
        workload.offered.iter().zip(&ended.fates).filter(|(offered, _)| workload.counts(offered)).collect();
    let (all, seconds) = (counted.len().max(1) as f64, workload.seconds());
    let part = |of: f64| of / all;
    let met: Vec<&(&Offered, &Fate)> = counted.iter().filter(|(offered, fate)| met(offered, fate)).collect();
    let done = || counted.iter().filter(|(_, fate)| fate.done);
    let mut refused = BTreeMap::new();
    for (_, reason) in counted.iter().filter_map(|(_, fate)| fate.refused) {
        *refused.entry(reason).or_insert(0.0) += part(1.0);
    }
    let shares = Shares::of(workload, &counted, ended.served.windows());
    let end = workload.settled;
    Report {
        offered_rps: counted.len() as f64 / seconds,
        goodput_rps: met.len() as f64 / seconds,
        goodput_tps: met.iter().map(|(offered, _)| tokens(offered)).fold(0.0, std::ops::Add::add) / seconds,
        completed_tps: done().map(|(offered, _)| tokens(offered)).fold(0.0, std::ops::Add::add) / seconds,
        attainment: part(met.len() as f64),
        attainment_by_class: by_class(|class| attainment(&counted, |offered| offered.class == class)),
        attainment_by_quartile: quartiles(&counted),
        late: part(done().filter(|(offered, fate)| !self::met(offered, fate)).count() as f64),
        ttft_ms: by_class(|class| percentiles(times(&counted, Some(class), first_token))),
        tpot_ms: by_class(|class| percentiles(times(&counted, Some(class), per_token))),
        ttft_p99_ms: percentiles(times(&counted, None, first_token)).p99,
        tpot_p99_ms: percentiles(times(&counted, None, per_token)).p99,
        jain: jain(&shares.served, &shares.demanded),
        jain_met: jain(&shares.met, &shares.demanded),
        jain_60s: shares.windows,
        first_user: shares.served[0] / shares.served.iter().sum::<f64>().max(1e-9),
        others_met: shares.met[1..].iter().sum::<f64>() / shares.demanded[1..].iter().sum::<f64>().max(1e-9),
        max_wait_s: counted.iter().map(|(offered, fate)| waited(offered, fate, end)).fold(0.0, f64::max),
        refused,
        utilisation: ended.utilisation.map(|busy| busy.min(1.0)),
        preemptions: ended.preemptions,
    }
}

fn met(offered: &Offered, fate: &Fate) -> bool {
    let Some(first) = fate.first.filter(|_| fate.done) else { return false };
    let since = |at: Duration| at.saturating_sub(offered.at).as_secs_f64();
    if offered.class == Class::Batch {
        return since(fate.last) <= offered.patience;
    }
    let all = f64::from(offered.output.saturating_sub(1)).mul_add(offered.per_token, offered.patience);
    since(first) <= offered.patience && since(fate.last) <= all
}

fn tokens(offered: &Offered) -> f64 {
    f64::from(offered.prompt) + f64::from(offered.output)
}

fn by_class<T>(of: impl Fn(Class) -> T) -> BTreeMap<&'static str, T> {
    let classes = [Class::Interactive, Class::Default, Class::Batch];
    classes.into_iter().map(|class| (class.as_str(), of(class))).collect()
}

fn attainment(counted: &[(&Offered, &Fate)], which: impl Fn(&Offered) -> bool) -> f64 {
    let (mut all, mut good) = (0.0, 0.0);
    for (offered, fate) in counted.iter().filter(|(offered, _)| which(offered)) {
        all += 1.0;
        good += f64::from(u8::from(met(offered, fate)));
    }
    if all > 0.0 { good / all } else { 0.0 }
}

fn quartiles(counted: &[(&Offered, &Fate)]) -> [f64; 4] {
    let mut prompts: Vec<u32> = counted.iter().map(|(offered, _)| offered.prompt).collect();
    prompts.sort_unstable();
    let limit = |quarter: usize| prompts.get(prompts.len() * quarter / 4).copied().unwrap_or(u32::MAX);
    let limits = [limit(1), limit(2), limit(3)];
    let quartile = |offered: &Offered| limits.iter().filter(|limit| offered.prompt > **limit).count();
    std::array::from_fn(|wanted| attainment(counted, |offered| quartile(offered) == wanted))
}

fn first_token(offered: &Offered, fate: &Fate) -> Option<f64> {
    Some(fate.first?.saturating_sub(offered.at).as_secs_f64() * 1e3)
}

fn per_token(_: &Offered, fate: &Fate) -> Option<f64> {
    let first = fate.first.filter(|_| fate.made >= TELLING)?;
    Some(fate.last.saturating_sub(first).as_secs_f64() * 1e3 / f64::from(fate.made - 1))
}

fn times(
    counted: &[(&Offered, &Fate)],
    class: Option<Class>,
    of: fn(&Offered, &Fate) -> Option<f64>,
) -> Vec<f64> {
    let counted = counted.iter().filter(|(offered, _)| class.is_none_or(|class| offered.class == class));
    counted.filter_map(|(offered, fate)| of(offered, fate)).collect()
}

fn percentiles(mut times: Vec<f64>) -> Percentiles {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or(0.0);
    Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

fn waited(offered: &Offered, fate: &Fate, end: Duration) -> f64 {
    let until = fate.first.or_else(|| fate.refused.map(|refused| refused.0)).unwrap_or(end);
    until.saturating_sub(offered.at).as_secs_f64()
}

/// What users demanded and got.
struct Shares {
    demanded: Vec<f64>,
    served: Vec<f64>,
    met: Vec<f64>,
    windows: f64,
}

impl Shares {
    fn of(workload: &Workload, counted: &[(&Offered, &Fate)], served: &[Vec<f64>]) -> Self {
        let none = || vec![0.0; workload.users];
        let (mut demanded, mut met) = (none(), none());
        let mut by_window = vec![none(); served.len()];
        for (offered, fate) in counted {
            let wanted = OUTPUT_WEIGHT.mul_add(f64::from(offered.output), f64::from(offered.prompt));
            demanded[offered.user] += wanted;
            met[offered.user] += if self::met(offered, fate) { wanted } else { 0.0 };
            let window = (offered.at.saturating_sub(workload.counted.0).as_secs_f64() / WINDOW) as usize;
            if let Some(demanded) = by_window.get_mut(window) {
                demanded[offered.user] += wanted;
            }
        }
        let indexes = served.iter().zip(&by_window).map(|(served, demanded)| jain(served, demanded));
        let windows = indexes.sum::<f64>() / served.len().max(1) as f64;
        let served = (0..workload.users).map(|user| served.iter().map(|window| window[user]).sum()).collect();
        Self { demanded, served, met, windows }
    }
}
