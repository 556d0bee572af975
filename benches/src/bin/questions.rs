//! Permission checks over gRPC beside bare tonic calls, in turns and as fast as each goes: calls a second, and processor
//! time of the server a call. Then batches of checks, and batches of grants.
//!
//! Started by `benches/permissions.sh`, which pins each server to one core and this to the other.

use anyhow::Context;
use benches::cpu;
use clap::Parser;
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use hdrhistogram::Histogram;
use proto::permissions::v1::{
    self as pb, authorization_service_client::AuthorizationServiceClient,
    batch_service_client::BatchServiceClient, grant_operation::Operation,
    group_service_client::GroupServiceClient, model_service_client::ModelServiceClient,
};
use std::{
    io::{self, Write},
    time::{Duration, Instant},
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// What to measure.
#[derive(Debug, Parser)]
struct Args {
    /// Tollgate's permissions service.
    #[arg(long)]
    tollgate: String,
    /// Its process.
    #[arg(long)]
    tollgate_pid: u32,
    /// A bare tonic server.
    #[arg(long)]
    bare: String,
    /// Its process.
    #[arg(long)]
    bare_pid: u32,
    /// File with `api_key`, as the first start writes it.
    #[arg(long)]
    credentials: std::path::PathBuf,
    /// Turns that each has.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a turn, seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections, each with as many calls in flight.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Batches of 1,000 grants that are written in each mode.
    #[arg(long, default_value_t = 20)]
    batches: usize,
    /// Batches of grants under way at once.
    #[arg(long, default_value_t = 2)]
    writers: usize,
}

/// One server under test.
struct Target {
    name: &'static str,
    channels: Vec<Channel>,
    pid: u32,
    rates: Vec<f64>,
    micros: Vec<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let text = std::fs::read_to_string(&args.credentials).context("the credentials cannot be read")?;
    let welcome: serde_json::Value = serde_json::from_str(&text)?;
    let key = welcome["api_key"].as_str().context("the credentials have no api_key")?;
    let bearer: MetadataValue<Ascii> = format!("Bearer {key}").parse()?;
    let check = prepare(&args.tollgate, &bearer).await?;

    let mut targets = [
        Target::open("bare tonic", &args.bare, args.bare_pid, args.connections).await?,
        Target::open("Tollgate", &args.tollgate, args.tollgate_pid, args.connections).await?,
    ];
    for _ in 0..args.rounds {
        for target in &mut targets {
            target.turn(&check, &bearer, Duration::from_secs(args.seconds)).await?;
        }
    }
    let mut out = io::stdout().lock();
    writeln!(out, "Check, {} connections with {} calls in flight each:", args.connections, args.connections)?;
    for target in &targets {
        let (rate, micros) = (median(&target.rates), median(&target.micros));
        writeln!(out, "  {:<12} {rate:>9.0} calls/s   {micros:>6.2} µs processor time a call", target.name)?;
    }
    let ratio = median(&targets[1].rates) / median(&targets[0].rates);
    writeln!(out, "  Tollgate does {:.0} % of the bare rate", ratio * 100.0)?;
    batch_of_checks(&args, &bearer, &check, &mut out).await?;
    batches_of_grants(&args, &bearer, &mut out).await
}

impl Target {
    async fn open(name: &'static str, address: &str, pid: u32, connections: usize) -> anyhow::Result<Self> {
        let mut channels = Vec::new();
        for _ in 0..connections {
            channels.push(Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true).connect().await?);
        }
        Ok(Self { name, channels, pid, rates: Vec::new(), micros: Vec::new() })
    }

    async fn turn(
        &mut self,
        check: &pb::CheckRequest,
        bearer: &MetadataValue<Ascii>,
        length: Duration,
    ) -> anyhow::Result<()> {
        let (begun, before) = (Instant::now(), cpu::spent(&[self.pid])?);
        let until = begun + length;
        let at_once = self.channels.len();
        let callers = self.channels.iter().flat_map(|channel| (0..at_once).map(|_| channel.clone()));
        let calls = join_all(callers.map(|channel| calls(channel, check, bearer, until))).await;
        let done: u64 = calls.into_iter().sum::<anyhow::Result<u64>>()?;
        let (took, spent) = (begun.elapsed(), cpu::spent(&[self.pid])? - before);
        self.rates.push(done as f64 / took.as_secs_f64());
        self.micros.push(spent.as_secs_f64() * 1e6 / done as f64);
        Ok(())
    }
}

async fn calls(
    channel: Channel,
    check: &pb::CheckRequest,
    bearer: &MetadataValue<Ascii>,
    until: Instant,
) -> anyhow::Result<u64> {
    let mut client = AuthorizationServiceClient::new(channel);
    let mut done = 0;
    while Instant::now() < until {
        let answer = client.check(with(bearer, check.clone())).await?.into_inner();
        anyhow::ensure!(answer.verdict() == pb::Verdict::Allowed, "the check was denied: {}", answer.reason);
        done += 1;
    }
    Ok(done)
}

/// A model that everyone may use, and the question about it.
async fn prepare(address: &str, bearer: &MetadataValue<Ascii>) -> anyhow::Result<pb::CheckRequest> {
    let channel = Endpoint::from_shared(address.to_owned())?.connect().await?;
    let name = format!("bench-{}", uuid::Uuid::new_v4());
    let register = pb::RegisterModelRequest { name, ..Default::default() };
    let model =
        ModelServiceClient::new(channel).register_model(with(bearer, register)).await?.into_inner().model;
    let model = model.context("the model was registered")?;
    Ok(pb::CheckRequest {
        model: Some(pb::check_request::Model::ModelId(model.model_id)),
        action: pb::Action::Use.into(),
        ..Default::default()
    })
}

async fn batch_of_checks(
    args: &Args,
    bearer: &MetadataValue<Ascii>,
    check: &pb::CheckRequest,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(args.tollgate.clone())?.tcp_nodelay(true).connect().await?;
    let mut client = AuthorizationServiceClient::new(channel);
    let Some(pb::check_request::Model::ModelId(model)) = check.model.clone() else {
        anyhow::bail!("the question names a model by its id");
    };
    let item = pb::CheckItem {
        model: Some(pb::check_item::Model::ModelId(model)),
        action: check.action,
        ..Default::default()
    };
    let request = pb::BatchCheckRequest { items: vec![item; 1_000], ..Default::default() };
    let mut took = Histogram::<u64>::new(3)?;
    let (rounds, before) = (500_u32, cpu::spent(&[args.tollgate_pid])?);
    for _ in 0..rounds {
        let begun = Instant::now();
        client.batch_check(with(bearer, request.clone())).await?;
        took.record(u64::try_from(begun.elapsed().as_micros())?)?;
    }
    let spent = (cpu::spent(&[args.tollgate_pid])? - before) / rounds;
    let (p50, p99) = (took.value_at_quantile(0.5), took.value_at_quantile(0.99));
    writeln!(
        out,
        "BatchCheck of 1,000: {spent:.2?} processor time; {p50} µs median, {p99} µs p99 at the client"
    )?;
    Ok(())
}

/// Grants to fresh groups on a fresh model: as one transaction a batch, and each for itself.
async fn batches_of_grants(
    args: &Args,
    bearer: &MetadataValue<Ascii>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(args.tollgate.clone())?.tcp_nodelay(true).connect().await?;
    let mut groups = Vec::new();
    for _ in 0..50 {
        let name = format!("bench-{}", uuid::Uuid::new_v4());
        let create = pb::CreateGroupRequest { name, ..Default::default() };
        let answer = GroupServiceClient::new(channel.clone()).create_group(with(bearer, create)).await?;
        groups.push(answer.into_inner().group.context("the group was created")?.group_id);
    }
    for (mode, said) in [(pb::BatchMode::Atomic, "atomic"), (pb::BatchMode::BestEffort, "best effort")] {
        let mut requests = Vec::new();
        for _ in 0..args.batches {
            requests.push(grants(&channel, bearer, &groups, mode).await?);
        }
        let client = BatchServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        let begun = Instant::now();
        let answers = stream::iter(requests).map(|request| {
            let mut client = client.clone();
            async move { client.batch_grants(with(bearer, request)).await }
        });
        let answers: Vec<_> = answers.buffer_unordered(args.writers).try_collect().await?;
        let done: u64 = answers.iter().map(|answer| u64::from(answer.get_ref().succeeded)).sum();
        let rate = done as f64 / begun.elapsed().as_secs_f64();
        let writers = args.writers;
        writeln!(out, "BatchGrants of 1,000, {said}, {writers} at once: {rate:.0} grants/s ({done} grants)")?;
    }
    Ok(())
}

/// A thousand grants: twenty new models for fifty groups each.
async fn grants(
    channel: &Channel,
    bearer: &MetadataValue<Ascii>,
    groups: &[String],
    mode: pb::BatchMode,
) -> anyhow::Result<pb::BatchGrantsRequest> {
    let mut operations = Vec::with_capacity(1_000);
    for _ in 0..1_000 / groups.len() {
        let name = format!("bench-{}", uuid::Uuid::new_v4());
        let register = pb::RegisterModelRequest { name, ..Default::default() };
        let answer = ModelServiceClient::new(channel.clone()).register_model(with(bearer, register)).await?;
        let model = answer.into_inner().model.context("the model was registered")?.model_id;
        operations.extend(groups.iter().map(|group| pb::GrantOperation {
            operation: Some(Operation::Create(grant(&model, group))),
            ..Default::default()
        }));
    }
    Ok(pb::BatchGrantsRequest { operations, mode: mode.into(), ..Default::default() })
}

fn grant(model: &str, group: &str) -> pb::Grant {
    pb::Grant {
        model_id: model.to_owned(),
        grantee: Some(pb::grant::Grantee::GroupId(group.to_owned())),
        action: pb::Action::Use.into(),
        ..Default::default()
    }
}

fn with<T>(bearer: &MetadataValue<Ascii>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer.clone());
    request
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
