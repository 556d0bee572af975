//! What one request used, and sums of that: the words that recording, reporting and the store share.
//!
//! Values of these types are valid: the tables of [`crate::store`] hold whatever they can.

pub(crate) mod charge;
pub(crate) mod correct;
pub(crate) mod course;
pub(crate) mod export;
pub(crate) mod reconcile;
pub(crate) mod record;
pub(crate) mod records;
pub(crate) mod report;
pub(crate) mod rerate;
pub(crate) mod restrict;
pub(crate) mod zone;

use course::Course;
use policy::{GroupId, KeyId, ModelId, Time, UserId};
use pricing::{Cost, Money, Tokens};
use std::time::Duration;
use uuid::Uuid;

/// Microseconds of one hour, the grain of the sums.
const HOUR: i64 = 3_600_000_000;

/// No request is at an engine for longer than a day: what says so is a clock that is wrong, and would spoil sums.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// What makes a record the same however often it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordKey {
    pub(crate) usage_id: Uuid,
    pub(crate) attempt: u32,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) enum Outcome {
    Finished,
    Cancelled,
    Failed,
    Crashed,
}

/// What one request used. Counts of tokens are never negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: RecordKey,
    pub(crate) request_id: String,
    pub(crate) user: UserId,
    /// The API key, where the caller had one.
    pub(crate) api_key: Option<KeyId>,
    /// The group through whose grant the model was used.
    pub(crate) group: Option<GroupId>,
    pub(crate) model_id: ModelId,
    pub(crate) model: String,
    /// The model's own name, where it is another.
    pub(crate) served_model: String,
    pub(crate) engine: String,
    pub(crate) endpoint: String,
    pub(crate) stream: bool,
    pub(crate) outcome: Outcome,
    pub(crate) estimated: bool,
    pub(crate) prompt_tokens: i64,
    pub(crate) cached_prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) start: Time,
    pub(crate) queue: Option<Duration>,
    pub(crate) first_token: Option<Duration>,
    pub(crate) duration: Option<Duration>,
    /// Whether no engine made its answer.
    pub(crate) cached: bool,
    pub(crate) saved_prompt_tokens: i64,
    pub(crate) saved_completion_tokens: i64,
    /// Its share of the time of engines.
    pub(crate) gpu: Option<Duration>,
    pub(crate) course: Course,
}

/// What a record costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Charge {
    /// `None` is not known.
    pub(crate) cost: Option<Money>,
    /// The version of the price.
    pub(crate) price: Option<Uuid>,
}

/// A record as it counts in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Superseded where it was.
    pub(crate) record: Record,
    pub(crate) charge: Charge,
    /// How often it was superseded.
    pub(crate) revision: u32,
}

/// A record on its way into the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// SHA-256 of its content, to tell a record that is sent again from another one under its key.
    pub(crate) body_hash: [u8; 32],
    /// The gateway and the hard budgets of whose leases it is.
    pub(crate) leased: Option<(Uuid, Vec<Uuid>)>,
}

/// What an hour's sums are separated by. The order is that of the primary key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HourKey {
    pub(crate) hour: Time,
    pub(crate) user: UserId,
    pub(crate) api_key: Option<KeyId>,
    pub(crate) group: Option<GroupId>,
    pub(crate) model: String,
    pub(crate) endpoint: String,
    /// The model's own name.
    pub(crate) served_model: String,
    pub(crate) engine: String,
}

/// Sums of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) finished: i64,
    pub(crate) cancelled: i64,
    pub(crate) failed: i64,
    pub(crate) crashed: i64,
    pub(crate) prompt_tokens: i64,
    pub(crate) cached_prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) estimated_tokens: i64,
    pub(crate) cached: i64,
    pub(crate) saved_prompt_tokens: i64,
    pub(crate) saved_completion_tokens: i64,
    /// Of the records whose cost is known.
    pub(crate) cost: Cost,
    pub(crate) unpriced: i64,
    /// Microseconds that requests were at engines; of several at a time, each counts.
    pub(crate) engine_micros: i64,
    /// Microseconds of their shares of the engines' time.
    pub(crate) gpu_micros: i64,
}

impl Record {
    /// The name that it is priced by.
    pub(crate) fn priced_as(&self) -> &str {
        if self.served_model.is_empty() { &self.model } else { &self.served_model }
    }

    /// Its tokens, each counted as one kind.
    pub(crate) fn tokens(&self) -> Tokens {
        let [prompt, cached, completion] =
            [self.prompt_tokens, self.cached_prompt_tokens, self.completion_tokens].map(i64::unsigned_abs);
        Tokens::of_openai(prompt, cached, completion)
    }

    /// Where the record counts.
    pub(crate) fn hour_key(&self) -> HourKey {
        HourKey {
            hour: hour_floor(self.start),
            user: self.user,
            api_key: self.api_key,
            group: self.group,
            model: self.model.clone(),
            endpoint: self.endpoint.clone(),
            served_model: self.priced_as().to_owned(),
            engine: self.engine.clone(),
        }
    }

    /// How long it was at an engine.
    pub(crate) fn at_engine(&self) -> Duration {
        let whole = self.duration.filter(|_| !self.cached).unwrap_or_default();
        whole.saturating_sub(self.queue.unwrap_or_default())
    }
}

impl Sums {
    /// Counts one record more, with what it costs by kind of token, where that is known.
    pub(crate) fn count(&mut self, record: &Record, cost: Option<Cost>) {
        *match record.outcome {
            Outcome::Finished => &mut self.finished,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::Failed => &mut self.failed,
            Outcome::Crashed => &mut self.crashed,
        } += 1;
        self.prompt_tokens += record.prompt_tokens;
        self.cached_prompt_tokens += record.cached_prompt_tokens;
        self.completion_tokens += record.completion_tokens;
        self.cached += i64::from(record.cached);
        self.saved_prompt_tokens += record.saved_prompt_tokens;
        self.saved_completion_tokens += record.saved_completion_tokens;
        if record.estimated {
            self.estimated_tokens += record.prompt_tokens + record.completion_tokens;
        }
        let micros = |time: Duration| i64::try_from(time.min(LONGEST).as_micros()).unwrap_or(0);
        self.engine_micros += micros(record.at_engine());
        self.gpu_micros += micros(record.gpu.unwrap_or_default());
        match cost {
            Some(cost) => self.cost += cost,
            None => self.unpriced += 1,
        }
    }

    /// What takes sums from one state of a record, and its cost, to another.
    pub(crate) fn difference(before: (&Record, Option<Cost>), after: (&Record, Option<Cost>)) -> Self {
        let sums = |(record, cost): (&Record, Option<Cost>)| {
            let mut sums = Self::default();
            sums.count(record, cost);
            sums
        };
        let (before, after) = (sums(before), sums(after));
        Self {
            prompt_tokens: after.prompt_tokens - before.prompt_tokens,
            cached_prompt_tokens: after.cached_prompt_tokens - before.cached_prompt_tokens,
            completion_tokens: after.completion_tokens - before.completion_tokens,
            estimated_tokens: after.estimated_tokens - before.estimated_tokens,
            cost: after.cost - before.cost,
            unpriced: after.unpriced - before.unpriced,
            ..Self::default()
        }
    }

    /// All requests, however they ended.
    pub(crate) fn requests(&self) -> i64 {
        self.finished + self.cancelled + self.failed + self.crashed
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.finished += other.finished;
        self.cancelled += other.cancelled;
        self.failed += other.failed;
        self.crashed += other.crashed;
        self.prompt_tokens += other.prompt_tokens;
        self.cached_prompt_tokens += other.cached_prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.estimated_tokens += other.estimated_tokens;
        self.cached += other.cached;
        self.saved_prompt_tokens += other.saved_prompt_tokens;
        self.saved_completion_tokens += other.saved_completion_tokens;
        self.cost += other.cost;
        self.unpriced += other.unpriced;
        self.engine_micros += other.engine_micros;
        self.gpu_micros += other.gpu_micros;
    }
}

/// The hour that `time` is in.
pub(crate) fn hour_floor(time: Time) -> Time {
    Time(time.0.saturating_sub(time.0.rem_euclid(HOUR)))
}

/// The first full hour that is not before `time`.
pub(crate) fn hour_ceil(time: Time) -> Time {
    let floor = hour_floor(time);
    if floor == time { time } else { Time(floor.0.saturating_add(HOUR)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_round_down_and_up_and_whole_ones_stay() {
        for (time, floor, ceil) in [(0, 0, 0), (1, 0, HOUR), (HOUR - 1, 0, HOUR), (HOUR, HOUR, HOUR)] {
            assert_eq!(hour_floor(Time(time)), Time(floor), "{time}");
            assert_eq!(hour_ceil(Time(time)), Time(ceil), "{time}");
        }
    }
}
