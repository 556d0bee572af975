//! Load for a monitoring service: records in batches from several callers, or reports over a ledger that is there. Prints what
//! came of it. `benches/usage.sh` starts the service and fills the ledger.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "like a test, it fails by panicking; it prints its result"
)]

use clap::{Parser, Subcommand};
use proto::monitoring::v1::{
    GetUsageRequest, Outcome, RecordUsageRequest, TimeBucket, UsageDimension, UsageRecord,
    usage_service_client::UsageServiceClient,
};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinSet;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

#[derive(Debug, Parser)]
struct Args {
    /// Where the service is.
    #[arg(long)]
    address: String,
    /// A file with the service token.
    #[arg(long)]
    token: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Records as fast as they are taken.
    Record {
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[arg(long, default_value_t = 4)]
        callers: u64,
        /// Records of a call.
        #[arg(long, default_value_t = 1_000)]
        batch: usize,
    },
    /// Reports, one after another.
    Read {
        #[arg(long, default_value_t = 50)]
        times: usize,
    },
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let token = fs::read_to_string(&args.token).unwrap();
    let bearer: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse().unwrap();
    let channel = Endpoint::from_shared(args.address).unwrap().connect().await.unwrap();
    match args.what {
        What::Record { seconds, callers, batch } => {
            record(&channel, &bearer, Duration::from_secs(seconds), callers, batch).await;
        }
        What::Read { times } => read(&channel, &bearer, times).await,
    }
}

async fn record(
    channel: &Channel,
    bearer: &MetadataValue<Ascii>,
    time: Duration,
    callers: u64,
    batch: usize,
) {
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for caller in 0..callers {
        let (mut client, bearer) = (UsageServiceClient::new(channel.clone()), bearer.clone());
        tasks.spawn(async move {
            let mut recorded = 0_u64;
            while begun.elapsed() < time {
                let records = (0..batch as u64).map(|number| one(caller, number)).collect();
                let mut request = Request::new(RecordUsageRequest { records });
                request.metadata_mut().insert("authorization", bearer.clone());
                recorded += u64::from(client.record_usage(request).await.unwrap().into_inner().recorded);
            }
            recorded
        });
    }
    let recorded: u64 = tasks.join_all().await.into_iter().sum();
    let rate = recorded as f64 / begun.elapsed().as_secs_f64();
    println!("RecordUsage: {recorded} records in calls of {batch} by {callers} callers, {rate:.0} records/s");
}

fn one(caller: u64, number: u64) -> UsageRecord {
    #[expect(clippy::disallowed_methods, reason = "the requests of a load are of now")]
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let id = |kind: u64, number: u64| Uuid::from_u64_pair(kind, number).to_string();
    UsageRecord {
        usage_id: Uuid::now_v7().to_string(),
        attempt: 1,
        user_id: id(1, number % 100),
        key_id: id(2, number % 200),
        model_id: id(3, caller + 1),
        model: format!("model-{}", number % 20),
        engine: "http://10.0.0.1:8000".into(),
        endpoint: "chat/completions".into(),
        outcome: Outcome::Finished.into(),
        prompt_tokens: 100,
        cached_prompt_tokens: 60,
        completion_tokens: 20,
        start_time: Some(at(seconds)),
        ..UsageRecord::default()
    }
}

async fn read(channel: &Channel, bearer: &MetadataValue<Ascii>, times: usize) {
    let user = Uuid::from_u128(1_000_007).to_string();
    let reports = [
        (
            "one user by day, a year",
            GetUsageRequest { bucket: TimeBucket::Day.into(), user_id: user, ..all() },
        ),
        (
            "one day by model",
            GetUsageRequest {
                start_time: Some(at(1_760_000_000)),
                end_time: Some(at(1_760_086_400)),
                group_by: vec![UsageDimension::Model.into()],
                ..all()
            },
        ),
    ];
    for (name, report) in reports {
        let mut took = Vec::new();
        for _ in 0..times {
            let mut request = Request::new(report.clone());
            request.metadata_mut().insert("authorization", bearer.clone());
            let begun = Instant::now();
            let rows =
                UsageServiceClient::new(channel.clone()).get_usage(request).await.unwrap().into_inner().rows;
            took.push(begun.elapsed());
            assert!(!rows.is_empty(), "{name}: there is nothing");
        }
        took.sort_unstable();
        let part = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)].as_secs_f64() * 1_000.0;
        println!("GetUsage, {name}: median {:.1} ms, 95 % {:.1} ms", part(50), part(95));
    }
}

fn all() -> GetUsageRequest {
    GetUsageRequest { page_size: 1_000, ..GetUsageRequest::default() }
}

fn at(seconds: u64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: i64::try_from(seconds).unwrap(), nanos: 0 }
}
