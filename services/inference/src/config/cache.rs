//! The answers that are kept.

use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// What is kept of answers, and for how long.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Whether answers are kept, and equal requests in flight sent once. `Idempotency-Key` works without it.
    pub enabled: bool,
    /// Bytes of answers in memory. Read at the start.
    pub memory_bytes: u64,
    /// Bytes of answers that are in memory for their `Idempotency-Key`. Read at the start.
    pub idempotency_bytes: u64,
    /// Answers larger than this are not kept.
    pub largest_bytes: usize,
    /// How long an answer is kept; 0s: not at all.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// How long an answer to an `Idempotency-Key` is kept. Read at the start.
    #[serde(with = "humantime_serde")]
    pub idempotency_ttl: Duration,
    /// How long a request that would be sent to an engine may wait for Redis, which may have its answer; 0s: not at all.
    #[serde(with = "humantime_serde")]
    pub redis_wait: Duration,
    /// Other times for `chat/completions`, `completions` or `embeddings`.
    pub endpoints: BTreeMap<String, humantime_serde::Serde<Duration>>,
    /// What differs for a model, by the name that engines know it by.
    pub models: BTreeMap<String, Model>,
}

/// What differs for one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// How long its answers are kept.
    #[serde(with = "humantime_serde")]
    pub ttl: Option<Duration>,
    /// Which weights and prompt template answer. Answers of another revision are not served any more.
    pub revision: String,
    /// Micro-dollars that a million tokens read would have cost.
    pub prompt_price: u64,
    /// Micro-dollars that a million tokens made would have cost.
    pub completion_price: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            enabled: true,
            memory_bytes: 64 * 1024 * 1024,
            idempotency_bytes: 64 * 1024 * 1024,
            largest_bytes: 1024 * 1024,
            ttl: Duration::from_secs(3_600),
            idempotency_ttl: Duration::from_secs(24 * 3_600),
            redis_wait: Duration::from_millis(5),
            endpoints: BTreeMap::new(),
            models: BTreeMap::new(),
        }
    }
}

/// Longest time that a request may be made to wait for Redis.
const MOST_REDIS_WAIT: Duration = Duration::from_millis(10);

/// The routes whose answers are kept, as the usage ledger names them.
const ENDPOINTS: [&str; 3] = ["chat/completions", "completions", "embeddings"];

impl Cache {
    /// How long an answer is kept.
    #[must_use]
    pub fn ttl_of(&self, endpoint: &str, model: &str) -> Duration {
        let model = self.models.get(model).and_then(|model| model.ttl);
        let endpoint = || self.endpoints.get(endpoint).map(|ttl| **ttl);
        model.or_else(endpoint).unwrap_or(self.ttl)
    }

    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        for endpoint in self.endpoints.keys().filter(|name| !ENDPOINTS.contains(&name.as_str())) {
            faults.push(format!(
                "inference.cache.endpoints.{endpoint}: there are chat/completions, completions and embeddings"
            ));
        }
        if self.redis_wait > MOST_REDIS_WAIT {
            faults.push("inference.cache.redis_wait: must be at most 10ms".to_owned());
        }
        for (name, model) in self.models.iter().filter(|(_, model)| model.revision.len() > 200) {
            faults.push(format!(
                "inference.cache.models.{name}.revision: has {} characters, of at most 200",
                model.revision.len()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_goes_before_the_route_and_that_before_all() {
        let seconds = Duration::from_secs;
        let cache = Cache {
            endpoints: [("embeddings".to_owned(), seconds(2).into())].into(),
            models: [("m".to_owned(), Model { ttl: Some(seconds(3)), ..Model::default() })].into(),
            ..Cache::default()
        };
        let of = |endpoint, model| cache.ttl_of(endpoint, model).as_secs();
        assert_eq!((of("embeddings", "m"), of("embeddings", "n"), of("completions", "n")), (3, 2, 3_600));
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        cache.validate(&mut good);
        Cache { endpoints: [("chat".to_owned(), seconds(2).into())].into(), ..cache }.validate(&mut bad);
        assert_eq!((good.len(), bad.len()), (0, 1));
    }
}
