//! The node agent: looks after one engine on the machine it runs on.
//!
//! [`observe`] reads the GPUs and the engine, [`life`] moves the instance from its first sign to its end and tells
//! monitoring of it through [`report`], [`notice`] hears when the cloud takes the machine away, [`idle`] when the engine
//! has nothing to do, and [`drain`] empties it through the gateways before [`stop`] stops what is to be stopped. [`push`]
//! gives clouds the figures they scale by.
//!
//! It is small: one thread, one HTTP client, and nothing that is not switched on.

mod cloud;
mod config;
mod drain;
mod engine;
mod gpu;
mod idle;
mod life;
mod notice;
mod observe;
mod process;
mod push;
mod report;
mod show;
mod stop;
mod web;

pub use config::Config;
pub use process::{Error, Ports, Settings, Upstream, run};

use shared::{
    channel::Channel,
    health::Health,
    server::Tasks,
    tls::{Dialer, Trust},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The services that an agent meets. Every channel carries the service token.
#[derive(Debug)]
struct Upstreams {
    /// Who keeps the instances.
    monitoring: Channel,
    /// Every gateway that sends requests to the engine.
    gateways: Vec<Channel>,
}

/// Starts the agent. It has ended when the token that it returns is cancelled: after `stopping`, as soon as its engine is
/// drained, or when another agent took over.
/// One sentence comes back when the configuration cannot be followed.
fn start(
    config: Config,
    upstreams: Upstreams,
    stopping: CancellationToken,
    health: &Health,
    tasks: &Tasks,
) -> Result<CancellationToken, String> {
    let config = config.filled();
    let dialer = Dialer::open(&Trust::default(), "agent").map_err(|fault| fault.0)?;
    let web = web::Web::new(dialer);
    let engine = engine::Engine::new(&config, &web)?;
    let (orders, ordered) = mpsc::channel(16);
    let (seeing, seen) = watch::channel(observe::Seen::default());
    observe::start(&config, engine.clone(), seeing, tasks);
    show::start(&config, &seen);
    notice::start(&config, &web, &orders, tasks)?;
    idle::start(&config, seen.clone(), &orders, tasks);
    let (reporter, heard) = report::start(
        &config,
        upstreams.monitoring,
        seen.clone(),
        health.component("monitoring", false),
        tasks,
    );
    push::start(&config, &web, seen, heard.clone(), tasks)?;
    let gateways = drain::Gateways::new(&config, upstreams.gateways);
    let stop = stop::Stop::new(&config, &web)?;
    let ended = CancellationToken::new();
    let life = life::Life { config, engine, gateways, stop, reporter, heard, ordered, stopping, web };
    let (over, end) = (ended.clone(), health.component("engine", true));
    tasks.spawn(async move {
        Box::pin(life.run(&end)).await;
        over.cancel();
    });
    Ok(ended)
}
