//! Notices that the cloud takes this machine away. Each cloud says it in its own way; what they mean is one [`Notice`],
//! and every notice becomes an order to drain at once.

mod aws;
mod azure;
mod gcp;

pub(crate) use aws::token as aws_token;

use crate::{
    Config,
    config::Provider,
    life::Order,
    web::{Silence, Site, Web},
};
use policy::Time;
use scaling::Cause;
use shared::{server::Tasks, time};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::mpsc;

/// Longest time for a question that is answered at once.
const LIMIT: Duration = Duration::from_secs(2);

/// That the machine goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The cloud's own id, or one made of what it said.
    pub(crate) event_id: String,
    /// What is done to the machine, in the cloud's word.
    pub(crate) action: String,
    /// When it was heard.
    pub(crate) heard: Time,
    /// When it happens.
    pub(crate) deadline: Option<Time>,
    /// Whether the cloud waits to be told that it may go on.
    pub(crate) waits: bool,
}

/// Why nothing was heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Deaf {
    #[error(transparent)]
    Silent(#[from] Silence),
    #[error("it answers {0}")]
    Refuses(u16),
    #[error("it says what cannot be understood: {0}")]
    Garbled(String),
}

/// Whom to ask.
enum Server {
    Aws(aws::Aws),
    Gcp(gcp::Gcp),
    Azure(azure::Azure),
}

/// Listens from now on until the process ends.
pub(crate) fn start(
    config: &Config,
    web: &Web,
    orders: &mpsc::Sender<Order>,
    tasks: &Tasks,
) -> Result<(), String> {
    let cloud = &config.cloud;
    let site = || web.site(cloud.metadata()).map_err(|fault| format!("agent.cloud.metadata: {fault}"));
    let mut server = match cloud.provider {
        Provider::None => return Ok(()),
        Provider::Aws => Server::Aws(aws::Aws::new(site()?)),
        Provider::Gcp => Server::Gcp(gcp::Gcp::new(site()?)),
        Provider::Azure => Server::Azure(azure::Azure::new(site()?)),
    };
    let (every, stop, orders) = (cloud.every, tasks.stopping(), orders.clone());
    tasks.spawn(async move {
        let listening = async {
            let (mut known, mut complained) = (BTreeSet::new(), false);
            loop {
                match server.ask().await {
                    Ok(notices) => {
                        complained = false;
                        for notice in notices {
                            // Said until it happens.
                            if known.insert(notice.event_id.clone()) {
                                order(&orders, notice).await;
                            }
                        }
                    }
                    Err(why) => {
                        if !complained {
                            tracing::warn!(%why, "the metadata server does not say whether this machine may stay");
                        }
                        complained = true;
                    }
                }
                tokio::time::sleep(every).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = listening => {}
        }
    });
    Ok(())
}

async fn order(orders: &mpsc::Sender<Order>, notice: Notice) {
    tracing::warn!(action = notice.action, event = notice.event_id, "the cloud takes this machine away");
    let detail = format!("{} announced", notice.action);
    let order = Order { cause: Cause::Preemption, detail, limit: None, notice: Some(notice) };
    // Nobody is left to be ordered when the process has ended.
    let _ = orders.send(order).await;
}

impl Server {
    async fn ask(&mut self) -> Result<Vec<Notice>, Deaf> {
        match self {
            Self::Aws(aws) => aws.ask().await,
            Self::Gcp(gcp) => gcp.ask().await,
            Self::Azure(azure) => azure.ask().await,
        }
    }
}

impl Notice {
    fn now(event_id: String, action: impl Into<String>, deadline: Option<Time>) -> Self {
        Self { event_id, action: action.into(), heard: time::now(), deadline, waits: false }
    }

    /// Tells a cloud that waits for it that it may go on.
    pub(crate) async fn release(&self, config: &Config, web: &Web) {
        if !self.waits {
            return;
        }
        let Ok(site) = web.site(config.cloud.metadata()) else { return };
        if let Err(why) = azure::release(&site, &self.event_id).await {
            tracing::warn!(%why, "the cloud was not told that it may go on");
        }
    }
}

/// What a path says; none where there is nothing there.
async fn said(site: &Site, path: &str, headers: &[(&'static str, &str)]) -> Result<Option<String>, Deaf> {
    let answer = site.get(path, headers, LIMIT).await?;
    match answer.status.as_u16() {
        200 => Ok(Some(answer.body)),
        404 => Ok(None),
        other => Err(Deaf::Refuses(other)),
    }
}

fn garbled(text: &str) -> Deaf {
    Deaf::Garbled(text.chars().take(200).collect())
}

#[cfg(test)]
mod tests;
