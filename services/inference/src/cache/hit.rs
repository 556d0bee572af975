//! The account of an answer that no engine made for its caller: a record that costs nothing and says what was saved.

use super::{flight::Landed, statistics::Statistics};
use crate::{admit::Admitted, error::Error, infer::course, journal::Journal, metrics, sse::Usage};
use proto::monitoring::v1::{Outcome, UsageRecord};
use shared::time;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// An account that is open until its caller has the whole answer. Dropped before, it says that they left.
#[derive(Debug)]
pub struct Hit {
    journal: Arc<Journal>,
    record: UsageRecord,
    accepted: Instant,
    /// The model as engines name it, and where it is counted that it was saved the work.
    saves: Option<(Arc<str>, Statistics)>,
    ended: bool,
}

impl Hit {
    /// Opens one. Nothing is written before its end: it costs nothing until then.
    #[must_use]
    pub fn open(journal: &Arc<Journal>, admitted: &Admitted, usage_id: Uuid, request_id: &str) -> Self {
        let prompt = &admitted.prompt;
        let passed = i64::try_from(admitted.accepted.elapsed().as_micros()).unwrap_or(0);
        let record = UsageRecord {
            usage_id: usage_id.to_string(),
            attempt: 1,
            request_id: request_id.to_owned(),
            user_id: admitted.person.user.to_string(),
            key_id: admitted.person.key.map(|key| key.to_string()).unwrap_or_default(),
            model_id: admitted.model.to_string(),
            model: prompt.model.clone(),
            endpoint: prompt.endpoint.name().to_owned(),
            stream: prompt.stream,
            start_time: Some(time::to_proto(policy::Time(time::now().0 - passed))),
            queue_duration: Some(time::duration_to_proto(Duration::ZERO)),
            cached: true,
            group_id: admitted.group.map(|group| group.to_string()).unwrap_or_default(),
            served_model: prompt.renamed().unwrap_or_default().to_owned(),
            course: Some(course(prompt)),
            ..UsageRecord::default()
        };
        Self { journal: Arc::clone(journal), record, accepted: admitted.accepted, saves: None, ended: false }
    }

    /// The same, which says what its model was saved.
    #[must_use]
    pub fn saving(mut self, admitted: &Admitted, statistics: &Statistics) -> Self {
        self.saves = Some((admitted.prompt.served().into(), statistics.clone()));
        self
    }

    /// All of the answer is there.
    ///
    /// # Errors
    /// [`Error::Journal`] when that cannot be written down.
    pub fn whole(mut self, saved: Usage) -> Result<(), Error> {
        self.write(Outcome::Finished, saved)
    }

    /// The call has ended whose answer it shares.
    pub fn end(mut self, landed: Landed) {
        let outcome = if landed.well { Outcome::Finished } else { Outcome::Failed };
        // What was said is said; the failure is counted and logged.
        let _ = self.write(outcome, landed.usage);
    }

    fn write(&mut self, outcome: Outcome, saved: Usage) -> Result<(), Error> {
        self.ended = true;
        let record = &mut self.record;
        record.outcome = outcome.into();
        record.saved_prompt_tokens = saved.prompt;
        record.saved_completion_tokens = saved.completion;
        let took = time::duration_to_proto(self.accepted.elapsed());
        record.time_to_first_token = (outcome == Outcome::Finished).then_some(took);
        record.duration = Some(took);
        if let Some((model, statistics)) = self.saves.take() {
            statistics.saved(&model, saved, Duration::ZERO);
        }
        self.journal.end(record).map_err(|error| {
            metrics::journal_error();
            tracing::error!(%error, usage_id = record.usage_id, "the journal could not be written");
            Error::Journal
        })
    }
}

impl Drop for Hit {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.write(Outcome::Cancelled, Usage::default());
        }
    }
}
