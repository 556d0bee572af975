//! The engine under test: simulated, or a real vLLM.
//!
//! `TOLLGATE_TEST_VLLM` is the base URL of a running vLLM, used one case at a time because its counters are read.
//! `TOLLGATE_TEST_VLLM_START` is a command: with the arguments `start PORT [flags of vllm serve]` it starts a server on
//! that port of the loopback, prints a line with `pid N` once that answers, and leaves it running; with `stop PORT KILL`
//! it ends it.

mod real;

use crate::{
    client::{self, Answer},
    gateway::named,
    until,
};
use axum::Router;
use clap::{Args, FromArgMatches};
use real::Real;
use serde_json::Value;
use shared::server::{self, Limits, Tasks};
use simulator::Faults;
use std::net::Ipv4Addr;
use tokio::{
    net::TcpListener,
    sync::{Mutex, MutexGuard},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// An engine.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) url: String,
    pub(crate) model: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Simulated(Simulated),
    /// Started for one case.
    Started(Real),
    /// Says what was recorded.
    Recorded {
        _serving: Tasks,
    },
    /// Was there before, and stays.
    Shared {
        _turn: MutexGuard<'static, ()>,
    },
}

#[derive(Debug)]
struct Simulated {
    engine: simulator::Engine,
    stop: CancellationToken,
    serving: JoinSet<()>,
}

/// What an engine has counted and has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) prompt_tokens: u64,
    pub(crate) generation_tokens: u64,
    pub(crate) running: u64,
    pub(crate) waiting: u64,
}

/// Real engines are used by one case at a time.
static TURN: Mutex<()> = Mutex::const_new(());

impl Engine {
    /// One to talk to.
    pub(crate) async fn any() -> Self {
        let Some(url) = real::running() else { return Self::simulated("tiny", &[]).await };
        let turn = TURN.lock().await;
        let engine = Self { model: served(&url).await, url, kind: Kind::Shared { _turn: turn } };
        engine.idle().await;
        engine
    }

    /// One to do harm to, with flags that both kinds know.
    pub(crate) async fn own(flags: &[&str]) -> Self {
        match real::command() {
            Some(command) => Self::start(&command, flags).await,
            None => Self::simulated("tiny", flags).await,
        }
    }

    /// One that makes vectors and nothing else.
    pub(crate) async fn embedding() -> Self {
        match real::command() {
            Some(command) => Self::start(&command, &["--runner", "pooling", "--convert", "embed"]).await,
            None => Self::simulated("tiny", &["--task", "embed"]).await,
        }
    }

    async fn start(command: &[String], flags: &[&str]) -> Self {
        let started = Real::start(command, flags, TURN.lock().await).await;
        let url = started.url();
        Self { model: served(&url).await, url, kind: Kind::Started(started) }
    }

    /// A simulated one, ten times as fast as an engine is unless the flags say otherwise.
    pub(crate) async fn simulated(model: &str, flags: &[&str]) -> Self {
        let speed: &[&str] = if flags.contains(&"--time-scale") { &[] } else { &["--time-scale", "10"] };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let simulated = Simulated::start(model, &[speed, flags].concat(), listener);
        Self { url, model: model.to_owned(), kind: Kind::Simulated(simulated) }
    }

    /// One that answers by these routes alone.
    pub(crate) async fn recorded(model: &str, routes: Router) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = Tasks::default();
        serving.spawn(server::serve(listener, routes, Limits::default(), serving.stopping()));
        Self { url, model: model.to_owned(), kind: Kind::Recorded { _serving: serving } }
    }

    /// Ends it as SIGKILL does: its connections are closed by the system, in the middle of whatever it says.
    pub(crate) async fn kill(&mut self) {
        match &mut self.kind {
            Kind::Simulated(simulated) => simulated.serving.shutdown().await,
            Kind::Started(real) => real.signal("KILL").await,
            _ => panic!("this engine is not ours to kill"),
        }
    }

    /// Starts a simulated one again where it was, after it was killed.
    pub(crate) async fn start_again(&mut self) {
        let address = self.url.trim_start_matches("http://");
        let listener = TcpListener::bind(address).await.unwrap();
        self.kind = Kind::Simulated(Simulated::start(&self.model, &["--time-scale", "10"], listener));
    }

    /// Tells it to end, as SIGTERM does: at once, unless it was started with a `--shutdown-timeout`.
    pub(crate) async fn terminate(&self) {
        match &self.kind {
            Kind::Simulated(simulated) => simulated.stop.cancel(),
            Kind::Started(real) => real.signal("TERM").await,
            _ => panic!("this engine is not ours to end"),
        }
    }

    /// Stops it from computing, as SIGSTOP does. Nothing is refused and nothing ends.
    pub(crate) async fn hang(&self) {
        match &self.kind {
            Kind::Simulated(simulated) => {
                simulated.engine.set_faults(Faults { hang: true, ..Faults::default() });
            }
            Kind::Started(real) => real.signal("STOP").await,
            _ => panic!("this engine is not ours to stop"),
        }
    }

    /// Lets it go on.
    pub(crate) async fn go_on(&self) {
        match &self.kind {
            Kind::Simulated(simulated) => simulated.engine.set_faults(Faults::default()),
            Kind::Started(real) => real.signal("CONT").await,
            _ => {}
        }
    }

    /// Makes a simulated one misbehave.
    pub(crate) fn fail(&self, faults: Faults) {
        let Kind::Simulated(simulated) = &self.kind else { panic!("only simulated engines fail on demand") };
        simulated.engine.set_faults(faults);
    }

    /// Asks the engine itself, past the gateway.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        client::send(&self.url, client::post(path, &named(body, &self.model))).await
    }

    /// What its metrics say now.
    pub(crate) async fn counts(&self) -> Counts {
        let page = client::send(&self.url, client::get("/metrics")).await.text().await;
        let value = |name: &str| {
            let mut lines = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
            let value = lines.next().and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value);
            let value: f64 = value.unwrap_or_else(|| panic!("no {name} in the metrics")).parse().unwrap();
            value as u64
        };
        Counts {
            prompt_tokens: value("vllm:prompt_tokens_total"),
            generation_tokens: value("vllm:generation_tokens_total"),
            running: value("vllm:num_requests_running"),
            waiting: value("vllm:num_requests_waiting"),
        }
    }

    /// Waits until its metrics say what they should.
    pub(crate) async fn until(&self, what: &str, good: impl Fn(&Counts) -> bool) -> Counts {
        until(what, async || Some(self.counts().await).filter(&good)).await
    }

    /// Waits until it has nothing to do.
    pub(crate) async fn idle(&self) -> Counts {
        self.until("the engine to be idle", |counts| counts.running + counts.waiting == 0).await
    }
}

impl Simulated {
    fn start(model: &str, flags: &[&str], listener: TcpListener) -> Self {
        let line = [&["engine", "--model", model], flags].concat();
        let command = simulator::Config::augment_args(clap::Command::new("engine"));
        let config = simulator::Config::from_arg_matches(&command.get_matches_from(line)).unwrap();
        let (engine, driver) = simulator::Engine::new(config);
        let (stop, mut serving) = (CancellationToken::new(), JoinSet::new());
        let stopping = stop.clone();
        serving.spawn(async move { driver.serve(listener, stopping).await.unwrap() });
        Self { engine, stop, serving }
    }
}

/// The name of the model that an engine serves.
async fn served(url: &str) -> String {
    let models = client::send(url, client::get("/v1/models")).await.json().await;
    models["data"][0]["id"].as_str().unwrap().to_owned()
}
