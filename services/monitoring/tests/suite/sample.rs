//! Records to test with, the same on every run.

use policy::Role;
use prost_types::{Duration, Timestamp};
use proto::monitoring::v1::{Outcome, UsageRecord};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use uuid::{Builder, Uuid};

/// Seconds of one hour.
pub(crate) const HOUR: i64 = 3_600;

/// Noon of a day in May 2026, in seconds since 1970.
pub(crate) const NOON: i64 = 1_778_846_400;

pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// A time as people write it.
pub(crate) fn at(text: &str) -> Timestamp {
    time(text.parse::<jiff::Timestamp>().unwrap().as_second())
}

/// The usage id of this number.
pub(crate) fn usage_id(number: u64) -> String {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    Builder::from_unix_timestamp_millis(NOON.unsigned_abs() * 1_000, &bytes).into_uuid().to_string()
}

/// An id that is not a usage id.
pub(crate) fn id(number: u64) -> String {
    Uuid::from_u64_pair(0xc000, number + 1).to_string()
}

/// An ordinary record, with every field set.
pub(crate) fn record(number: u64) -> UsageRecord {
    let owner = crate::ledger::person(Role::Owner);
    UsageRecord {
        usage_id: usage_id(number),
        attempt: 1,
        request_id: format!("request-{number}"),
        user_id: owner.user.to_string(),
        key_id: owner.key.unwrap().to_string(),
        model_id: id(0),
        model: "llama".into(),
        engine: "http://10.0.0.1:8000".into(),
        endpoint: "chat/completions".into(),
        stream: true,
        outcome: Outcome::Finished.into(),
        estimated: false,
        prompt_tokens: 100,
        cached_prompt_tokens: 60,
        completion_tokens: 20,
        start_time: Some(Timestamp { seconds: NOON, nanos: 123_456_000 }),
        queue_duration: Some(Duration { seconds: 0, nanos: 250_000 }),
        time_to_first_token: Some(Duration { seconds: 0, nanos: 40_000_000 }),
        duration: Some(Duration { seconds: 2, nanos: 500_000_000 }),
        cached: false,
        saved_prompt_tokens: 3,
        gpu_time: Some(Duration { seconds: 1, nanos: 250_000_000 }),
        ..UsageRecord::default()
    }
}

/// Records of all kinds, over three days, from a seed.
pub(crate) fn assorted(count: u64) -> Vec<UsageRecord> {
    let mut random = StdRng::seed_from_u64(7);
    let hit = |record: UsageRecord| UsageRecord {
        cached: true,
        saved_prompt_tokens: record.prompt_tokens,
        saved_completion_tokens: record.completion_tokens,
        prompt_tokens: 0,
        cached_prompt_tokens: 0,
        completion_tokens: 0,
        // Nothing was used, and that is free.
        cost_usd: Some("0".into()),
        ..record
    };
    (0..count)
        .map(|number| UsageRecord {
            attempt: random.random_range(1..=2),
            user_id: id(random.random_range(0..4)),
            key_id: if random.random_bool(0.2) { String::new() } else { id(random.random_range(10..16)) },
            model: ["llama", "Qwen", "qwen", "mistral/7b"][random.random_range(0..4)].into(),
            endpoint: ["chat/completions", "embeddings"][random.random_range(0..2)].into(),
            outcome: random.random_range(1..=4),
            estimated: random.random_bool(0.3),
            prompt_tokens: random.random_range(1_000..9_000),
            cached_prompt_tokens: random.random_range(0..1_000),
            completion_tokens: random.random_range(0..2_000),
            // Few distinct times, so that the order must settle ties.
            start_time: Some(time(NOON + 1_800 * random.random_range(0..144))),
            ..record(number)
        })
        .enumerate()
        .map(|(number, record)| if number % 5 == 0 { hit(record) } else { record })
        .collect()
}
