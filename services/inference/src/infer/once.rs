//! A request that its caller has named: done once, at whichever gateways it comes in.
//!
//! In this process the name finds the call that is under way or done. Between gateways a claim in Redis says who does it;
//! the others wait for the answer that is written there, and take over from one that died.

use super::{Inference, Inferred, sharing::Driven};
use crate::{
    admit::Admitted,
    cache::{Flight, Found, Key, Once, Turn},
    error::Error,
};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Instrument;

impl Inference {
    /// Does it, or waits for whoever does.
    pub(super) async fn once(
        &self,
        admitted: Admitted,
        key: Arc<str>,
        request_id: &str,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let Some(fingerprint) = Key::fingerprint(&admitted.prompt) else {
            return self.answer(admitted, request_id, deadline).await;
        };
        let seat = match self.cache.names().ask(admitted.person.user, &key, fingerprint) {
            Once::Another => return Err(Error::KeyReused),
            Once::Again(seat) => {
                self.cache.statistics().count(admitted.prompt.served(), Found::Repeated);
                return self.follow(&admitted, seat, request_id, deadline).await;
            }
            Once::First(seat, flight) => {
                let (this, mut admitted) = (self.clone(), admitted.clone());
                admitted.prompt.wants_usage = true;
                let named = Named { admitted, key, fingerprint, request_id: request_id.to_owned(), flight };
                let task = async move { Box::pin(this.do_once(named)).await };
                self.cache.spawn(task.instrument(tracing::Span::current()));
                seat
            }
        };
        self.lead(&admitted, seat, deadline).await
    }

    async fn do_once(&self, named: Named) {
        let Named { admitted, key, fingerprint, request_id, flight } = &named;
        let _driven = Driven(Arc::clone(flight));
        let user = admitted.person.user;
        let answer = match self.cache.turn(user, key, admitted, self.patience(None)).await {
            Turn::Own(None) => return Box::pin(self.do_own(&named)).await,
            Turn::Own(Some(claim)) => {
                return tokio::select! {
                    () = Box::pin(self.do_own(&named)) => {}
                    never = claim.renewed() => match never {},
                };
            }
            Turn::Late => Err(Error::Deadline),
            Turn::Done(asked, _) if asked != *fingerprint => Err(Error::KeyReused),
            Turn::Done(_, kept) => {
                self.cache.statistics().count(admitted.prompt.served(), Found::Repeated);
                self.kept(admitted, &kept, request_id)
            }
        };
        self.deliver(answer, flight, admitted.prompt.endpoint).await;
        self.cache.names().landed(user, key, flight);
    }

    /// Does it for all gateways. It is written for them before the claim on it is given back.
    async fn do_own(&self, Named { admitted, key, fingerprint, request_id, flight }: &Named) {
        let user = admitted.person.user;
        let answer = Box::pin(self.answer(admitted.clone(), request_id, None)).await;
        let pump = self.deliver(answer, flight, admitted.prompt.endpoint).await;
        self.cache.names().landed(user, key, flight);
        if let Some(pump) = pump {
            self.cache.remember((user, key), *fingerprint, admitted, pump).await;
        }
    }
}

/// A request with the name that its caller gave it.
struct Named {
    admitted: Admitted,
    key: Arc<str>,
    fingerprint: Key,
    request_id: String,
    flight: Arc<Flight>,
}
