//! What an engine is told when it starts: as command line flags (`tollgate engine --model tiny …`) or from a file.
//!
//! Flags carry vLLM's names where vLLM has them, so a command line can be moved between the two.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use crate::batching::{Limits, Speed};

/// How a simulated engine is named, how much it takes and how fast it is.
#[derive(Debug, Clone, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Names the model is served under; the first one is used in answers.
    #[arg(long, value_delimiter = ',', default_value = "tollgate-sim")]
    pub model: Vec<String>,
    /// What the engine can do: routes of the other task are not registered.
    #[arg(long, value_enum, default_value_t = Task::Generate)]
    pub task: Task,
    /// Tokens of prompt and answer together that one sequence may have.
    #[arg(long, default_value_t = 4096)]
    pub max_model_len: u32,
    /// Sequences that run at the same time; the rest waits.
    #[arg(long, default_value_t = 256)]
    pub max_num_seqs: usize,
    /// Prompt and answer tokens computed in one step; longer prompts are computed in chunks.
    #[arg(long, default_value_t = 8192)]
    pub max_num_batched_tokens: u32,
    /// Requests, waiting and running, beyond which new ones get a 503; unlimited when absent.
    #[arg(long)]
    pub max_num_queued_reqs: Option<usize>,
    /// Prompt tokens not yet computed beyond which new requests get a 503; unlimited when absent.
    #[arg(long)]
    pub max_num_queued_tokens: Option<usize>,
    /// Which waiting request is next.
    #[arg(long, value_enum, default_value_t = Policy::Fcfs)]
    pub scheduling_policy: Policy,
    /// Prompt tokens computed per second.
    #[arg(long, default_value_t = 10_000.0)]
    pub prefill_tokens_per_second: f64,
    /// Milliseconds one step takes, whatever runs in it.
    #[arg(long, default_value_t = 15.0)]
    pub decode_step_ms: f64,
    /// Microseconds each sequence adds to a step.
    #[arg(long, default_value_t = 50.0)]
    pub decode_us_per_seq: f64,
    /// How many times faster than real the engine runs: 1 is real time, 10 ten times faster, 0 as fast as it can.
    #[arg(long, default_value_t = 1.0)]
    pub time_scale: f64,
    /// Key that every path under /v1 then asks for.
    #[arg(long)]
    pub api_key: Option<SecretString>,
    /// Seconds that running requests get to finish after a stop; 0 cuts them at once.
    #[arg(long, default_value_t = 0)]
    pub shutdown_timeout: u64,
    /// Starting point for answers at a temperature above zero that name no seed of their own.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Version that /version reports.
    #[arg(long, default_value = "0.32.0")]
    pub version: String,
    /// Lets `POST /simulator/fault` make the engine misbehave; for tests.
    #[arg(long)]
    pub faults: bool,
}

/// What an engine can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Chat and completions.
    Generate,
    /// Embeddings.
    Embed,
    /// Both, which no real engine offers on one port.
    Both,
}

/// Which waiting request is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The one that came first.
    Fcfs,
    /// The one with the lowest `priority`, then the one that came first.
    Priority,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: vec!["tollgate-sim".to_owned()],
            task: Task::Generate,
            max_model_len: 4096,
            max_num_seqs: 256,
            max_num_batched_tokens: 8192,
            max_num_queued_reqs: None,
            max_num_queued_tokens: None,
            scheduling_policy: Policy::Fcfs,
            prefill_tokens_per_second: 10_000.0,
            decode_step_ms: 15.0,
            decode_us_per_seq: 50.0,
            time_scale: 1.0,
            api_key: None,
            shutdown_timeout: 0,
            seed: 0,
            version: "0.32.0".to_owned(),
            faults: false,
        }
    }
}

impl Config {
    /// The name used in answers.
    pub(crate) fn served_name(&self) -> &str {
        self.model.first().map_or("tollgate-sim", String::as_str)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_num_seqs: self.max_num_seqs.max(1),
            max_batched_tokens: self.max_num_batched_tokens.max(1),
            by_priority: self.scheduling_policy == Policy::Priority,
        }
    }

    /// Speeds as a client sees them, that is after `time_scale`.
    pub(crate) fn speed(&self) -> Speed {
        Speed {
            per_prefill_token: self.scaled(1.0 / self.prefill_tokens_per_second),
            step: self.scaled(self.decode_step_ms / 1e3),
            per_sequence: self.scaled(self.decode_us_per_seq / 1e6),
        }
    }

    /// Seconds of model time as a span of real time.
    pub(crate) fn scaled(&self, seconds: f64) -> Duration {
        if self.time_scale <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(seconds / self.time_scale).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn parse(arguments: &[&str]) -> Config {
        let command = Config::augment_args(clap::Command::new("engine"));
        Config::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
    }

    #[test]
    fn no_flags_and_no_file_mean_the_same() {
        assert_eq!(format!("{:?}", parse(&["engine"])), format!("{:?}", Config::default()));
    }

    #[test]
    fn flags_carry_the_names_of_the_real_engine() {
        let line = "engine --model tiny,small --task both --max-num-seqs 8 --scheduling-policy priority --api-key k \
                    --max-num-queued-reqs 4 --time-scale 0 --faults";
        let config = parse(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(config.model, ["tiny", "small"]);
        assert_eq!((config.task, config.scheduling_policy), (Task::Both, Policy::Priority));
        assert_eq!(config.max_num_queued_reqs, Some(4));
        assert_eq!(config.speed().step, Duration::ZERO);
        assert!(!format!("{config:?}").contains("\"k\""), "the key must not be printed");
    }

    #[test]
    fn ten_times_faster_means_a_tenth_of_the_time() {
        let config = Config { time_scale: 10.0, decode_step_ms: 20.0, ..Config::default() };
        assert_eq!(config.speed().step, Duration::from_millis(2));
    }
}
