//! An answer that need not be made: one that is kept, or one that is on its way already.

use super::{Inference, Inferred};
use crate::{
    admit::Admitted,
    cache::{Begun, Bounds, Cached, Flight, Found, Hit, Kept, Plan, Pump, Replay, Seat},
    dispatch::Answer,
    error::Error,
    goodput::Used,
    prompt::Endpoint,
    sse::Ending,
};
use shared::time;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use uuid::Uuid;

/// Ends a call that nobody drives any more, so that nobody waits for it.
pub(super) struct Driven(pub(super) Arc<Flight>);

impl Drop for Driven {
    fn drop(&mut self) {
        if self.0.landed().is_none() {
            self.0.fail(Error::EngineFailed { cause: "the call was given up" });
        }
    }
}

impl Inference {
    /// A request with the answer that is there, or with the one that comes.
    pub(super) async fn answer(
        &self,
        admitted: Admitted,
        request_id: &str,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let wish = &admitted.prompt.wish;
        let Some(plan) = self.cache.plan(&admitted) else {
            return match wish.only_if_cached {
                true => Err(Error::NotCached),
                false => self.fresh(&admitted, request_id, deadline).await,
            };
        };
        if let Some(texts) = &plan.texts {
            let known = self.cache.vectors(texts, wish);
            if let Some(answer) = self.known(&admitted, &known, request_id) {
                return answer;
            }
        } else if let Some(kept) = self.cache.get(&plan, wish) {
            self.cache.statistics().count(&plan.origin().model, Found::Memory);
            return self.kept(&admitted, &kept, request_id);
        }
        if wish.only_if_cached {
            return self.only_kept(&admitted, &plan, request_id).await;
        }
        let (seat, first) = self.cache.join(&plan, wish);
        let Some(flight) = first else {
            self.cache.statistics().count(&plan.origin().model, Found::Flight);
            return self.follow(&admitted, seat, request_id, deadline).await;
        };
        let (this, mut led) = (self.clone(), admitted.clone());
        led.prompt.wants_usage = true;
        let id = request_id.to_owned();
        let task = async move { this.fly(led, plan, &id, flight).await };
        self.cache.spawn(task.instrument(tracing::Span::current()));
        self.lead(&admitted, seat, deadline).await
    }

    /// Makes an answer for all who wait for it.
    async fn fly(&self, admitted: Admitted, plan: Plan, request_id: &str, flight: Arc<Flight>) {
        let driven = Driven(Arc::clone(&flight));
        let endpoint = admitted.prompt.endpoint;
        // It may have been made since it was looked for.
        let here = self.cache.get(&plan, &admitted.prompt.wish);
        let (kept, tier) = match here {
            None if plan.texts.is_none() => {
                (self.cache.second(&plan, &admitted.prompt.wish).await, Found::Redis)
            }
            here => (here, Found::Memory),
        };
        let count = |found| self.cache.statistics().count(&plan.origin().model, found);
        let answer = async {
            match (&kept, &plan.texts) {
                (Some(kept), _) => {
                    count(tier);
                    self.deliver(self.kept(&admitted, kept, request_id), &flight, endpoint).await
                }
                (None, Some(texts)) => {
                    let answer = Box::pin(self.embed(&admitted, &plan, texts, request_id)).await;
                    self.deliver(answer, &flight, endpoint).await
                }
                (None, None) => {
                    count(Found::Missed);
                    let answer = Box::pin(self.fresh(&admitted, request_id, None)).await;
                    self.deliver(
                        answer.map(|answer| Inferred { cached: Cached::Miss, ..answer }),
                        &flight,
                        endpoint,
                    )
                    .await
                }
            }
        };
        let pump = tokio::select! {
            biased;
            () = flight.abandoned() => None,
            pump = answer => pump.filter(|_| kept.is_none()),
        };
        let made = pump.and_then(|pump| plan.kept(pump, admitted.accepted.elapsed()));
        self.cache.landed(&plan, &flight, made);
        drop(driven);
    }

    /// An answer that the second tier has, for whoever wants no other.
    async fn only_kept(&self, admitted: &Admitted, plan: &Plan, request_id: &str) -> Result<Inferred, Error> {
        let wish = &admitted.prompt.wish;
        let answer = match &plan.texts {
            Some(texts) => {
                let mut known = self.cache.vectors(texts, wish);
                self.cache.second_vectors(plan, texts, wish, &mut known).await;
                self.known(admitted, &known, request_id)
            }
            None => match self.cache.second(plan, wish).await {
                Some(kept) => {
                    self.cache.statistics().count(&plan.origin().model, Found::Redis);
                    Some(self.kept(admitted, &kept, request_id))
                }
                None => None,
            },
        };
        answer.unwrap_or(Err(Error::NotCached))
    }

    /// An answer that is kept, for whoever asks again.
    pub(super) fn kept(&self, admitted: &Admitted, kept: &Kept, request_id: &str) -> Result<Inferred, Error> {
        let usage_id = Uuid::now_v7();
        Hit::open(&self.ledger.journal, admitted, usage_id, request_id).whole(kept.usage)?;
        self.cache.statistics().saved(&kept.of.model, kept.usage, kept.took);
        kept.used();
        let answer = match kept.usage_event {
            Some(_) => Answer::Replayed(Box::new(Replay::kept(kept, admitted.prompt.wants_usage))),
            None => Answer::Whole(kept.bytes.clone(), Used::default()),
        };
        let cached = Cached::Hit(kept.age(time::now()));
        Ok(Inferred { usage_id, instead: None, cached, elsewhere: Duration::ZERO, answer })
    }

    /// The answer of a call, for whoever asked first.
    pub(super) async fn lead(
        &self,
        admitted: &Admitted,
        mut seat: Seat,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let until = self.patience(deadline);
        let begun = timeout_at(until, seat.begun()).await.map_err(|_| Error::Deadline)??;
        let Begun { usage_id, instead, cached, elsewhere, whole } = begun;
        let answer = match whole {
            Some(json) => Answer::Whole(json, Used::default()),
            None => Answer::Replayed(Box::new(Replay::live(seat, &admitted.prompt, until, None))),
        };
        Ok(Inferred { usage_id, instead, cached, elsewhere, answer })
    }

    /// The answer of a call, for whoever asked while it was under way or done.
    pub(super) async fn follow(
        &self,
        admitted: &Admitted,
        mut seat: Seat,
        request_id: &str,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let (until, asked) = (self.patience(deadline), Instant::now());
        let begun = timeout_at(until, seat.begun()).await.map_err(|_| Error::Deadline)??;
        let elsewhere = asked.elapsed();
        let may_stand_in =
            |model: &String| self.instead(admitted).is_some_and(|own| own.prompt.model == *model);
        if !begun.instead.as_ref().is_none_or(may_stand_in) {
            // Another model answers whoever asked first, and that one is not for this caller.
            drop(seat);
            return self.fresh(admitted, request_id, deadline).await;
        }
        let usage_id = Uuid::now_v7();
        let hit = Hit::open(&self.ledger.journal, admitted, usage_id, request_id);
        let hit = hit.saving(admitted, self.cache.statistics());
        let age = match begun.cached {
            Cached::Hit(age) => age,
            Cached::Bypass | Cached::Miss => Duration::ZERO,
        };
        let answer = match begun.whole {
            Some(json) => {
                hit.whole(admitted.prompt.endpoint.usage(&json).unwrap_or_default())?;
                Answer::Whole(json, Used::default())
            }
            None => Answer::Replayed(Box::new(Replay::live(seat, &admitted.prompt, until, Some(hit)))),
        };
        Ok(Inferred { usage_id, instead: begun.instead, cached: Cached::Hit(age), elsewhere, answer })
    }

    /// When a caller has waited long enough.
    pub(super) fn patience(&self, deadline: Option<Instant>) -> Instant {
        let total = Instant::now() + self.dispatcher.fleet.settings().total_timeout;
        deadline.map_or(total, |deadline| deadline.min(total))
    }

    /// Passes an answer on to all who wait for it. Returns it unless there is none.
    pub(super) async fn deliver(
        &self,
        answer: Result<Inferred, Error>,
        flight: &Flight,
        endpoint: Endpoint,
    ) -> Option<Pump> {
        let bounds = Bounds { kept: self.cache.largest(), held: self.dispatcher.max_answer_bytes };
        let Inferred { usage_id, instead, cached, elsewhere, answer } = match answer {
            Ok(answer) => answer,
            Err(error) => {
                flight.fail(error);
                return None;
            }
        };
        // What another model says is no answer of the one that was asked.
        let own = instead.is_none();
        let begin = |whole| flight.begin(Begun { usage_id, instead, cached, elsewhere, whole });
        let (mut pump, ending) = (Pump::default(), Ending::of(endpoint.dialect()));
        match answer {
            Answer::Whole(json, _) => {
                pump = Pump::whole(json.clone(), endpoint.usage(&json));
                begin(Some(json));
            }
            Answer::Stream(metered) => {
                begin(None);
                pump.stream(metered, flight, bounds, ending).await;
            }
            Answer::Relayed(relayed) => {
                begin(None);
                pump.stream(relayed, flight, bounds, ending).await;
            }
            Answer::Replayed(replay) => {
                begin(None);
                pump.stream(replay, flight, bounds, ending).await;
            }
        }
        flight.land(pump.landed());
        own.then_some(pump)
    }
}
