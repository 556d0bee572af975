//! Third step, as often as it takes: one engine after the other, until one answers.

use super::{Inference, Routed, Turn};
use crate::{
    admit::Admitted,
    config,
    dispatch::{Answer, Failure, Retry},
    error::Error,
    goodput::Trial,
    metrics,
    queue::{Class, EngineId, Who},
    settle::Account,
};
use shared::status::IntoStatus;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;

impl Inference {
    /// The rest of an answer that broke off at an engine.
    pub(crate) async fn resume(
        &self,
        admitted: &Admitted,
        who: &Who,
        mut account: Account,
        avoid: EngineId,
        until: Instant,
    ) -> Result<Answer, Error> {
        let turn = Turn { since: Instant::now(), until, avoid: Some(avoid), preempted: 0 };
        account.spent();
        let (routed, account) = self.route_again(admitted, turn, who, None, account).await?;
        self.attempts(admitted, turn, who, None, (routed, account)).await
    }

    /// Third step: one engine after the other, until one answers.
    pub(super) async fn attempts(
        &self,
        admitted: &Admitted,
        mut turn: Turn,
        who: &Who,
        mut trial: Option<&mut Trial>,
        (mut routed, mut account): (Routed, Account),
    ) -> Result<Answer, Error> {
        let config = self.dispatcher.fleet.settings();
        let mut attempt = 1;
        loop {
            let engine = Some(routed.permit.engine());
            let span = account.attempt().clone();
            let asked = self.dispatcher.dispatch(&admitted.prompt, routed.permit, account, turn.until);
            let answer = asked.instrument(span).await;
            let mut failed = match answer {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Retry(failed)) => failed,
            };
            failed.account.tried(failed.cause);
            if failed.stopped {
                turn.preempted += 1;
            } else if attempt >= config.attempts || !self.may_retry(&failed) {
                let error = Error::EngineFailed { cause: failed.cause };
                failed.account.refuse(error.fault().reason);
                return Err(error);
            }
            metrics::retried(failed.cause);
            let background = admitted.prompt.class == Class::Batch;
            if !failed.stopped && (background || !failed.untouched) {
                let back_off = back_off(&config.retry, background, attempt, rand::random_range(0.5..1.0));
                tokio::time::sleep_until(turn.until.min(Instant::now() + back_off)).await;
            }
            if !failed.stopped {
                attempt += 1;
                // What an engine failed is promised anew: that time was not the queue's.
                turn = Turn { since: Instant::now(), avoid: engine, ..turn };
            }
            (routed, account) =
                self.route_again(admitted, turn, who, trial.as_deref_mut(), *failed.account).await?;
        }
    }

    /// A place for a request that has an account, which is settled when there is none.
    async fn route_again(
        &self,
        admitted: &Admitted,
        turn: Turn,
        who: &Who,
        trial: Option<&mut Trial>,
        mut account: Account,
    ) -> Result<(Routed, Account), Error> {
        match self.route(admitted, turn, who, trial).await {
            Ok(routed) => {
                account.next_attempt(&routed.url);
                Ok((routed, account))
            }
            Err(error) => {
                account.refuse(error.fault().reason);
                Err(error)
            }
        }
    }

    /// What an engine did not begin, or what failed at one that is out now, goes elsewhere: that makes nothing worse, and
    /// is not counted.
    fn may_retry(&self, failed: &Retry) -> bool {
        let may = !failed.again || self.dispatcher.fleet.may_retry();
        if !may {
            metrics::retry_refused(failed.cause);
        }
        may
    }
}

/// How long to wait after so many attempts. `chance` spreads those that failed together, 0.5 to 1.
fn back_off(config: &config::Retry, background: bool, attempts: u32, chance: f64) -> Duration {
    let (first, most) = match background {
        true => (config.batch_back_off, config.batch_max_back_off),
        false => (config.back_off, config.max_back_off),
    };
    first.saturating_mul(1 << (attempts - 1).min(16)).min(most).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_the_last_up_to_the_longest() {
        let config = config::Retry::default();
        let millis =
            |background, attempts, chance| back_off(&config, background, attempts, chance).as_millis();
        let waits = |background, attempts: &[u32]| -> Vec<u128> {
            attempts.iter().map(|&attempt| millis(background, attempt, 1.0)).collect()
        };
        assert_eq!(waits(false, &[1, 2, 3, 4, 5, 40]), [20, 40, 80, 160, 200, 200]);
        assert_eq!(waits(true, &[1, 2, 3, 6, 7, 40]), [1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
        assert_eq!((millis(false, 3, 0.5), millis(true, 1, 0.5)), (40, 500));
    }
}
