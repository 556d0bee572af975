//! What the records of a gateway must say, and the comparison with what the engine counted.

use crate::engine::{Counts, Engine};
use proto::monitoring::v1::{Outcome, UsageRecord};
use shared::time;
use std::{collections::BTreeSet, time::Duration};
use uuid::Uuid;

/// Tokens of all records: prompt and completion.
pub(crate) fn tokens(records: &[UsageRecord]) -> (u64, u64) {
    let sum = |count: fn(&UsageRecord) -> u64| records.iter().map(count).sum();
    (sum(|record| record.prompt_tokens), sum(|record| record.completion_tokens))
}

/// Every request has one record, which is filled in, finished and exact.
pub(crate) fn check_finished(records: &[UsageRecord], requests: usize) {
    check(records, requests);
    for record in records {
        assert_eq!((record.outcome(), record.estimated), (Outcome::Finished, false), "{record:?}");
        assert!(record.prompt_tokens > 0 && record.completion_tokens > 0, "{record:?}");
        assert!(record.time_to_first_token.is_some(), "{record:?}");
        let (gpu, whole) = (length(record.gpu_time), length(record.duration));
        assert!(!gpu.is_zero() && gpu <= whole, "{record:?}");
    }
    check_shares(records);
}

/// However many requests were at an engine at a time, they had no more of its time than passed.
fn check_shares(records: &[UsageRecord]) {
    let engines: BTreeSet<_> = records.iter().map(|record| record.engine.as_str()).collect();
    for engine in engines {
        let there = || records.iter().filter(|record| record.engine == engine && record.attempt == 1);
        let start = |record: &UsageRecord| time::from_proto(record.start_time.as_ref().unwrap()).unwrap().0;
        let end = |record| start(record) + i64::try_from(length(record.duration).as_micros()).unwrap();
        let (Some(first), Some(last)) = (there().map(start).min(), there().map(end).max()) else { continue };
        let passed = Duration::from_micros((last - first).unsigned_abs()) + CLOCKS;
        let shares: Duration = there().map(|record| length(record.gpu_time)).sum();
        assert!(shares <= passed, "{shares:?} of {passed:?} at {engine}");
    }
}

/// Records tell their start by another clock than how long things took.
const CLOCKS: Duration = Duration::from_millis(50);

fn length(span: Option<prost_types::Duration>) -> Duration {
    span.as_ref().and_then(time::duration_from_proto).unwrap_or_default()
}

/// Every request has one record, which is filled in.
pub(crate) fn check(records: &[UsageRecord], requests: usize) {
    assert_eq!(records.len(), requests, "{records:#?}");
    for (place, record) in records.iter().enumerate() {
        assert_eq!(Uuid::parse_str(&record.usage_id).unwrap().get_version_num(), 7);
        assert!(!records[..place].iter().any(|other| other.usage_id == record.usage_id), "{record:?} twice");
        assert!(record.attempt >= 1 && !record.engine.is_empty() && !record.model.is_empty(), "{record:?}");
        assert!(record.start_time.is_some() && record.duration.is_some(), "{record:?}");
    }
}

/// What the engine counted since `before`, once it has nothing to do and has counted at least as much as was recorded.
pub(crate) async fn counted(engine: &Engine, before: Counts, records: &[UsageRecord]) -> (u64, u64) {
    let (prompt, completion) = tokens(records);
    let after = engine
        .until(&format!("the engine to count {prompt} + {completion} tokens since {before:?}"), |now| {
            now.running + now.waiting == 0
                && now.prompt_tokens - before.prompt_tokens >= prompt
                && now.generation_tokens - before.generation_tokens >= completion
        })
        .await;
    (after.prompt_tokens - before.prompt_tokens, after.generation_tokens - before.generation_tokens)
}
