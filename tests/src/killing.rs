//! A replay through the gateway while its two engines are killed in turns, stopped or drained, and come back.
//!
//! What each client saw (the replay's log) is held against the ledger afterwards. A request of which no byte had come
//! must not have noticed anything; one that had begun may have been cut off, and must have been told so.

use crate::{
    LOOK, PATIENCE,
    http::Client,
    ledger::{self, Record},
    process::Process,
    subject::{Blow, Subject},
    suite::Suite,
    until,
};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, fs, path::Path, path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// When the next thing happens.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// After so long.
    In(Duration),
    /// When so many more requests have ended.
    Ended(usize),
}

/// What is done.
#[derive(Debug)]
pub struct Killing<'a> {
    /// What is done to engines, one after the other and then again.
    pub blows: &'a [Blow],
    /// Flags of the replay that say what is sent.
    pub replay: &'a str,
    /// Settings of the gateway.
    pub settings: &'a [(&'a str, &'a str)],
    /// From the moment at which the gateway uses both engines to the end of one.
    pub between: Moment,
    /// How long an engine is away.
    pub away: Moment,
}

/// What a client saw of a request: a line of the replay's log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Line {
    request_id: String,
    status: Option<u16>,
    finished: bool,
    error: Option<String>,
    done: bool,
    events: u64,
    sent_tokens: u64,
    asked_tokens: u64,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Found {
    /// Requests that were sent.
    pub requests: usize,
    /// Times that an engine was struck.
    pub killed: usize,
    /// Requests that were answered whole, with tokens as asked for, and are in the ledger so.
    pub finished: usize,
    /// Their tokens.
    pub finished_tokens: u64,
    /// Of these, requests that an engine failed and another one answered.
    pub moved: usize,
    /// Requests that were cut off after their first byte, and told so.
    pub cut: usize,
    /// Tokens of prompts of those, as they were sent, and by how many the ledger is off, summed up over them.
    pub cut_prompts: (u64, u64),
    /// Events of those that clients got, and by how many tokens the ledger is off.
    pub cut_answers: (u64, u64),
    /// The most by which one of them is off: part of its prompt, tokens of its answer.
    pub cut_most: (f64, u64),
    /// First tokens that each engine made since it was last started.
    pub since_last_start: [u64; 2],
    /// Whatever must not be, a sentence each.
    pub faults: Vec<String>,
}

/// By how much the ledger may be off for a request that was cut off: part of its prompt, which nobody counted, and events
/// that hold no token, the first and the last.
pub const BOUND: (f64, u64) = (0.1, 2);

impl Killing<'_> {
    /// Does it to two engines.
    pub async fn run(&self, mut engines: [Subject; 2]) -> Found {
        let urls = format!("{},{}", engines[0].url(), engines[1].url());
        let settings = [&[("TOLLGATE_ENGINES", urls.as_str())], self.settings].concat();
        let suite = Suite::start(&settings).await;
        let owner = suite.owner();
        until("a model that can be used", async || {
            owner.get("/v1/models").await.json()["data"].as_array().filter(|data| !data.is_empty()).map(drop)
        })
        .await;
        let folder = TempDir::new().unwrap();
        let log = folder.path().join("log.jsonl");
        let mut replay = self.replay(&suite, &folder, &log);
        let killed = self.kill(&mut engines, &owner, &mut replay, &log).await;
        let status = replay.ended().await;
        let (lines, mut found) = (lines(&log), Found { killed, ..Found::default() });
        if !status.success() || lines.is_empty() {
            found.faults.push(format!("the replay ended with {status}: {}", replay.log()));
        }
        found.compare(&lines, &settled(&owner, &lines).await);
        for (engine, made) in engines.iter().zip(&mut found.since_last_start) {
            *made = engine.begun().await;
        }
        found
    }

    fn replay(&self, suite: &Suite, folder: &TempDir, log: &Path) -> Process {
        let (data, log) = (suite.data().display().to_string(), log.display().to_string());
        let mut arguments = vec!["replay", "--data-dir", &data, "--log", &log];
        arguments.extend(self.replay.split_whitespace());
        Process::start("replay", &arguments, &[], folder.path())
    }

    /// Strikes one engine after the other, until the replay has ended. Returns how often.
    async fn kill(
        &self,
        engines: &mut [Subject; 2],
        owner: &Client,
        replay: &mut Process,
        log: &Path,
    ) -> usize {
        for killed in 0.. {
            both_are_used(owner).await;
            if self.between.comes(replay, log).await.is_none() {
                return killed;
            }
            let (engine, blow) = (&mut engines[killed % 2], self.blows[killed % self.blows.len()]);
            engine.strike(blow);
            let goes_on = self.away.comes(replay, log).await;
            engine.heal(blow).await;
            if goes_on.is_none() {
                return killed + 1;
            }
        }
        0
    }
}

impl Moment {
    /// Waits for it; none when the replay ends before.
    async fn comes(self, replay: &mut Process, log: &Path) -> Option<()> {
        let came = async {
            match self {
                Self::In(time) => sleep(time).await,
                Self::Ended(more) => {
                    let before = ended(log);
                    until("requests to end", async || (ended(log) >= before + more).then_some(())).await;
                }
            }
        };
        tokio::select! {
            biased;
            _ = replay.over() => None,
            () = came => Some(()),
        }
    }
}

/// Waits until the gateway uses both engines.
async fn both_are_used(owner: &Client) {
    let end = Instant::now() + PATIENCE;
    loop {
        let listed = owner.get("/api/v1/engines").await.data();
        let engines = listed["engines"].as_array().map_or(&[][..], Vec::as_slice);
        if engines.iter().filter(|engine| engine["state"] == "ENGINE_STATE_HEALTHY").count() == 2 {
            return;
        }
        assert!(Instant::now() < end, "an engine is not used again: {listed}");
        sleep(LOOK).await;
    }
}

fn ended(log: &Path) -> usize {
    // It is there once the replay has begun.
    fs::read(log).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

fn lines(log: &Path) -> Vec<Line> {
    fs::read_to_string(log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The ledger by request, once everything that an engine had is in it.
async fn settled(owner: &Client, lines: &[Line]) -> BTreeMap<String, Record> {
    let wanted: Vec<&str> =
        lines.iter().filter(|line| line.status == Some(200)).map(|line| line.request_id.as_str()).collect();
    until("every request in the ledger", async || {
        let records = ledger::by_request(ledger::records(owner).await);
        wanted.iter().all(|id| records.contains_key(*id)).then_some(records)
    })
    .await
}

impl Found {
    fn compare(&mut self, lines: &[Line], records: &BTreeMap<String, Record>) {
        self.requests = lines.len();
        for line in lines {
            let fault = match (records.get(&line.request_id), line.status) {
                (_, status) if status != Some(200) => {
                    let (error, status) = (line.error.as_deref().unwrap_or("nothing"), status.unwrap_or(0));
                    Some(format!("got {error} ({status}) before its first byte"))
                }
                (None, _) => Some("is not in the ledger".to_owned()),
                (Some(record), _) if line.finished => self.whole(line, record),
                (Some(record), _) => self.broken(line, record),
            };
            self.faults.extend(fault.map(|fault| format!("{} {fault}", line.request_id)));
        }
        if self.killed > 0 && self.cut == 0 && self.moved == 0 {
            self.faults.push("no engine had anything to do when it was struck".to_owned());
        }
    }

    fn whole(&mut self, line: &Line, record: &Record) -> Option<String> {
        let asked = (Some(line.sent_tokens), Some(line.asked_tokens));
        if (line.prompt_tokens, line.completion_tokens) != asked {
            return Some(format!("was answered as if whole: {line:?}"));
        }
        let recorded = (record.prompt_tokens, record.completion_tokens);
        if record.end() != "finished" || recorded != (line.sent_tokens, line.asked_tokens) {
            return Some(format!("was finished, but the ledger says {record:?}"));
        }
        self.finished += 1;
        self.finished_tokens += line.sent_tokens + line.asked_tokens;
        self.moved += usize::from(record.attempt > 1);
        None
    }

    fn broken(&mut self, line: &Line, record: &Record) -> Option<String> {
        let told = line.error.as_deref().is_some_and(|error| error.starts_with("in_band") || error == "cut");
        if line.done || !told || line.events == 0 {
            return Some(format!("was cut off and not told so: {line:?}"));
        }
        if record.end() != "failed estimated" {
            return Some(format!("was cut off, but the ledger says {record:?}"));
        }
        let off =
            (line.sent_tokens.abs_diff(record.prompt_tokens), line.events.abs_diff(record.completion_tokens));
        let part = off.0 as f64 / line.sent_tokens.max(1) as f64;
        self.cut += 1;
        self.cut_prompts = (self.cut_prompts.0 + line.sent_tokens, self.cut_prompts.1 + off.0);
        self.cut_answers = (self.cut_answers.0 + line.events, self.cut_answers.1 + off.1);
        self.cut_most = (self.cut_most.0.max(part), self.cut_most.1.max(off.1));
        // A prompt of a few words is off by the template's tokens alone.
        let within = (part <= BOUND.0 || off.0 <= 8) && off.1 <= BOUND.1;
        (!within).then(|| format!("is off by {off:?}: {line:?}, {record:?}"))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut_prompts, cut_answers, cut_most, .. } = self;
        writeln!(out, "requests                    {:>9}", self.requests)?;
        writeln!(out, "engines struck              {:>9}", self.killed)?;
        writeln!(out, "finished, ledger exact      {:>9}  ({} tokens)", self.finished, self.finished_tokens)?;
        writeln!(out, "  of these moved            {:>9}  (their first engine failed them)", self.moved)?;
        writeln!(out, "cut off and told so         {:>9}", self.cut)?;
        writeln!(
            out,
            "  tokens of their prompts   {:>9}  (the ledger is off by {})",
            cut_prompts.0, cut_prompts.1
        )?;
        writeln!(
            out,
            "  events of their answers   {:>9}  (the ledger is off by {})",
            cut_answers.0, cut_answers.1
        )?;
        writeln!(
            out,
            "  off at most by            {:>8.1} % of a prompt (bound {:.0} %), {} tokens of an answer (bound {})",
            cut_most.0 * 100.0,
            BOUND.0 * 100.0,
            cut_most.1,
            BOUND.1
        )?;
        let [first, second] = self.since_last_start;
        writeln!(out, "begun since their last start{first:>9} and {second}")?;
        writeln!(out, "faults                      {:>9}", self.faults.len())?;
        self.faults.iter().take(20).try_for_each(|fault| writeln!(out, "  {fault}"))
    }
}

/// A recording of so many requests, so many a second, with prompts and answers of different lengths.
#[must_use]
pub fn recording(folder: &Path, requests: u64, per_second: u64) -> PathBuf {
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    for number in 0..requests {
        let millis = number * 1_000 / per_second;
        let (minute, second, rest) = (millis / 60_000, millis / 1_000 % 60, millis % 1_000);
        let (prompt, answer) = (40 + number * 7_919 % 1_500, 5 + number * 104_729 % 120);
        text += &format!("2026-01-01 00:{minute:02}:{second:02}.{rest:03},{prompt},{answer}\n");
    }
    let path = folder.join("recording.csv");
    fs::write(&path, text).unwrap();
    path
}
