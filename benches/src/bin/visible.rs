//! How long a write takes until every replica decides by it: three permissions processes on one PostgreSQL, asked all
//! the time for whatever they know, with Redis between them and without.
//!
//! `TOLLGATE_BIN=target/release/tollgate cargo run --release -p benches --bin visible`

use anyhow::{Context, Result};
use clap::Parser;
use hdrhistogram::Histogram;
use proto::permissions::v1::{
    self as pb, Action, authorization_service_client::AuthorizationServiceClient, check_request::Model,
    grant::Grantee, grant_service_client::GrantServiceClient, model_service_client::ModelServiceClient,
    user_service_client::UserServiceClient,
};
use std::{
    io::Write as _,
    time::{Duration, Instant},
};
use tests::{
    redis::Redis,
    rpc::{self, Authorized},
    several::Several,
};
use tokio::task::JoinSet;

/// Replicas that have to see a write.
const COUNT: usize = 3;
/// Between two questions to one replica.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Debug, Parser)]
struct Options {
    /// Writes to measure, for each way.
    #[arg(long, default_value_t = 300)]
    writes: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<14} {:>7} {:>7} {:>7} {:>7}   ms until all {COUNT} replicas",
        "", "p50", "p90", "p99", "max"
    )?;
    for (name, redis) in [("with Redis", Some(Redis::start())), ("without Redis", None)] {
        let times = measure(&options, redis).await?;
        let at = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1_000.0;
        let (most, all) = (times.max() as f64 / 1_000.0, [at(0.5), at(0.9), at(0.99)]);
        writeln!(out, "{name:<14} {:>7.1} {:>7.1} {:>7.1} {most:>7.1}", all[0], all[1], all[2])?;
    }
    Ok(())
}

/// Microseconds from sending a write until the last replica decided by it.
async fn measure(options: &Options, redis: Option<Redis>) -> Result<Histogram<u64>> {
    let several = Several::start(COUNT, redis).await;
    let mut nodes = Vec::new();
    for address in &several.addresses {
        nodes.push(rpc::channel(*address, &several.key).await);
    }
    let request = pb::RegisterModelRequest { name: "m".to_owned(), ..Default::default() };
    let model = ModelServiceClient::new(nodes[0].clone()).register_model(request).await?.into_inner();
    let model = model.model.context("the model")?.model_id;
    // Whoever registered the model may use it anyway.
    let person = pb::CreateUserRequest {
        email: "ada@example.org".to_owned(),
        display_name: "Ada".to_owned(),
        ..Default::default()
    };
    let person = UserServiceClient::new(nodes[0].clone()).create_user(person).await?.into_inner();
    let question = pb::CheckRequest {
        user_id: person.user.context("the user")?.user_id,
        model: Some(Model::ModelId(model.clone())),
        action: Action::Use.into(),
        ..Default::default()
    };
    let mut times = Histogram::new(3)?;
    let mut grant = None;
    // The first writes find the connections of the processes still cold.
    for number in 0..options.writes + 10 {
        let begun = Instant::now();
        let writer = &nodes[number as usize % COUNT];
        let allowed = grant.is_none();
        grant = change(writer, &model, grant).await?;
        let mut seeing = JoinSet::new();
        for node in nodes.iter().cloned() {
            seeing.spawn(seen(node, question.clone(), allowed));
        }
        while let Some(seen) = seeing.join_next().await {
            seen??;
        }
        if number >= 10 {
            times.record(u64::try_from(begun.elapsed().as_micros())?)?;
        }
    }
    Ok(times)
}

/// Lets everybody in, or takes that back.
async fn change(node: &Authorized, model: &str, grant: Option<String>) -> Result<Option<String>> {
    let mut grants = GrantServiceClient::new(node.clone());
    if let Some(grant_id) = grant {
        grants.revoke_grant(pb::RevokeGrantRequest { grant_id, ..Default::default() }).await?;
        return Ok(None);
    }
    let new = pb::Grant {
        model_id: model.to_owned(),
        grantee: Some(Grantee::Everyone(true)),
        action: Action::Use.into(),
        ..Default::default()
    };
    let request = pb::CreateGrantRequest { grant: Some(new), ..Default::default() };
    Ok(grants.create_grant(request).await?.into_inner().grant.map(|grant| grant.grant_id))
}

/// Asks for whatever the replica knows until it is this.
async fn seen(node: Authorized, question: pb::CheckRequest, allowed: bool) -> Result<()> {
    let mut client = AuthorizationServiceClient::new(node);
    loop {
        let answer = client.check(question.clone()).await?.into_inner();
        if (answer.verdict() == pb::Verdict::Allowed) == allowed {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}
