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
    /// Answers that are made ahead of those who ask for them.
    pub warm: Warm,
}

/// What is made ahead of those who ask for it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Warm {
    /// Whether anything is. Prompts of popular requests are kept in the database then.
    pub enabled: bool,
    /// Between two looks at what is to be made.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// Answers that are made after each look, at most.
    pub most: u32,
    /// Answers that are made at once.
    pub at_once: usize,
    /// Answers that were asked for less often are not made: since they are kept, or in an hour as expected.
    pub min_uses: u32,
    /// How long before its end an answer is made anew, and before a full hour what is expected of that hour.
    #[serde(with = "humantime_serde")]
    pub ahead: Duration,
    /// Times of the day in UTC, `06:30`, at which the requests that were asked most in four weeks are made.
    pub times: Vec<String>,
    /// Larger bodies of requests are not kept.
    pub largest_request: usize,
    /// Requests that are remembered for four weeks, at most.
    pub remembered: u32,
}

impl Default for Warm {
    fn default() -> Self {
        Self {
            enabled: false,
            every: Duration::from_secs(60),
            most: 100,
            at_once: 2,
            min_uses: 2,
            ahead: Duration::from_secs(300),
            times: Vec::new(),
            largest_request: 64 * 1024,
            remembered: 10_000,
        }
    }
}

impl Warm {
    /// The times of the day, since midnight in UTC.
    pub fn times(&self) -> impl Iterator<Item = Duration> + '_ {
        self.times.iter().filter_map(|time| time_of_day(time))
    }

    fn validate(&self, faults: &mut Vec<String>) {
        for time in self.times.iter().filter(|time| time_of_day(time).is_none()) {
            faults.push(format!("inference.cache.warm.times: `{time}` is no time of the day such as 06:30"));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&self.every) {
            faults.push("inference.cache.warm.every: must be between 1s and 1h".to_owned());
        }
        if self.ahead < self.every || self.ahead > Duration::from_secs(3_600) {
            faults.push(
                "inference.cache.warm.ahead: must be between inference.cache.warm.every and 1h".to_owned(),
            );
        }
        if self.at_once == 0 || self.most > 1_000 {
            faults
                .push("inference.cache.warm: at_once must be at least 1, and most at most 1,000".to_owned());
        }
    }
}

fn time_of_day(text: &str) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then(|| Duration::from_secs((hours * 60 + minutes) * 60))
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
            warm: Warm::default(),
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

    /// Which of a model's weights and templates answers.
    #[must_use]
    pub fn revision_of(&self, model: &str) -> &str {
        self.models.get(model).map_or("", |model| model.revision.as_str())
    }

    /// The longest time for which any answer is kept.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let models = self.models.values().filter_map(|model| model.ttl);
        self.endpoints.values().map(|ttl| **ttl).chain(models).fold(self.ttl, Duration::max)
    }

    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        self.warm.validate(faults);
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
        assert_eq!(cache.longest(), seconds(3_600));
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let warm = Warm { times: vec!["06:30".to_owned(), "23:59".to_owned()], ..Warm::default() };
        assert_eq!(warm.times().collect::<Vec<_>>(), [seconds(23_400), seconds(86_340)]);
        Cache { warm, ..cache.clone() }.validate(&mut good);
        for time in ["24:00", "6", "06:60", "x:1", ""] {
            let warm = Warm { times: vec![time.to_owned()], ..Warm::default() };
            Cache { warm, ..cache.clone() }.validate(&mut bad);
        }
        assert_eq!(bad.len(), 5, "{bad:?}");
        bad.clear();
        Cache { endpoints: [("chat".to_owned(), seconds(2).into())].into(), ..cache }.validate(&mut bad);
        assert_eq!((good.len(), bad.len()), (0, 1));
    }
}
