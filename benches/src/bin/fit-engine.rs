//! `fit-engine`: measures an engine and prints the profile that makes a simulated one behave like it, with the error.
//!
//! First single requests with prompts of growing length, for the time to the first token; then streams together, for the
//! length of a step by their number and by the tokens in front of them. No two prompts begin alike, so nothing comes
//! from the cache. Put what is printed into a file and run `tollgate engine --profile FILE`.

use anyhow::Context;
use benches::{
    fit::{Fitted, Observation, fit},
    probe::{Heard, Probe},
    target::Address,
};
use clap::Parser;
use serde_json::Value;
use std::io::{self, Write};

/// What to measure, and how thoroughly.
#[derive(Debug, Parser)]
struct Args {
    /// The engine, as http://HOST:PORT. It should have nothing else to do.
    #[arg(long)]
    url: Address,
    /// The key, when it wants one.
    #[arg(long, default_value = "none")]
    api_key: String,
    /// Prompt lengths of single requests.
    #[arg(long, value_delimiter = ',', default_value = "16,128,256,512,768,1024,1536,2000,3000,4000")]
    prompts: Vec<u32>,
    /// Numbers of streams together.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    streams: Vec<usize>,
    /// Prompt lengths of these.
    #[arg(long, value_delimiter = ',', default_value = "16,512,1500")]
    contexts: Vec<u32>,
    /// Tokens of each of their answers.
    #[arg(long, default_value_t = 128)]
    tokens: u32,
    /// How often everything is measured; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The engine's --max-num-batched-tokens, which it does not show.
    #[arg(long, default_value_t = 8192)]
    max_num_batched_tokens: u32,
    /// The engine's --max-num-seqs, which it does not show.
    #[arg(long, default_value_t = 256)]
    max_num_seqs: u32,
}

/// What an engine says about itself.
struct Shown {
    max_model_len: u32,
    block_size: u32,
    blocks: u32,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut probe = Probe { address: args.url.clone(), api_key: args.api_key.clone(), model: String::new() };
    let shown = look(&mut probe)?;
    let mut prompts = Prompts(0);
    probe.together(&prompts.next(4, 64), 32).context("warming up")?;
    let mut seen = first_tokens(&args, &probe, &shown, &mut prompts)?;
    let (steps, noise) = steps(&args, &probe, &shown, &mut prompts)?;
    seen.extend(steps);
    let fitted = fit(&seen).context("too little was measured to tell the costs apart")?;
    print(&args, &probe, &shown, &fitted, noise)?;
    Ok(())
}

/// Reads what the engine says about itself.
fn look(probe: &mut Probe) -> anyhow::Result<Shown> {
    let models: Value = serde_json::from_str(&probe.get("/v1/models")?)?;
    let model = &models["data"][0];
    probe.model = model["id"].as_str().context("/v1/models names no model")?.to_owned();
    let max_model_len = model["max_model_len"].as_u64().context("/v1/models has no max_model_len")?;
    let page = probe.get("/metrics")?;
    let label = |name: &str| -> anyhow::Result<u32> {
        let info = page.lines().find(|line| line.starts_with("vllm:cache_config_info{"));
        let value = info.and_then(|line| line.split_once(&format!(",{name}=\""))?.1.split_once('"'));
        Ok(value.with_context(|| format!("/metrics does not show {name}"))?.0.parse()?)
    };
    let (block_size, blocks) = (label("block_size")?, label("num_gpu_blocks")?);
    Ok(Shown { max_model_len: u32::try_from(max_model_len)?, block_size, blocks })
}

/// Times to first token of single requests.
fn first_tokens(
    args: &Args,
    probe: &Probe,
    shown: &Shown,
    prompts: &mut Prompts,
) -> anyhow::Result<Vec<Observation>> {
    let mut seen = Vec::new();
    for length in args.prompts.iter().copied().filter(|length| *length < shown.max_model_len) {
        let mut times = Vec::new();
        for _ in 0..args.rounds {
            let heard = probe.together(&prompts.next(1, length), 1)?;
            times.push(heard.first().and_then(Heard::first_token).context("a stream without a token")?);
        }
        let time = median(&mut times);
        writeln!(io::stderr(), "prompt {length:>6}: first token after {:.2} ms", time * 1e3)?;
        seen.push(Observation::first_token(length, args.max_num_batched_tokens, time));
    }
    Ok(seen)
}

/// Lengths of steps in which so many streams made a token each, and how much single ones differ.
fn steps(
    args: &Args,
    probe: &Probe,
    shown: &Shown,
    prompts: &mut Prompts,
) -> anyhow::Result<(Vec<Observation>, f64)> {
    let (mut seen, mut noises) = (Vec::new(), Vec::new());
    let room = u64::from(shown.block_size) * u64::from(shown.blocks);
    for &context in args.contexts.iter().filter(|length| **length + args.tokens <= shown.max_model_len) {
        let fits = |streams: &&usize| **streams as u64 * u64::from(context + args.tokens) <= room;
        for &streams in args.streams.iter().filter(fits) {
            let mut rounds = Vec::new();
            for _ in 0..args.rounds {
                let heard = probe.together(&prompts.next(streams, context), args.tokens)?;
                rounds.extend(Window::of(&heard).map(|window| (window.step(&heard), window.context(&heard))));
                noises.extend(Window::of(&heard).and_then(|window| window.noise(&heard)));
            }
            let mut times: Vec<f64> = rounds.iter().map(|(step, _)| *step).collect();
            let Some((_, made)) = rounds.first() else { continue };
            let in_front = streams as f64 * (f64::from(context) + made);
            let time = median(&mut times);
            writeln!(
                io::stderr(),
                "{streams:>3} streams behind {context:>5}: a step takes {:.3} ms",
                time * 1e3
            )?;
            seen.push(Observation::step(streams as f64, in_front, time));
        }
    }
    Ok((seen, if noises.is_empty() { 0.0 } else { median(&mut noises) }))
}

/// The time in which all streams were making tokens.
struct Window {
    from: std::time::Instant,
    to: std::time::Instant,
}

impl Window {
    fn of(heard: &[Heard]) -> Option<Self> {
        let from = heard.iter().filter_map(|heard| heard.events.first()).map(|(at, _)| *at).max()?;
        let to = heard.iter().filter_map(|heard| heard.events.last()).map(|(at, _)| *at).min()?;
        let made = heard.iter().map(|heard| heard.tokens_at(to) - heard.tokens_at(from)).min()?;
        // Fewer would say more about who came first than about steps.
        (made >= 16).then_some(Self { from, to })
    }

    /// Seconds a step took: the time over the tokens of one stream.
    fn step(&self, heard: &[Heard]) -> f64 {
        let made: u32 = heard.iter().map(|heard| heard.tokens_at(self.to) - heard.tokens_at(self.from)).sum();
        (self.to - self.from).as_secs_f64() * heard.len() as f64 / f64::from(made)
    }

    /// Tokens each stream had made, on the average over the window.
    fn context(&self, heard: &[Heard]) -> f64 {
        let made: u32 = heard.iter().map(|heard| heard.tokens_at(self.to) + heard.tokens_at(self.from)).sum();
        f64::from(made) / 2.0 / heard.len() as f64
    }

    /// How much the gaps between the tokens of one stream differ, as a share of the middle one; by the quantiles that
    /// would lie one standard deviation from the middle, so that a few outliers do not decide.
    fn noise(&self, heard: &[Heard]) -> Option<f64> {
        let events = &heard.first()?.events;
        let inside = events.iter().filter(|(at, _)| *at >= self.from && *at <= self.to);
        let inside: Vec<_> = inside.collect();
        let single = inside.windows(2).filter(|pair| pair[1].1 == pair[0].1 + 1);
        let mut gaps: Vec<f64> = single.map(|pair| (pair[1].0 - pair[0].0).as_secs_f64()).collect();
        gaps.sort_by(f64::total_cmp);
        let at = |share: f64| gaps.get((gaps.len() as f64 * share) as usize).copied();
        Some((at(0.84)? - at(0.16)?) / 2.0 / at(0.5)?)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Prompts no two of which begin alike. The ids are those of words in any vocabulary.
struct Prompts(u32);

impl Prompts {
    fn next(&mut self, many: usize, length: u32) -> Vec<Vec<u32>> {
        (0..many).map(|_| self.one(length)).collect()
    }

    fn one(&mut self, length: u32) -> Vec<u32> {
        self.0 += 1;
        let name = [self.0 % 400, self.0 / 400 % 400].map(|digit| digit + 100);
        name.into_iter()
            .chain((0..).map(|place| 100 + (place * 7 + self.0) % 400))
            .take(length as usize)
            .collect()
    }
}

fn print(args: &Args, probe: &Probe, shown: &Shown, fitted: &Fitted, noise: f64) -> io::Result<()> {
    let Fitted { render_ms, speed, error, worst } = fitted;
    let Shown { max_model_len, block_size, blocks } = shown;
    writeln!(
        io::stdout(),
        "# Fitted: off by {:.1} % (root mean square), at most {:.1} %.\n\
         [{}]\nmax_model_len = {max_model_len}\nrender_ms = {render_ms:.2}\n\n\
         [{0}.limits]\nmax_num_seqs = {}\nmax_num_batched_tokens = {}\nblock_size = {block_size}\n\
         num_gpu_blocks = {blocks}\nwatermark = 0.0\nenable_prefix_caching = true\n\n\
         [{0}.speed]\nstep_ms = {:.3}\nprefill_token_us = {:.3}\nattention_ns = {:.3}\nsequence_us = {:.2}\n\
         context_token_ns = {:.3}\nnoise = {noise:.2}",
        error * 100.0,
        worst * 100.0,
        probe.model,
        args.max_num_seqs,
        args.max_num_batched_tokens,
        speed.step_ms,
        speed.prefill_token_us,
        speed.attention_ns,
        speed.sequence_us,
        speed.context_token_ns,
    )
}
