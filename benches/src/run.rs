//! One run: so many connections, each on a thread of its own, share one schedule.

use crate::{
    connection::Connection,
    cpu,
    pace::{Pace, Schedule, Turn, wait_until},
    tally::Tally,
    target::{Address, Credentials, Mode, Prepared},
};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

/// What to send, where and how fast.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub address: Address,
    /// As whom, and for which model.
    pub credentials: Credentials,
    /// What.
    pub mode: Mode,
    /// How fast.
    pub pace: Pace,
    /// How many at once, at most.
    pub connections: usize,
    /// For how long.
    pub length: Duration,
    /// The processes whose processor time is charged to the requests.
    pub pids: Vec<u32>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Latencies and failures.
    pub tally: Tally,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Processor time that the processes under test spent meanwhile; none when no process was named.
    pub cpu: Option<Duration>,
}

impl Outcome {
    /// Requests answered well, a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        count(self.tally.answered()) / self.elapsed.as_secs_f64()
    }

    /// Processor time for each request answered well, in microseconds.
    #[must_use]
    pub fn cpu_micros(&self) -> Option<f64> {
        let answered = self.tally.answered();
        (answered > 0).then(|| self.cpu.map(|spent| spent.as_secs_f64() * 1e6 / count(answered))).flatten()
    }

    /// The cores that the processes under test kept busy.
    #[must_use]
    pub fn cores(&self) -> Option<f64> {
        self.cpu.map(|spent| spent.as_secs_f64() / self.elapsed.as_secs_f64())
    }

    /// The report as one object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "answered": self.tally.answered(),
            "errors": self.tally.failed(),
            "errors_by_kind": self.tally.failures,
            "seconds": self.elapsed.as_secs_f64(),
            "requests_per_second": self.per_second(),
            "latency_us": crate::tally::percentiles(&self.tally.whole),
            "first_byte_us": crate::tally::percentiles(&self.tally.first_byte),
            "cpu_us_per_request": self.cpu_micros(),
            "cores_busy": self.cores(),
        })
    }
}

/// Runs it.
///
/// # Errors
/// When the target cannot be reached at the start, or a named process does not exist.
pub fn run(load: &Load) -> anyhow::Result<Outcome> {
    let open = || Connection::open(&load.address, load.mode);
    let connections = (0..load.connections).map(|_| open()).collect::<anyhow::Result<Vec<_>>>()?;
    let prepared = Prepared::new(load.mode, &load.address, &load.credentials);
    let before = cpu::spent(&load.pids)?;
    let start = Instant::now();
    let schedule = Schedule::new(load.pace, start, load.length);
    let tallies = thread::scope(|scope| {
        let each = connections.into_iter().map(|connection| {
            let (prepared, schedule) = (prepared.clone(), &schedule);
            scope.spawn(move || follow(schedule, connection, prepared))
        });
        let threads: Vec<_> = each.collect();
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let elapsed = start.elapsed();
    let spent = cpu::spent(&load.pids)?.saturating_sub(before);
    let mut tally = Tally::new()?;
    tallies.iter().try_for_each(|one| tally.add(one))?;
    Ok(Outcome { tally, elapsed, cpu: (!load.pids.is_empty()).then_some(spent) })
}

fn follow(schedule: &Schedule, mut connection: Connection, mut prepared: Prepared) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    loop {
        match schedule.turn(Instant::now()) {
            Turn::Over => return Ok(tally),
            Turn::Late => tally.fail("not sent in time".to_owned()),
            Turn::Send { number, due } => {
                let request = prepared.numbered(number);
                wait_until(due);
                tally.count(due, connection.ask(request));
            }
        }
    }
}

fn join(thread: thread::ScopedJoinHandle<'_, anyhow::Result<Tally>>) -> anyhow::Result<Tally> {
    thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))?
}

#[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
fn count(requests: u64) -> f64 {
    requests as f64
}

#[cfg(test)]
mod tests;
