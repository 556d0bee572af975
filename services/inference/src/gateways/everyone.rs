//! What all gateways over the same engines say: each is asked about itself.

use super::{ASK, Gateways};
use futures_util::future::join_all;
use shared::channel::Channel;
use std::collections::BTreeSet;
use tonic::{Response, Status};

impl Gateways {
    /// The address at which the others reach this gateway.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// The addresses of all gateways that are known, this one's among them.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<String> {
        let state = self.state();
        let others = state.claims.others().map(|(_, word)| word.address.clone());
        others.chain([self.0.address.clone()]).collect()
    }

    /// What another gateway says, unless it says nothing for a second.
    pub async fn said<T, F>(&self, address: &str, ask: impl FnOnce(Channel) -> F) -> Option<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = ask(self.channel(address)?);
        let status = match tokio::time::timeout(ASK, answer).await {
            Ok(Ok(answer)) => return Some(answer.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("it said nothing for a second"),
        };
        tracing::debug!(address, message = status.message(), "another gateway said nothing");
        None
    }

    /// What each of several gateways says, and the addresses of those that said nothing.
    pub async fn said_by_all<T, F>(
        &self,
        addresses: Vec<String>,
        ask: impl Fn(Channel, String) -> F,
    ) -> (Vec<T>, Vec<String>)
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let asked = addresses.into_iter().map(|address| async {
            let said = self.said(&address, |channel| ask(channel, address.clone())).await;
            said.ok_or(address)
        });
        let (mut said, mut unreached) = (Vec::new(), Vec::new());
        for answer in join_all(asked).await {
            match answer {
                Ok(answer) => said.push(answer),
                Err(address) => unreached.push(address),
            }
        }
        (said, unreached)
    }
}
