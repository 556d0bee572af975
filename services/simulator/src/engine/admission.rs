//! Who is let in: how many requests and prompt tokens are under way, against the limits of the configuration.
//!
//! The check runs twice for each request, before its response begins and again when it is queued; only the second one
//! takes a place, so requests that arrive together can pass the first and fail the second.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::errors::Rejection;

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    max_requests: Option<usize>,
    max_tokens: Option<usize>,
    load: Mutex<Load>,
    idle: Notify,
}

/// Places and prompt tokens taken, and requests turned away so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) sequences: usize,
    /// Most sequences that there ever were at once.
    pub(crate) most_sequences: usize,
    pub(crate) prefill_tokens: usize,
    pub(crate) rejected_for_requests: u64,
    pub(crate) rejected_for_tokens: u64,
    closed: Option<Rejection>,
}

impl Admission {
    pub(crate) fn new(max_requests: Option<usize>, max_tokens: Option<usize>) -> Self {
        Self { max_requests, max_tokens, ..Self::default() }
    }

    pub(crate) fn load(&self) -> Load {
        *self.lock()
    }

    /// Whether so many sequences would be let in now.
    pub(crate) fn check(&self, sequences: usize) -> Result<(), Rejection> {
        self.decide(&mut self.lock(), sequences)
    }

    /// Takes places for sequences with so many prompt tokens altogether.
    pub(crate) fn admit(&self, sequences: usize, prompt_tokens: usize) -> Result<(), Rejection> {
        let mut load = self.lock();
        self.decide(&mut load, sequences)?;
        load.sequences += sequences;
        load.most_sequences = load.most_sequences.max(load.sequences);
        load.prefill_tokens += prompt_tokens;
        Ok(())
    }

    /// Prompt tokens that were computed, or will not be.
    pub(crate) fn prefilled(&self, prompt_tokens: u32) {
        let mut load = self.lock();
        load.prefill_tokens = load.prefill_tokens.saturating_sub(prompt_tokens as usize);
    }

    /// A sequence has left.
    pub(crate) fn leave(&self) {
        let mut load = self.lock();
        load.sequences = load.sequences.saturating_sub(1);
        if load.sequences == 0 {
            self.idle.notify_waiters();
        }
    }

    /// Turns every new request away from now on.
    pub(crate) fn close(&self, reason: Rejection) {
        self.lock().closed = Some(reason);
    }

    /// Resolves when nothing is under way.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.load().sequences == 0 {
                return;
            }
            idle.await;
        }
    }

    fn decide(&self, load: &mut Load, sequences: usize) -> Result<(), Rejection> {
        if let Some(reason) = load.closed {
            return Err(reason);
        }
        if self.max_requests.is_some_and(|most| load.sequences + sequences > most) {
            load.rejected_for_requests += 1;
            return Err(Rejection::Requests);
        }
        if self.max_tokens.is_some_and(|most| load.prefill_tokens >= most) {
            load.rejected_for_tokens += 1;
            return Err(Rejection::Tokens);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sequence_takes_a_place() {
        let admission = Admission::new(Some(6), None);
        assert_eq!(admission.check(7), Err(Rejection::Requests));
        admission.admit(6, 0).unwrap();
        assert_eq!(admission.check(1), Err(Rejection::Requests));
        admission.leave();
        assert_eq!((admission.load().sequences, admission.load().most_sequences), (5, 6));
        assert_eq!(admission.check(1), Ok(()));
        assert_eq!(admission.load().rejected_for_requests, 2);
    }

    #[test]
    fn prompts_are_let_in_until_the_backlog_has_reached_its_limit() {
        let admission = Admission::new(None, Some(3000));
        let accepted = (0..4).filter(|_| admission.admit(1, 1503).is_ok()).count();
        assert_eq!(accepted, 2);
        admission.prefilled(1503);
        assert_eq!(admission.check(1), Ok(()));
    }
}
