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
use simulator::batching::Speed;
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
    /// How often everything is measured. The lower quartile counts: what else the machine does adds far more often than
    /// it takes away.
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
    let mut prompts = Prompts::new();
    probe.together(&prompts.next(4, 64), 32).context("warming up")?;
    let mut shapes = shapes(&args, &shown);
    // Rounds go over all shapes, so that a busy minute of the machine does not fall on one of them.
    for _ in 0..args.rounds {
        for shape in &mut shapes {
            shape.measure(&args, &probe, &mut prompts)?;
        }
    }
    let seen = shapes.iter_mut().filter_map(|shape| shape.seen(&args));
    let seen: Vec<Observation> = seen.collect();
    for seen in &seen {
        writeln!(io::stderr(), "{seen}")?;
    }
    let mut noises: Vec<f64> = shapes.iter().flat_map(|shape| shape.noises.iter().copied()).collect();
    let noise = quantile(&mut noises, 0.5);
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

/// Streams of one kind, and what was seen of them.
struct Shape {
    /// One of a single token, for the time to it, or several for the length of their steps.
    streams: usize,
    prompt: u32,
    tokens: u32,
    times: Vec<f64>,
    /// Tokens each of the streams had made, on the average.
    made: f64,
    noises: Vec<f64>,
}

fn shapes(args: &Args, shown: &Shown) -> Vec<Shape> {
    let room = u64::from(shown.block_size) * u64::from(shown.blocks);
    let shape = |streams, prompt, tokens| {
        let fits = streams as u64 * u64::from(prompt + tokens) <= room;
        let new = Shape { streams, prompt, tokens, times: Vec::new(), made: 0.0, noises: Vec::new() };
        (prompt + tokens <= shown.max_model_len && fits).then_some(new)
    };
    let singles = args.prompts.iter().filter_map(|prompt| shape(1, *prompt, 1));
    let together =
        args.contexts.iter().flat_map(|prompt| args.streams.iter().map(move |streams| (*streams, *prompt)));
    singles.chain(together.filter_map(|(streams, prompt)| shape(streams, prompt, args.tokens))).collect()
}

impl Shape {
    fn measure(&mut self, args: &Args, probe: &Probe, prompts: &mut Prompts) -> anyhow::Result<()> {
        let heard = probe.together(&prompts.next(self.streams, self.prompt), self.tokens)?;
        if self.tokens == 1 {
            self.times.push(heard.first().and_then(Heard::first_token).context("a stream without a token")?);
        } else if let Some(window) = Window::of(&heard, args.tokens / 8) {
            self.times.push(window.step(&heard));
            self.noises.extend(window.noise(&heard));
            self.made = window.made(&heard);
        }
        Ok(())
    }

    fn seen(&mut self, args: &Args) -> Option<Observation> {
        let (time, streams) = (quantile(&mut self.times, 0.25), self.streams as f64);
        if self.times.is_empty() {
            return None;
        }
        Some(match self.tokens {
            1 => Observation::first_token(self.prompt, args.max_num_batched_tokens, time),
            _ => Observation::step(streams, streams * (f64::from(self.prompt) + self.made), time),
        })
    }
}

/// The time in which all streams were making tokens.
struct Window {
    from: std::time::Instant,
    to: std::time::Instant,
}

impl Window {
    /// Fewer tokens than asked for would say more about who came first than about steps.
    fn of(heard: &[Heard], least: u32) -> Option<Self> {
        let from = heard.iter().filter_map(|heard| heard.events.first()).map(|(at, _)| *at).max()?;
        let to = heard.iter().filter_map(|heard| heard.events.last()).map(|(at, _)| *at).min()?;
        let made =
            heard.iter().map(|heard| heard.tokens_at(to).saturating_sub(heard.tokens_at(from))).min()?;
        (to > from && made >= least).then_some(Self { from, to })
    }

    /// Seconds a step took: the time over the tokens of one stream.
    fn step(&self, heard: &[Heard]) -> f64 {
        let made: u32 = heard.iter().map(|heard| heard.tokens_at(self.to) - heard.tokens_at(self.from)).sum();
        (self.to - self.from).as_secs_f64() * heard.len() as f64 / f64::from(made)
    }

    /// Tokens each stream had made, on the average over the window.
    fn made(&self, heard: &[Heard]) -> f64 {
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

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * share) as usize).copied().unwrap_or_default()
}

/// Prompts no two of which begin alike, in this run or another. The ids are those of words in any vocabulary.
struct Prompts {
    run: u32,
    made: u32,
}

impl Prompts {
    fn new() -> Self {
        Self { run: uuid::Uuid::new_v4().as_fields().0, made: 0 }
    }

    fn next(&mut self, many: usize, length: u32) -> Vec<Vec<u32>> {
        (0..many).map(|_| self.one(length)).collect()
    }

    fn one(&mut self, length: u32) -> Vec<u32> {
        self.made += 1;
        let name = [self.run, self.run / 400, self.made, self.made / 400];
        let text = (0..).map(|place| place * 7 + self.made);
        name.into_iter().chain(text).map(|number| 100 + number % 400).take(length as usize).collect()
    }
}

fn print(args: &Args, probe: &Probe, shown: &Shown, fitted: &Fitted, noise: f64) -> io::Result<()> {
    let (Probe { model, .. }, Shown { max_model_len, block_size, blocks }) = (probe, shown);
    let Args { max_num_seqs, max_num_batched_tokens, .. } = args;
    let Fitted { render_ms, speed, error, worst } = fitted;
    let Speed { step_ms, prefill_token_us, attention_ns, sequence_us, context_token_ns, .. } = speed;
    let (error, worst) = (error * 100.0, worst * 100.0);
    writeln!(
        io::stdout(),
        "# Off by {error:.1} % (root mean square), at most {worst:.1} %.\n\
         [{model}]\nmax_model_len = {max_model_len}\nrender_ms = {render_ms:.2}\n\n\
         [{model}.limits]\nmax_num_seqs = {max_num_seqs}\nmax_num_batched_tokens = {max_num_batched_tokens}\n\
         block_size = {block_size}\nnum_gpu_blocks = {blocks}\nwatermark = 0.0\nenable_prefix_caching = true\n\n\
         [{model}.speed]\nstep_ms = {step_ms:.3}\nprefill_token_us = {prefill_token_us:.3}\n\
         attention_ns = {attention_ns:.3}\nsequence_us = {sequence_us:.2}\n\
         context_token_ns = {context_token_ns:.3}\nnoise = {noise:.2}"
    )
}
