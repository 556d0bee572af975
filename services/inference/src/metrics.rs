//! What is measured of inference, under the names of OpenTelemetry's GenAI conventions where there is one.
//!
//! Labels are bounded: model names are those registered, operations and outcomes are ours. Never a user or a key.

use crate::{
    cache::{Cache, Found},
    engines::{Fleet, engine::Standing, gauges::Gauges},
    goodput::{End, Goodput},
    infer::Warmed,
    mode::Serving,
    queue::{Class, Queue},
};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, UpDownCounter},
};
use shared::telemetry::meter;
use std::{sync::LazyLock, time::Duration};
use vitals::Sign;

/// Seconds; the conventions' buckets, and longer ones for long prompts.
const TTFT: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0,
];
/// Seconds; the conventions' buckets, and shorter ones for fast models.
const TPOT: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
const DURATION: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// The label of a request's class.
const CLASS: &str = "tollgate.class";

static FIRST_TOKEN: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    seconds(
        "gen_ai.server.time_to_first_token",
        "From acceptance to the first token, the queue included",
        TTFT,
    )
});
static PER_TOKEN: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    seconds("gen_ai.server.time_per_output_token", "Mean time of each token after the first", TPOT)
});
static REQUEST: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    seconds("gen_ai.server.request.duration", "From acceptance to the end of the answer", DURATION)
});
static QUEUE_TIME: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    seconds("tollgate.queue.duration", "Time in the queue before an engine was free", DURATION)
});
static USED: LazyLock<Histogram<u64>> = LazyLock::new(|| {
    let meter = meter();
    let tokens = meter.u64_histogram("gen_ai.client.token.usage").with_unit("{token}");
    tokens.with_description("Tokens of each request").with_boundaries(TOKENS.to_vec()).build()
});
static PROBES: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("tollgate.engine.probes", "Engines asked for one token, by what came"));
static REFUSED_RETRIES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter("tollgate.engine.retries_refused", "Attempts that were not repeated: the budget was spent")
});
static FALLBACKS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("tollgate.model.fallbacks", "Requests that another model answered"));
static ENGINES_UP: LazyLock<UpDownCounter<i64>> =
    LazyLock::new(|| gauge("tollgate.engines.healthy", "{engine}", "Engines that requests may be sent to"));
static RETRIES: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("tollgate.engine.retries", "Attempts that failed before the first byte"));
static RESUMED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter("tollgate.engine.resumed", "Answers that broke off and went on elsewhere, or did not")
});
static JOINT_CALLS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("tollgate.joint.calls", "Calls for vectors that several callers shared"));
static JOINT_CALLERS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("tollgate.joint.callers", "Callers who shared a call for vectors"));
static JOINT_TEXTS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("tollgate.joint.texts", "Texts in calls for vectors that were shared"));
static SHIPPED: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("tollgate.journal.shipped", "Usage records that monitoring has taken"));
static INVALIDATIONS: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = meter();
    let gauge = meter.u64_gauge("tollgate.cache.invalidations.sequence");
    gauge.with_description("The last invalidation that this gateway heard of").build()
});
static INVALIDATIONS_UP: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = meter();
    let gauge = meter.u64_gauge("tollgate.cache.invalidations.up");
    gauge.with_description("Whether invalidations of other gateways are heard").build()
});
static WARMED: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("tollgate.cache.warmed", "Answers to be made ahead, by what came of it"));
static REFUSALS_DROPPED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter("tollgate.refusals.dropped", "Refusals that were too many to be told of: nobody can ask why")
});
static JOURNAL_ERRORS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("tollgate.journal.errors", "Failures to write or read the journal"));

fn seconds(name: &'static str, description: &'static str, boundaries: &[f64]) -> Histogram<f64> {
    let meter = meter();
    let histogram = meter.f64_histogram(name).with_description(description).with_unit("s");
    histogram.with_boundaries(boundaries.to_vec()).build()
}

fn gauge(name: &'static str, unit: &'static str, description: &'static str) -> UpDownCounter<i64> {
    meter().i64_up_down_counter(name).with_unit(unit).with_description(description).build()
}

fn counter(name: &'static str, description: &'static str) -> Counter<u64> {
    meter().u64_counter(name).with_description(description).build()
}

/// One request that ended.
#[derive(Debug)]
pub struct Ended<'a> {
    /// The model's registered name.
    pub model: &'a str,
    /// `gen_ai.operation.name`.
    pub operation: &'static str,
    /// How urgent it was.
    pub class: Class,
    /// How it ended, when not well: `cancelled`, `failed`.
    pub error: Option<&'static str>,
    /// Tokens read and made.
    pub tokens: (u64, u64),
    /// From acceptance to the first token.
    pub first_token: Option<Duration>,
    /// From acceptance to the end.
    pub duration: Duration,
    /// In our queue.
    pub queued: Duration,
}

impl Ended<'_> {
    /// Records it.
    pub fn record(&self) {
        let model = KeyValue::new("gen_ai.request.model", self.model.to_owned());
        let mut labels = vec![
            model,
            KeyValue::new("gen_ai.operation.name", self.operation),
            KeyValue::new("gen_ai.provider.name", "vllm"),
            KeyValue::new(CLASS, self.class.as_str()),
        ];
        QUEUE_TIME.record(self.queued.as_secs_f64(), &[labels[0].clone(), labels[3].clone()]);
        if let Some(first_token) = self.first_token {
            FIRST_TOKEN.record(first_token.as_secs_f64(), &labels);
            let (_, made) = self.tokens;
            if made > 1 && self.error.is_none() {
                let decoding = self.duration.saturating_sub(first_token).as_secs_f64();
                PER_TOKEN.record(decoding / (made - 1) as f64, &labels);
            }
        }
        if let Some(error) = self.error {
            labels.push(KeyValue::new("error.type", error));
        }
        REQUEST.record(self.duration.as_secs_f64(), &labels);
        labels.truncate(3);
        let (read, made) = self.tokens;
        for (kind, tokens) in [("input", read), ("output", made)] {
            labels.push(KeyValue::new("gen_ai.token.type", kind));
            USED.record(tokens, &labels);
            labels.pop();
        }
    }
}

/// A request is tried on another engine, because of this.
pub fn retried(cause: &'static str) {
    RETRIES.add(1, &[KeyValue::new("cause", cause)]);
}

/// A request is not tried again, because the budget is spent.
pub fn retry_refused(cause: &'static str) {
    REFUSED_RETRIES.add(1, &[KeyValue::new("cause", cause)]);
}

/// An answer broke off; whether another engine goes on with it.
pub fn resumed(outcome: &'static str) {
    RESUMED.add(1, &[KeyValue::new("outcome", outcome)]);
}

/// Another model stands in for one that cannot be served.
pub fn fell_back(model: &str, instead: &str) {
    let model = KeyValue::new("gen_ai.request.model", model.to_owned());
    FALLBACKS.add(1, &[model, KeyValue::new("gen_ai.response.model", instead.to_owned())]);
}

/// Several callers shared a call for vectors, and this is what came of it.
pub fn joint(callers: usize, texts: usize, outcome: &'static str) {
    let outcome = [KeyValue::new("tollgate.outcome", outcome)];
    JOINT_CALLS.add(1, &outcome);
    JOINT_CALLERS.add(u64::try_from(callers).unwrap_or(0), &outcome);
    JOINT_TEXTS.add(u64::try_from(texts).unwrap_or(0), &outcome);
}

/// An engine was asked for one token.
pub fn probed(found: &'static str) {
    PROBES.add(1, &[KeyValue::new("found", found)]);
}

/// Shows what engines say of themselves. What an engine does not say has no series.
pub fn observe_engines(fleet: &Fleet) {
    type Read = fn(&Gauges) -> Option<f64>;
    let gauges: [(&'static str, &'static str, Read); 4] = [
        ("tollgate.engine.requests.running", "Requests in the engine's batch", |gauges| gauges.running),
        ("tollgate.engine.requests.waiting", "Requests in the engine's own queue", |gauges| gauges.waiting),
        ("tollgate.engine.kv_cache.usage", "Part of the engine's KV cache in use", |gauges| gauges.kv_usage),
        (
            "tollgate.engine.prefix_cache.hit_rate",
            "Part of the prompt tokens found in its prefix cache",
            |gauges| gauges.prefix_hit_rate(),
        ),
    ];
    for (name, description, read) in gauges {
        let fleet = fleet.downgrade();
        let meter = meter();
        let gauge = meter.f64_observable_gauge(name).with_description(description);
        let _ = gauge
            .with_callback(move |observer| {
                let Some(fleet) = fleet.upgrade() else { return };
                for engine in fleet.all() {
                    let known = engine.state().gauges.and_then(|(gauges, _)| read(&gauges));
                    if let Some(value) = known {
                        observer.observe(value, &[KeyValue::new("engine", engine.url.clone())]);
                    }
                }
            })
            .build();
    }
    type Held = fn((u32, u32)) -> u32;
    let held: [(&'static str, &'static str, Held); 2] = [
        ("tollgate.engine.in_flight", "Requests of this gateway at the engine", |(requests, _)| requests),
        ("tollgate.engine.in_flight.limit", "The most that there may be by now", |(_, limit)| limit),
    ];
    for (name, description, read) in held {
        let fleet = fleet.downgrade();
        let meter = meter();
        let gauge = meter.u64_observable_gauge(name).with_description(description);
        let _ = gauge
            .with_callback(move |observer| {
                let Some(fleet) = fleet.upgrade() else { return };
                for engine in fleet.all() {
                    let labels = [KeyValue::new("engine", engine.url.clone())];
                    observer.observe(read(engine.held()).into(), &labels);
                }
            })
            .build();
    }
    let fleet = fleet.downgrade();
    let meter = meter();
    let up = meter.u64_observable_gauge("tollgate.engine.up");
    let _ = up
        .with_description("Whether requests may go to the engine; not of engines that an operator took out")
        .with_callback(move |observer| {
            let Some(fleet) = fleet.upgrade() else { return };
            for engine in fleet.all() {
                let up = match engine.standing(&engine.state()) {
                    Standing::Healthy => 1,
                    Standing::Unhealthy | Standing::BreakerOpen | Standing::Ejected => 0,
                    _ => continue,
                };
                observer.observe(up, &[KeyValue::new("engine", engine.url.clone())]);
            }
        })
        .build();
}

/// Shows whether only what is urgent is served, by why.
pub fn observe_mode(serving: &Serving) {
    let serving = serving.clone();
    let _ = meter()
        .u64_observable_gauge("tollgate.degraded")
        .with_description("Whether only requests of the classes system and interactive are served, by why")
        .with_callback(move |observer| {
            let reasons = serving.look().reasons;
            for sign in Sign::ALL {
                observer.observe(reasons.contains(&sign).into(), &[KeyValue::new("reason", sign.as_str())]);
            }
        })
        .build();
}

/// Shows how many wait for each model, by class.
pub fn observe_queue(queue: &Queue) {
    let queue = queue.downgrade();
    let meter = meter();
    let gauge = meter.u64_observable_gauge("tollgate.queue.requests").with_unit("{request}");
    let _ = gauge
        .with_description("Requests that wait for an engine")
        .with_callback(move |observer| {
            let Some(queue) = queue.upgrade() else { return };
            for (model, waiting) in queue.lengths() {
                for (class, waiting) in Class::ALL.into_iter().zip(waiting) {
                    observer.observe(waiting as u64, &of(&model, class));
                }
            }
        })
        .build();
}

/// Shows what became of requests, and their tokens.
pub fn observe_goodput(goodput: &Goodput) {
    let (ends, tokens) = (goodput.observer(), goodput.observer());
    let meter = meter();
    let requests = meter.u64_observable_counter("tollgate.goodput.requests").with_unit("{request}");
    let _ = requests
        .with_description("Requests by what became of the promise of their class")
        .with_callback(move |observer| {
            ends.read(|model, class, totals| {
                let [model, class] = of(model, class);
                for end in End::ALL {
                    let labels = [model.clone(), class.clone(), KeyValue::new("tollgate.end", end.as_str())];
                    observer.observe(totals.of(end), &labels);
                }
            });
        })
        .build();
    let counter = meter.u64_observable_counter("tollgate.goodput.tokens").with_unit("{token}");
    let _ = counter
        .with_description(
            "Tokens: prompts computed, found in a prefix cache, made; and all of requests in time",
        )
        .with_callback(move |observer| {
            tokens.read(|model, class, totals| {
                let [model, class] = of(model, class);
                let kinds = [
                    ("prefill", totals.prefill),
                    ("cached", totals.cached),
                    ("decode", totals.decode),
                    ("met", totals.met_tokens),
                ];
                for (kind, tokens) in kinds {
                    let labels = [model.clone(), class.clone(), KeyValue::new("tollgate.tokens", kind)];
                    observer.observe(tokens, &labels);
                }
            });
        })
        .build();
}

fn of(model: &str, class: Class) -> [KeyValue; 2] {
    [KeyValue::new("gen_ai.request.model", model.to_owned()), KeyValue::new(CLASS, class.as_str())]
}

/// An engine became healthy (1) or stopped being it (-1).
pub fn engine_health(change: i64) {
    ENGINES_UP.add(change, &[]);
}

/// Records reached monitoring.
pub fn shipped(records: u64) {
    SHIPPED.add(records, &[]);
}

/// A refusal was one too many to be kept.
pub fn refusal_dropped() {
    REFUSALS_DROPPED.add(1, &[]);
}

/// The journal could not be written or read.
pub fn journal_error() {
    JOURNAL_ERRORS.add(1, &[]);
}

/// A look at what other gateways invalidate, and how far this one is.
pub fn invalidations_heard(well: bool, sequence: u64) {
    INVALIDATIONS.record(sequence, &[]);
    INVALIDATIONS_UP.record(u64::from(well), &[]);
}

/// An answer was to be made ahead.
pub fn warmed(model: &str, warmed: Warmed) {
    WARMED.add(1, &[model_of(model), KeyValue::new("outcome", warmed.as_str())]);
}

/// Lets the cache be read when metrics are.
pub fn observe_cache(cache: &Cache) {
    let meter = meter();
    let (counted, saved, sizes) = (cache.statistics().clone(), cache.statistics().clone(), cache.clone());
    meter
        .u64_observable_counter("tollgate.cache.requests")
        .with_description("Requests whose answers were looked for, by where they were found")
        .with_callback(move |observer| {
            for (model, total) in counted.read() {
                for found in Found::ALL {
                    let labels = [model_of(&model), KeyValue::new("found", found.as_str())];
                    observer.observe(total.found[found as usize], &labels);
                }
            }
        })
        .build();
    meter
        .u64_observable_counter("tollgate.cache.saved_tokens")
        .with_description("Tokens that no engine had to read or make")
        .with_unit("{token}")
        .with_callback(move |observer| {
            for (model, total) in saved.read() {
                for (kind, tokens) in [("input", total.prompt_tokens), ("output", total.completion_tokens)] {
                    observer.observe(tokens, &[model_of(&model), KeyValue::new("gen_ai.token.type", kind)]);
                }
            }
        })
        .build();
    let priced = cache.clone();
    meter
        .u64_observable_counter("tollgate.cache.saved_micro_usd")
        .with_description("What the saved tokens would have cost, in micro-dollars")
        .with_callback(move |observer| {
            for (model, total) in priced.statistics().read() {
                observer.observe(priced.price(&model, &total), &[model_of(&model)]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("tollgate.cache.size")
        .with_description("Bytes of answers in memory")
        .with_unit("By")
        .with_callback(move |observer| observer.observe(sizes.size().1, &[]))
        .build();
}

fn model_of(model: &str) -> KeyValue {
    KeyValue::new("gen_ai.request.model", model.to_owned())
}
