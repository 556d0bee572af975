//! A call where several gateways use the same engines: it waits at the one that has a fit engine, here or elsewhere.
//!
//! A call is passed on once at most. Nothing has reached its caller until then, so whatever becomes of the other gateway,
//! it can still wait somewhere else.

use super::{Inference, Inferred, conclude};
use crate::{
    admit::Admitted,
    cache::Cached,
    error::Error,
    gateways::{Gateways, Place, forward::Failure},
    goodput::Trial,
    prompt::Prompt,
    queue::{Permit, Waiting},
    spans,
};
use shared::auth::Person;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;

/// Longest time for which the engines of a model may be between two owners: until a lease is over, and it is known who is.
const BETWEEN: Duration = Duration::from_secs(10);
/// Between two tries to find out who owns them.
const PAUSE: Duration = Duration::from_millis(100);

impl Inference {
    /// Runs a prompt that another gateway passes on: here or not at all.
    ///
    /// # Errors
    /// [`Error::Elsewhere`] when this gateway owns no engine for it, or no longer; else like [`Self::infer`].
    pub async fn infer_here(
        &self,
        person: Person,
        prompt: Prompt,
        request_id: &str,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let span = spans::request(&prompt);
        Box::pin(self.passed_on(person, prompt, request_id, deadline)).instrument(span).await
    }

    async fn passed_on(
        &self,
        person: Person,
        prompt: Prompt,
        request_id: &str,
        deadline: Option<Instant>,
    ) -> Result<Inferred, Error> {
        let admitted = self.admit(person, prompt)?;
        let here = |gateways: &Gateways| gateways.is_here(admitted.prompt.served(), admitted.prompt.only);
        if !self.gateways.as_ref().is_some_and(here) {
            return Err(Error::Elsewhere);
        }
        self.limit(&admitted)?;
        let mut trial = self.trial(&admitted);
        let answer = self.run_here(&admitted, request_id, self.until(deadline), &mut trial).await;
        if matches!(answer, Err(Error::Elsewhere)) {
            trial.elsewhere();
        }
        conclude(answer, trial)
    }

    /// Runs it where it waits least.
    pub(super) async fn run(
        &self,
        admitted: &Admitted,
        request_id: &str,
        until: Instant,
        trial: &mut Trial,
    ) -> Result<Inferred, Error> {
        let Some(gateways) = &self.gateways else {
            return self.run_here(admitted, request_id, until, trial).await;
        };
        let model = admitted.prompt.served();
        let (mut lost, mut owned) = (0, Instant::now());
        loop {
            match gateways.place(model, admitted.prompt.only, rand::random()) {
                Place::Here => match self.run_here(admitted, request_id, until, trial).await {
                    Err(Error::Elsewhere) => owned = Instant::now(),
                    answer => return answer,
                },
                Place::At { gateway, address } => {
                    let (to, asked) = ((gateway, address.as_str()), Instant::now());
                    match gateways.forward(to, admitted, request_id, until).await {
                        Ok((usage_id, answer)) => {
                            trial.elsewhere();
                            let cached = Cached::Bypass;
                            let elsewhere = asked.elapsed();
                            return Ok(Inferred { usage_id, instead: None, cached, elsewhere, answer });
                        }
                        Err(Failure::Final(error)) => {
                            trial.elsewhere();
                            return Err(error);
                        }
                        Err(Failure::Unmoved) => gateways.changed(PAUSE).await,
                        Err(Failure::Lost) if lost + 1 < self.dispatcher.fleet.settings().attempts => {
                            (lost, owned) = (lost + 1, Instant::now());
                        }
                        Err(Failure::Lost) => {
                            return Err(Error::EngineFailed { cause: "the gateways that had it were lost" });
                        }
                    }
                }
                Place::Nowhere => gateways.changed(PAUSE).await,
            }
            if Instant::now() >= until {
                return Err(Error::Deadline);
            }
            if owned.elapsed() > BETWEEN {
                return Err(Error::NoEngine { model: model.to_owned() });
            }
        }
    }

    /// Waits for its turn, as long as that is here.
    pub(super) async fn turn(&self, prompt: &Prompt, waiting: Waiting<'_>) -> Result<Permit, Error> {
        let Some(gateways) = &self.gateways else { return waiting.turn().await };
        tokio::select! {
            biased;
            turn = waiting.turn() => turn,
            () = gateways.gone_from_here(prompt.served(), prompt.only) => Err(Error::Elsewhere),
        }
    }
}

impl Error {
    /// Whether no engine could be had, so that another model may answer.
    pub(super) fn is_for_want_of_engines(&self) -> bool {
        match self {
            Self::NoEngine { .. } | Self::EngineFailed { .. } => true,
            Self::Forwarded(refused) => refused.is_for_want_of_engines(),
            _ => false,
        }
    }
}
