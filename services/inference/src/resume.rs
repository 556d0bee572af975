//! Going on elsewhere with an answer that broke off in the middle, where the installation asks for it.
//!
//! Text is not tokens: a second engine may make something else of the same words. So only what greedy decoding makes
//! repeatable is continued, and the second engine must first repeat the last words of the first one. When it says
//! anything else, the answer ends with an error, as it would have without.

mod body;
mod chunk;
mod transcript;

pub(crate) use transcript::{Heard, Transcript};

use crate::{
    admit::Admitted,
    dispatch::Answer,
    infer::Inference,
    meter::Metered,
    queue::{EngineId, Who},
    settle::Account,
};
use body::Body;
use tokio::time::Instant;
use tracing::Instrument;

/// A prompt whose answer may be continued on another engine, and what was said of it so far.
#[derive(Debug)]
pub(crate) struct Resumable {
    inference: Inference,
    /// The prompt as an engine is to get it: the number of tokens comes with every chunk.
    pub(crate) admitted: Admitted,
    body: Body,
    who: Who,
    until: Instant,
    /// How often it may still be continued.
    times: u32,
    pub(crate) transcript: Transcript,
}

impl Resumable {
    /// The prompt, changed so that its answer can be continued; `None` when it never can.
    pub(crate) fn of(
        inference: &Inference,
        admitted: &Admitted,
        who: &Who,
        until: Instant,
        times: u32,
    ) -> Option<Self> {
        let body = Body::read(&admitted.prompt)?;
        let mut admitted = admitted.clone();
        admitted.prompt.body = body.whole();
        Some(Self {
            inference: inference.clone(),
            admitted,
            body,
            who: who.clone(),
            until,
            times,
            transcript: Transcript::default(),
        })
    }

    /// The same from the last words on; `None` when what was said cannot be continued, or not any more.
    pub(crate) fn again(mut self: Box<Self>) -> Option<Box<Self>> {
        self.times = self.times.checked_sub(1)?;
        let said = self.transcript.go_back()?;
        if !self.inference.dispatcher.fleet.may_retry() {
            return None;
        }
        self.admitted.prompt.body = self.body.after(&said);
        Some(self)
    }

    /// The rest of the answer, from another engine than this.
    pub(crate) async fn go_on(self: Box<Self>, account: Account, avoid: EngineId) -> Option<Box<Metered>> {
        let span = account.span().clone();
        let answer = self.inference.resume(&self.admitted, &self.who, account, avoid, self.until);
        let answer = answer.instrument(span).await;
        let Ok(Answer::Stream(mut rest)) = answer else { return None };
        rest.resume_with(self);
        Some(rest)
    }
}
