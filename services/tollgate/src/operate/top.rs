//! `tollgate top`: how everything goes, again and again, on a terminal.
//!
//! [`ask`] says what is asked of monitoring and reads the answers, [`frame`] makes lines of them, and [`screen`] is the
//! terminal. Where there is none, and with `--once`, one frame is printed.

mod ask;
mod frame;
mod screen;

use super::{
    Common,
    account::Account,
    call::{Client, Contract},
    names::duration,
};
use anyhow::Context;
use ask::Look;
use clap::Args;
use screen::{Key, Screen};
use serde_json::{Value, json};
use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// Longest time that alerts may take; the figures are shown without them then.
const PATIENCE: Duration = Duration::from_secs(2);

/// How everything goes.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Prints one frame and ends; so it does where there is no terminal.
    #[arg(long)]
    once: bool,
    /// Between two frames, from 1s to 60s; 2s when left out.
    #[arg(long, default_value = "2s")]
    interval: String,
    /// How far back figures look: 3m when left out.
    #[arg(long, default_value = "3m")]
    window: String,
}

impl Top {
    pub(crate) async fn run(self, common: &Common) -> anyhow::Result<()> {
        let account = Account::open(common)?;
        let client = account.client(&Contract::open()?).await?;
        let request = ask::request(&duration(&self.interval)?, &duration(&self.window)?);
        let mut looks = client.watch("MetricsService/WatchMetrics", &request).await?;
        let title = format!("tollgate top  {}  the last {}", account.server, self.window);
        if self.once || !io::stdout().is_terminal() {
            let first = looks.next().await?.context("monitoring ended before it said anything")?;
            let look = Look::read(&first, alerts(&client).await);
            let mut out = io::stdout().lock();
            for line in frame::frame(&title, &look) {
                writeln!(out, "{}", line.text)?;
            }
            return Ok(());
        }
        let mut screen = Screen::open().context("the terminal cannot be used; --once needs none")?;
        let mut keys = Screen::keys();
        let mut terminated = signal(SignalKind::terminate())?;
        let mut lines = frame::waiting(&title);
        screen.draw(&lines)?;
        loop {
            tokio::select! {
                look = looks.next() => {
                    let look = look?.context("monitoring ended")?;
                    lines = frame::frame(&title, &Look::read(&look, alerts(&client).await));
                    screen.draw(&lines)?;
                }
                key = keys.recv() => match key {
                    Some(Key::Resized) => screen.draw(&lines)?,
                    Some(Key::Quit) | None => return Ok(()),
                },
                _ = terminated.recv() => return Ok(()),
            }
        }
    }
}

/// Alerts that fire or are about to; nothing when they cannot be read.
async fn alerts(client: &Client) -> Option<Vec<Value>> {
    let all = client.all("AlertService/ListAlerts", json!({}), "alerts");
    timeout(PATIENCE, all).await.ok()?.ok()
}
