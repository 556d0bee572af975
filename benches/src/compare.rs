//! Side by side: the same load on several targets in turns, and what each of them adds to the first.
//!
//! Targets take turns in every round, so a machine that is slower for a while is slower for all of them. First each is
//! driven as hard as it goes, which gives requests a second and processor time for each; then at one rate that all can
//! take, which gives latency.

use crate::{
    pace::Pace,
    run::{Load, Outcome, run},
    tally::{Tally, micros},
    target::{Address, Credentials, Mode},
};
use hdrhistogram::Histogram;
use std::{
    io::{self, Write},
    time::Duration,
};

/// Something to be measured; the first one is what the others are compared with.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name in the table.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// Its processes; none when their cost does not matter.
    pub pids: Vec<u32>,
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is sent to every target.
    pub credentials: Credentials,
    /// What kind.
    pub mode: Mode,
    /// Requests a second at which latency is measured.
    pub rate: f64,
    /// At once.
    pub connections: usize,
    /// Turns that every target has.
    pub rounds: usize,
    /// Length of each half of a turn.
    pub length: Duration,
}

/// What was found of one target.
#[derive(Debug)]
pub struct Finding {
    /// The target's name.
    pub name: String,
    saturated: Vec<Outcome>,
    paced: Tally,
}

/// Measures all targets.
///
/// # Errors
/// When one of them cannot be reached, or answers nothing well.
pub fn compare(targets: &[Target], plan: &Plan) -> anyhow::Result<Vec<Finding>> {
    let none = |target: &Target| {
        Ok(Finding { name: target.name.clone(), saturated: Vec::new(), paced: Tally::new()? })
    };
    let mut findings = targets.iter().map(none).collect::<anyhow::Result<Vec<_>>>()?;
    for target in targets {
        run(&plan.load(target, Pace::Closed, plan.length / 5))?;
    }
    for _ in 0..plan.rounds {
        for (target, finding) in targets.iter().zip(&mut findings) {
            let saturated = run(&plan.load(target, Pace::Closed, plan.length))?;
            anyhow::ensure!(
                saturated.tally.answered() > 0,
                "{} answered nothing well: {:?}",
                target.name,
                saturated.tally.failures
            );
            finding.saturated.push(saturated);
            let paced = run(&plan.load(target, Pace::Open { rate: plan.rate }, plan.length))?;
            finding.paced.add(&paced.tally)?;
        }
    }
    Ok(findings)
}

impl Plan {
    fn load(&self, target: &Target, pace: Pace, length: Duration) -> Load {
        Load {
            address: target.address.clone(),
            credentials: self.credentials.clone(),
            mode: self.mode,
            pace,
            connections: self.connections,
            length,
            pids: target.pids.clone(),
        }
    }
}

impl Finding {
    /// Requests a second when driven as hard as it goes, in the middle one of the rounds.
    #[must_use]
    pub fn per_second(&self) -> Option<f64> {
        median(self.saturated.iter().map(Outcome::per_second))
    }

    /// Processor time for each of them, in microseconds.
    #[must_use]
    pub fn cpu_micros(&self) -> Option<f64> {
        median(self.saturated.iter().filter_map(Outcome::cpu_micros))
    }

    /// Cores it kept busy meanwhile: below 1, something else was the limit.
    #[must_use]
    pub fn cores(&self) -> Option<f64> {
        median(self.saturated.iter().filter_map(Outcome::cores))
    }

    /// Requests that went wrong in either half.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.paced.failed() + self.saturated.iter().map(|outcome| outcome.tally.failed()).sum::<u64>()
    }

    /// Latency at the common rate, in microseconds: 50th, 99th and 99.9th percentile.
    #[must_use]
    pub fn latency(&self) -> [f64; 3] {
        percentiles(&self.paced.whole)
    }

    /// The same to the first byte of the body.
    #[must_use]
    pub fn first_byte(&self) -> [f64; 3] {
        percentiles(&self.paced.first_byte)
    }
}

/// Writes one table in Markdown.
///
/// # Errors
/// When it cannot be written.
pub fn write(out: &mut impl Write, plan: &Plan, findings: &[Finding]) -> io::Result<()> {
    let Plan { mode, rate, connections, rounds, length, .. } = plan;
    writeln!(
        out,
        "### {}: {connections} connections, {rounds} rounds of {} s, latency at {rate} requests/s\n",
        mode.as_str(),
        length.as_secs_f64(),
    )?;
    writeln!(
        out,
        "| target | requests/s | CPU µs per request | cores busy | latency µs p50 / p99 / p99.9 \
         | added µs p50 / p99 / p99.9 | added µs to the first byte | errors |\n|---|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    let bare = findings.first().map(|bare| (bare.latency(), bare.first_byte()));
    for (place, finding) in findings.iter().enumerate() {
        let (latency, first_byte) = (finding.latency(), finding.first_byte());
        let bare = bare.filter(|_| place > 0);
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            finding.name,
            figure(finding.per_second(), 0),
            figure(finding.cpu_micros(), 1),
            figure(finding.cores(), 2),
            triple(Some(latency)),
            triple(bare.map(|(bare, _)| added(latency, bare))),
            triple(bare.map(|(_, bare)| added(first_byte, bare))),
            finding.errors(),
        )?;
    }
    writeln!(out)
}

fn percentiles(histogram: &Histogram<u64>) -> [f64; 3] {
    [50.0, 99.0, 99.9].map(|percentile| micros(histogram, percentile))
}

fn added(values: [f64; 3], bare: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|at| values[at] - bare[at])
}

fn triple(values: Option<[f64; 3]>) -> String {
    values.map_or_else(|| "–".to_owned(), |[p50, p99, p999]| format!("{p50:.0} / {p99:.0} / {p999:.0}"))
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{self, Answers};
    use std::{net::TcpListener, sync::Arc, thread};

    fn target(name: &str) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        thread::spawn(move || engine::serve(&listener, &Arc::new(Answers::new("m", 8)), None));
        let pids = if name == "bare" { Vec::new() } else { vec![std::process::id()] };
        Target { name: name.to_owned(), address, pids }
    }

    #[test]
    fn every_target_gets_a_row_and_only_the_first_adds_nothing() {
        let credentials = Credentials { api_key: "k".to_owned(), model: "m".to_owned() };
        let length = Duration::from_millis(300);
        let plan = Plan { credentials, mode: Mode::Stream, rate: 100.0, connections: 2, rounds: 2, length };
        let findings = compare(&[target("bare"), target("gateway")], &plan).unwrap();
        assert!(findings.iter().all(|finding| finding.errors() == 0 && finding.per_second() > Some(0.0)));

        let mut out = Vec::new();
        write(&mut out, &plan, &findings).unwrap();
        let text = String::from_utf8(out).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().skip(4).map(|row| row.split(" | ").collect()).collect();
        assert_eq!((rows[0][0], rows[0][2], rows[0][5]), ("| bare", "–", "–"), "{text}");
        assert_eq!(rows[1][0], "| gateway");
        assert!(rows[1][2] != "–" && rows[1][5].contains(" / "), "{text}");
    }

    #[test]
    fn the_middle_round_counts() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median(std::iter::empty()), None);
    }
}
