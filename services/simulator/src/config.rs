//! What an engine is told when it starts: as command line flags (`tollgate engine --model tiny …`) or from a file.
//!
//! Flags carry vLLM's names where vLLM has them, so a command line can be moved between the two.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use crate::batching::{Limits, Speed};
use crate::profile::{self, Profile};

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
    /// How it performs: quick, reference, tiny, or a TOML file with one profile. What follows changes parts of it.
    #[arg(long, value_name = "NAME|FILE", value_parser = Profile::named, default_value = "quick")]
    #[serde(deserialize_with = "profile::by_name")]
    pub profile: Profile,
    /// Tokens of prompt and answer together that one sequence may have; 0 for the profile's.
    #[arg(long, default_value_t = 0)]
    pub max_model_len: u32,
    /// Sequences that run at the same time; the rest waits.
    #[arg(long)]
    pub max_num_seqs: Option<usize>,
    /// Prompt and answer tokens computed in one step; longer prompts are computed in chunks.
    #[arg(long)]
    pub max_num_batched_tokens: Option<u32>,
    /// Tokens a block of the cache holds.
    #[arg(long)]
    pub block_size: Option<u32>,
    /// Blocks of the cache; at least as many as the longest sequence needs.
    #[arg(long)]
    pub num_gpu_blocks_override: Option<u32>,
    /// Computes every prompt as if none had come before.
    #[arg(long)]
    pub no_enable_prefix_caching: bool,
    /// Says in the usage of an answer how many tokens of its prompt were in the cache.
    #[arg(long)]
    pub enable_prompt_tokens_details: bool,
    /// Requests, waiting and running, beyond which new ones get a 503; unlimited when absent.
    #[arg(long)]
    pub max_num_queued_reqs: Option<usize>,
    /// Prompt tokens not yet computed beyond which new requests get a 503; unlimited when absent.
    #[arg(long)]
    pub max_num_queued_tokens: Option<usize>,
    /// Which waiting request is next.
    #[arg(long, value_enum, default_value_t = Policy::Fcfs)]
    pub scheduling_policy: Policy,
    /// Prompt tokens computed per second, attention aside.
    #[arg(long)]
    pub prefill_tokens_per_second: Option<f64>,
    /// Milliseconds one step takes, whatever runs in it.
    #[arg(long)]
    pub decode_step_ms: Option<f64>,
    /// Microseconds each sequence adds to a step.
    #[arg(long)]
    pub decode_us_per_seq: Option<f64>,
    /// Standard deviation of a step's length, as a share of it.
    #[arg(long)]
    pub noise: Option<f64>,
    /// How many times faster than real the engine runs: 1 is real time, 10 ten times faster, 0 as fast as it can.
    #[arg(long, default_value_t = 1.0)]
    pub time_scale: f64,
    /// Key that every path under /v1 then asks for.
    #[arg(long)]
    pub api_key: Option<SecretString>,
    /// Seconds that running requests get to finish after a stop; 0 cuts them at once.
    #[arg(long, default_value_t = 0)]
    pub shutdown_timeout: u64,
    /// Starting point of the noise, and of answers at a temperature above zero that name no seed of their own.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Version that /version reports.
    #[arg(long, default_value = "0.32.0")]
    pub version: String,
    /// Keeps the responses that are to be stored, in memory. Real engines are told by VLLM_ENABLE_RESPONSES_API_STORE=1.
    #[arg(long)]
    pub enable_responses_api_store: bool,
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
            profile: Profile::quick(),
            max_model_len: 0,
            max_num_seqs: None,
            max_num_batched_tokens: None,
            block_size: None,
            num_gpu_blocks_override: None,
            no_enable_prefix_caching: false,
            enable_prompt_tokens_details: false,
            max_num_queued_reqs: None,
            max_num_queued_tokens: None,
            scheduling_policy: Policy::Fcfs,
            prefill_tokens_per_second: None,
            decode_step_ms: None,
            decode_us_per_seq: None,
            noise: None,
            time_scale: 1.0,
            api_key: None,
            shutdown_timeout: 0,
            seed: 0,
            version: "0.32.0".to_owned(),
            enable_responses_api_store: false,
            faults: false,
        }
    }
}

impl Config {
    /// The name used in answers.
    pub(crate) fn served_name(&self) -> &str {
        self.model.first().map_or("tollgate-sim", String::as_str)
    }

    /// Takes over from the profile what was left to it.
    pub(crate) fn settled(mut self) -> Self {
        if self.max_model_len == 0 {
            self.max_model_len = self.profile.max_model_len;
        }
        self
    }

    pub(crate) fn limits(&self) -> Limits {
        let limits = self.profile.limits;
        let block_size = self.block_size.unwrap_or(limits.block_size).max(1);
        let num_gpu_blocks = self.num_gpu_blocks_override.unwrap_or(limits.num_gpu_blocks);
        Limits {
            max_num_seqs: self.max_num_seqs.unwrap_or(limits.max_num_seqs),
            max_num_batched_tokens: self.max_num_batched_tokens.unwrap_or(limits.max_num_batched_tokens),
            block_size,
            num_gpu_blocks: num_gpu_blocks.max(self.max_model_len.div_ceil(block_size)),
            enable_prefix_caching: limits.enable_prefix_caching && !self.no_enable_prefix_caching,
            by_priority: self.scheduling_policy == Policy::Priority,
            ..limits
        }
    }

    /// Speeds as a client sees them, that is after `time_scale`.
    pub(crate) fn speed(&self) -> Speed {
        let speed = self.profile.speed;
        let prefill_token_us = self.prefill_tokens_per_second.map(|tokens| 1e6 / tokens);
        let speed = Speed {
            step_ms: self.decode_step_ms.unwrap_or(speed.step_ms),
            prefill_token_us: prefill_token_us.unwrap_or(speed.prefill_token_us),
            sequence_us: self.decode_us_per_seq.unwrap_or(speed.sequence_us),
            noise: self.noise.unwrap_or(speed.noise),
            ..speed
        };
        if self.time_scale <= 0.0 { Speed::INSTANT } else { speed.slower(1.0 / self.time_scale) }
    }

    /// How long a request is prepared before it is queued.
    pub(crate) fn render_time(&self) -> Duration {
        if self.time_scale <= 0.0 {
            return Duration::ZERO;
        }
        let seconds = self.profile.render_ms * 1e-3 / self.time_scale;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::batching::Work;

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
        assert_eq!((config.limits().max_num_seqs, config.limits().by_priority), (8, true));
        assert_eq!(config.speed(), Speed::INSTANT);
        assert!(!format!("{config:?}").contains("\"k\""), "the key must not be printed");
    }

    #[test]
    fn ten_times_faster_means_a_tenth_of_the_time() {
        let config = Config { time_scale: 10.0, decode_step_ms: Some(20.0), ..Config::default() };
        assert_eq!(config.speed().step_ms, 2.0);
        assert_eq!(config.speed().duration(&Work::decode(0)), Duration::from_micros(2005));
        assert_eq!(config.render_time(), Duration::from_micros(100));
    }

    #[test]
    fn a_flag_changes_one_part_of_the_profile() {
        let line = "engine --profile reference --decode-step-ms 9 --num-gpu-blocks-override 4000";
        let config = parse(&line.split_whitespace().collect::<Vec<_>>()).settled();
        let Profile { limits, speed, max_model_len, .. } = Profile::reference();
        assert_eq!(config.speed(), Speed { step_ms: 9.0, ..speed });
        assert_eq!(config.limits(), Limits { num_gpu_blocks: 4000, ..limits });
        assert_eq!(config.max_model_len, max_model_len);
    }

    #[test]
    fn the_cache_holds_at_least_the_longest_sequence() {
        let config = Config { num_gpu_blocks_override: Some(1), max_model_len: 100, ..Config::default() };
        assert_eq!(config.limits().num_gpu_blocks, 7);
    }
}
