//! The comparison as people read it.

use super::Args;
use simulate::{Setting, bound::Bound, capacity::Capacity, judge::Report, policy::Name};
use std::io::{self, Write};

/// What was simulated.
pub(super) struct Run<'a> {
    pub(super) args: &'a Args,
    pub(super) load: f64,
    pub(super) setting: &'a Setting,
    pub(super) one: Capacity,
    pub(super) bound: Bound,
    pub(super) stretched: f64,
    pub(super) sustained: Vec<(Name, f64)>,
}

pub(super) fn write(out: &mut impl Write, run: &Run<'_>, reports: &[(Name, Report)]) -> io::Result<()> {
    let Run { args, load, setting, one, bound, stretched, sustained } = run;
    writeln!(
        out,
        "{}: load 1 on {} engines is {:.2} requests/s, C = {:.0} tokens/s",
        args.trace.display(),
        setting.engines,
        one.requests,
        one.tokens
    )?;
    writeln!(
        out,
        "load {load}: {:.1} requests/s for {:.0} s after {:.0} s of warm-up; of {:.1} % the prompt alone takes a third of what \
         its class is promised, so they are promised three times that\n",
        one.requests * load,
        setting.counted.as_secs_f64(),
        setting.warm_up.as_secs_f64(),
        stretched * 100.0
    )?;
    writeln!(
        out,
        "{:<16} {:>6} {:>7} {:>6} {:>17} {:>23} {:>6} {:>6} {:>6} {:>6} {:>7} {:>5} {:>6}",
        "policy",
        "good/s",
        "tokens",
        "of all",
        "int/def/batch",
        "by quarter of prompts",
        "Jain",
        "60 s",
        "1st",
        "late",
        "wait s",
        "busy",
        "done/C"
    )?;
    for (name, report) in reports {
        let class = |class: &str| report.attainment_by_class.get(class).copied().unwrap_or(0.0);
        let quarter = report.attainment_by_quartile;
        writeln!(
            out,
            "{:<16} {:>6.1} {:>7.0} {:>6.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>5.2} {:>6.3} {:>6.3} {:>6.3} {:>6.3} \
             {:>7.1} {:>5.2} {:>6.3}",
            name.as_str(),
            report.goodput_rps,
            report.goodput_tps,
            report.attainment,
            class("interactive"),
            class("default"),
            class("batch"),
            quarter[0],
            quarter[1],
            quarter[2],
            quarter[3],
            report.jain,
            report.jain_60s,
            report.first_user,
            report.late,
            report.max_wait_s,
            report.utilisation.unwrap_or_default(),
            report.completed_tps / one.tokens
        )?;
    }
    writeln!(out, "{:<16} {:>6.1} {:>7.0}\n", "bound", bound.requests, bound.tokens)?;
    for (name, load) in sustained {
        writeln!(out, "{:<16} 95 % are in time up to load {load:.2}", name.as_str())?;
    }
    times(out, reports)?;
    refused(out, reports)
}

fn times(out: &mut impl Write, reports: &[(Name, Report)]) -> io::Result<()> {
    writeln!(
        out,
        "{:<16} {:<12} {:>27} {:>24}",
        "", "class", "first token, ms: p50 95 99", "per token: p50 95 99"
    )?;
    for (name, report) in reports {
        for (class, first) in &report.ttft_ms {
            let token = report.tpot_ms.get(class).copied().unwrap_or_default();
            writeln!(
                out,
                "{:<16} {class:<12} {:>9.0} {:>8.0} {:>8.0} {:>8.1} {:>7.1} {:>7.1}",
                name.as_str(),
                first.p50,
                first.p95,
                first.p99,
                token.p50,
                token.p95,
                token.p99
            )?;
        }
    }
    writeln!(out)
}

fn refused(out: &mut impl Write, reports: &[(Name, Report)]) -> io::Result<()> {
    for (name, report) in reports.iter().filter(|(_, report)| !report.refused.is_empty()) {
        let reasons = report.refused.iter().map(|(reason, part)| format!("{reason} {:.1} %", part * 100.0));
        writeln!(out, "{:<16} refused: {}", name.as_str(), reasons.collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}
