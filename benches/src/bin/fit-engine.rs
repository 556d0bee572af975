//! `fit-engine`: measures an engine and prints the profile that makes a simulated one behave like it, with the error.
//!
//! First single requests with prompts of growing length, for the time to the first token; then streams together, for the
//! length of a step by their number and by the tokens in front of them. No two prompts begin alike, so nothing comes
//! from the cache. Put what is printed into a file and run `tollgate engine --profile FILE`.

use anyhow::Context;
use benches::{
    fit::{Fitted, Observation, fit, toml},
    probe::Probe,
    shape::{Prompts, Shape, quantile},
    target::Address,
};
use clap::Parser;
use serde_json::Value;
use simulator::{
    Profile,
    batching::{Limits, Speed},
};
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
    /// Words in the prompts of single requests.
    #[arg(long, value_delimiter = ',', default_value = "16,128,256,512,768,1024,1536,2000,3000,4000")]
    prompts: Vec<u32>,
    /// Numbers of streams together.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,48")]
    streams: Vec<usize>,
    /// Words in the prompts of these.
    #[arg(long, value_delimiter = ',', default_value = "16,512,1500")]
    contexts: Vec<u32>,
    /// Tokens of each of their answers.
    #[arg(long, default_value_t = 96)]
    tokens: u32,
    /// How often everything is measured.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// The engine's --max-num-batched-tokens, which it does not show.
    #[arg(long, default_value_t = 8192)]
    max_num_batched_tokens: u32,
    /// The engine's --max-num-seqs, which it does not show.
    #[arg(long, default_value_t = 256)]
    max_num_seqs: usize,
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
    let mut prompts = Prompts::new(uuid::Uuid::new_v4().as_fields().0);
    probe.together(&prompts.next(4, 64), 32).context("warming up")?;
    let mut shapes = shapes(&args, &shown);
    // Rounds go over all shapes, so that a busy minute of the machine does not fall on one of them.
    for _ in 0..args.rounds {
        for shape in &mut shapes {
            shape.measure(&probe, &mut prompts)?;
        }
    }
    let seen = shapes.iter().filter_map(|shape| shape.seen(args.max_num_batched_tokens));
    let seen: Vec<Observation> = seen.collect();
    for seen in &seen {
        writeln!(io::stderr(), "{seen}")?;
    }
    let fitted = fit(&seen).context("too little was measured to tell the costs apart")?;
    let noises: Vec<f64> = shapes.iter().flat_map(|shape| shape.noises.iter().copied()).collect();
    let profile = profile(&args, &shown, &fitted, quantile(&noises, 0.5).unwrap_or(0.0));
    let (error, worst) = (fitted.error * 100.0, fitted.worst * 100.0);
    writeln!(
        io::stdout(),
        "# {}: off by {error:.1} % (root mean square), at most {worst:.1} %.\n{}",
        probe.model,
        toml("fitted", &profile)
    )?;
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

/// Everything to be measured that the engine has room for.
fn shapes(args: &Args, shown: &Shown) -> Vec<Shape> {
    let singles = args.prompts.iter().map(|prompt| Shape::first_token(*prompt));
    let together = args.contexts.iter().flat_map(|prompt| {
        args.streams.iter().map(move |streams| Shape::together(*streams, *prompt, args.tokens))
    });
    let fits = |shape: &Shape| {
        let (each, all) = shape.size();
        each <= shown.max_model_len && all <= u64::from(shown.block_size) * u64::from(shown.blocks)
    };
    singles.chain(together).filter(fits).collect()
}

fn profile(args: &Args, shown: &Shown, fitted: &Fitted, noise: f64) -> Profile {
    Profile {
        max_model_len: shown.max_model_len,
        render_ms: fitted.render_ms,
        limits: Limits {
            max_num_seqs: args.max_num_seqs,
            max_num_batched_tokens: args.max_num_batched_tokens,
            block_size: shown.block_size,
            num_gpu_blocks: shown.blocks,
            watermark: 0.0,
            enable_prefix_caching: true,
            by_priority: false,
        },
        speed: Speed { noise, ..fitted.speed },
    }
}
