//! Permissions away for a while under a steady load: every inference must be answered, by keys and by access tokens that
//! cannot be renewed meanwhile, and every one must be in the ledger. Prints counts; fails when anything was refused.
//!
//! `just away --seconds 600`

#![expect(clippy::unwrap_used, reason = "like a test, it fails by panicking")]

use clap::Parser;
use serde_json::json;
use std::{
    fs,
    io::{self, Write},
    time::{Duration, Instant},
};
use tests::{
    apart::{Apart, Role},
    engine::Engine,
    http::Client,
    process::free_address,
    steady::{Steady, doors, holders},
    suite::MODEL,
    until,
};

/// What to do.
#[derive(Debug, Parser)]
struct Args {
    /// How long permissions is away, seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// How long the load runs before and after that, seconds.
    #[arg(long, default_value_t = 20)]
    around: u64,
    /// Requests per second, over all callers.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// People, each of whom calls with a key and, beside that, signed in.
    #[arg(long, default_value_t = 5)]
    people: usize,
    /// Life of an access token, seconds. Shorter than the absence, so that all of them run out within it.
    #[arg(long, default_value_t = 300)]
    token_life: u64,
    /// Kills the process instead of stopping it.
    #[arg(long)]
    kill: bool,
}

/// Between two lines about how it goes.
const LINE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> io::Result<()> {
    let args = Args::parse();
    let engine = Engine::start("--time-scale 0").await;
    let life = format!("{}s", args.token_life);
    let mut apart = Apart::start(&[
        ("TOLLGATE_ENGINES", engine.url.as_str()),
        ("TOLLGATE_PERMISSIONS__ACCESS_TOKEN_LIFETIME", &life),
    ])
    .await;
    let holders = holders(&apart, args.people).await;
    let pause = Duration::from_secs(2) * args.people as u32 / args.rate;
    for holder in &holders {
        until("a caller that may ask", async || may(&apart, holder.credential()).await.then_some(())).await;
    }
    let load = Steady::start(doors(&apart), holders, pause).await;
    let mut story = Story { out: io::stdout(), began: Instant::now() };

    run_for(&load, Duration::from_secs(args.around), &mut story).await?;
    load.while_none_renews(async || {
        let permissions = apart.process(Role::Permissions);
        if args.kill { permissions.kill() } else { assert!(permissions.stop().await.success()) }
    })
    .await;
    story.tell("permissions is away", &load)?;
    let half = Duration::from_secs(args.seconds) / 2;
    run_for(&load, half, &mut story).await?;
    start_another(&apart, load.seen().a_key()).await;
    story.tell("another gateway started from what the first one kept, and answered", &load)?;
    run_for(&load, half, &mut story).await?;
    story.tell("permissions starts again", &load)?;
    let returned = Instant::now();
    apart.run(Role::Permissions).await;
    until("a policy that is fresh", async || fresh(&apart).await.then_some(())).await;
    story.tell(&format!("the policy is fresh {:.1?} after that", returned.elapsed()), &load)?;
    run_for(&load, Duration::from_secs(args.around), &mut story).await?;

    let seen = load.end().await;
    seen.assert_none_refused();
    seen.assert_recorded(&apart.owner()).await;
    let uses = until("the uses of keys", async || {
        let uses = uses(&apart.owner()).await;
        (uses >= seen.answered_to_keys()).then_some(uses)
    })
    .await;
    let mut out = io::stdout();
    writeln!(out, "answered           {} {:?}", seen.answered(), seen.by_way())?;
    writeln!(out, "refused            0")?;
    writeln!(out, "in the ledger      {}, each once", seen.answered())?;
    writeln!(out, "to expired tokens  {}", seen.overdue())?;
    writeln!(out, "tokens renewed     {}, tried in vain {}", seen.renewals().0, seen.renewals().1)?;
    writeln!(out, "by keys            {}, uses that keys count {uses}", seen.answered_to_keys())
}

/// Says how it goes, one line each.
struct Story {
    out: io::Stdout,
    began: Instant,
}

impl Story {
    fn tell(&mut self, what: &str, load: &Steady) -> io::Result<()> {
        let seen = load.seen();
        let (answered, refused, overdue) = (seen.answered(), seen.refused().len(), seen.overdue());
        let at = self.began.elapsed().as_secs();
        writeln!(
            self.out,
            "{at:4} s: {answered} answered, {overdue} of them to expired tokens, {refused} refused; {what}"
        )
    }
}

async fn run_for(load: &Steady, time: Duration, story: &mut Story) -> io::Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        tokio::time::sleep(LINE.min(end.saturating_duration_since(Instant::now()))).await;
        load.seen().assert_none_refused();
        story.tell("it goes on", load)?;
    }
    Ok(())
}

/// Whether a caller's inference is answered.
async fn may(apart: &Apart, credential: &str) -> bool {
    asks(&Client::new(apart.address(Role::Edge), Some(credential))).await
}

async fn asks(client: &Client) -> bool {
    let body = json!({"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "w1"}]});
    client.post("/v1/chat/completions", &body).await.status == 200
}

/// Whether the gateway knows again what permissions knows.
async fn fresh(apart: &Apart) -> bool {
    let ready = Client::new(apart.admin(Role::Inference), None).get("/health/ready").await.ok();
    ready.json()["components"]["policy replica"]["status"] == "up"
}

/// Starts a gateway with nothing but what the first one has kept of the policy, and asks it something.
async fn start_another(apart: &Apart, key: String) {
    let (from, to) = (apart.data(Role::Inference), apart.data(Role::Inference).with_extension("another"));
    fs::create_dir_all(&to).unwrap();
    for name in ["policy.json", "policy.heard.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let (address, admin) = (free_address(), free_address());
    let changes = [
        ("TOLLGATE_DATA_DIR", to.display().to_string()),
        ("TOLLGATE_PORTS__INFERENCE", address.to_string()),
        ("TOLLGATE_PORTS__INFERENCE_ADMIN", admin.to_string()),
    ];
    let mut gateway =
        apart.spawn(Role::Inference, &changes.each_ref().map(|(name, value)| (*name, value.as_str())));
    gateway.until_ok(admin, "/health/ready").await;
    assert!(asks(&Client::new(address, Some(&key))).await, "what was kept is enough");
    assert!(gateway.stop().await.success());
}

/// How often the keys of all people but the first were used, as permissions has counted it.
async fn uses(owner: &Client) -> usize {
    let users = owner.get("/api/v1/users?page_size=100").await.data();
    let mut sum = 0;
    for user in users["users"].as_array().unwrap() {
        if user["email"] != "owner@localhost" {
            let path = format!("/api/v1/keys?user_id={}", user["user_id"].as_str().unwrap());
            let keys = owner.get(&path).await.data();
            sum +=
                keys["keys"].as_array().unwrap().iter().map(|key| number(&key["use_count"])).sum::<usize>();
        }
    }
    sum
}

fn number(value: &serde_json::Value) -> usize {
    value.to_string().trim_matches('"').parse().unwrap()
}
