//! What is seen of the GPUs and the engine, every few seconds. What cannot be read is missing until it can be.

use crate::{
    Config,
    engine::Engine,
    gpu::{self, Gpu},
};
use scaling::Seen as Work;
use series::{Buckets, Sample, Totals, Value, text};
use shared::server::Tasks;
use std::{collections::VecDeque, time::Duration};
use tokio::{sync::watch, time::Instant};

/// Over which time percentiles and rates are told.
const WINDOW: Duration = Duration::from_secs(60);

/// Everything that is seen at a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) gpus: Vec<Gpu>,
    pub(crate) engine: EngineSeen,
}

/// What the engine shows of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct EngineSeen {
    /// Requests in its batch and in its queue.
    pub(crate) running: Option<f64>,
    pub(crate) waiting: Option<f64>,
    /// Part of its KV cache in use, 0 to 1, and all of it, bytes.
    pub(crate) kv_usage: Option<f64>,
    pub(crate) kv_bytes: Option<f64>,
    /// Requests that it finished since it started.
    pub(crate) finished: Option<f64>,
    /// Of the last minute.
    pub(crate) window: Window,
}

/// What happened in the last minute.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    /// Seconds to the first token, and between tokens.
    pub(crate) first_token: Option<Buckets>,
    pub(crate) per_token: Option<Buckets>,
    /// Tokens made per second.
    pub(crate) tokens: Option<f64>,
}

impl Seen {
    /// How busy it is, as far as it matters to whether it is idle.
    pub(crate) fn work(&self) -> Work {
        let engine = &self.engine;
        Work {
            requests: engine.running.zip(engine.waiting).map(|(running, waiting)| running + waiting),
            finished: engine.finished,
            gpu: gpu::mean(self.gpus.iter().map(|gpu| gpu.usage)),
        }
    }
}

/// Looks from now on until the process ends.
pub(crate) fn start(config: &Config, engine: Engine, seeing: watch::Sender<Seen>, tasks: &Tasks) {
    let gpus = gpu::Source::new(config);
    let (every, stop) = (config.every, tasks.stopping());
    tasks.spawn(async move {
        let mut eye = Eye { gpus, engine, reader: Reader::default(), complained: false };
        loop {
            let seen = tokio::select! {
                () = stop.cancelled() => return,
                seen = eye.look() => seen,
            };
            seeing.send_replace(seen);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    });
}

struct Eye {
    gpus: gpu::Source,
    engine: Engine,
    reader: Reader,
    complained: bool,
}

impl Eye {
    async fn look(&mut self) -> Seen {
        let (gpus, page) = tokio::join!(self.gpus.read(), self.engine.metrics());
        let gpus = gpus.unwrap_or_else(|error| {
            if !self.complained {
                tracing::warn!(%error, "GPUs cannot be read; agent.gpu = \"off\" ends trying");
            }
            self.complained = true;
            Vec::new()
        });
        let engine = match page {
            Some(page) => self.reader.read(&page, Instant::now()),
            None => EngineSeen::default(),
        };
        Seen { gpus, engine }
    }
}

/// Reads pages, and remembers what it needs of those before.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    totals: Totals,
    last: Option<Instant>,
    past: VecDeque<Part>,
}

/// What happened between two pages.
#[derive(Debug, Clone)]
struct Part {
    end: Instant,
    length: Duration,
    first_token: Option<Buckets>,
    per_token: Option<Buckets>,
    tokens: Option<f64>,
}

impl Reader {
    /// Takes in a page.
    pub(crate) fn read(&mut self, page: &str, now: Instant) -> EngineSeen {
        let samples = text::samples(page);
        let mut seen = EngineSeen {
            running: added(&samples, "vllm:num_requests_running"),
            waiting: added(&samples, "vllm:num_requests_waiting"),
            kv_usage: most(&samples, "vllm:kv_cache_usage_perc").filter(|usage| *usage <= 1.0),
            kv_bytes: kv_bytes(&samples),
            finished: added(&samples, "vllm:request_success_total"),
            window: Window::default(),
        };
        let risen = self.totals.increases(samples);
        if let Some(last) = self.last.replace(now) {
            self.past.push_back(Part {
                end: now,
                length: now - last,
                first_token: buckets(&risen, "vllm:time_to_first_token_seconds"),
                per_token: buckets(&risen, "vllm:inter_token_latency_seconds"),
                tokens: added(&risen, "vllm:generation_tokens_total"),
            });
        }
        self.past.retain(|part| now - part.end < WINDOW);
        seen.window = self.window();
        seen
    }

    fn window(&self) -> Window {
        let mut window = Window::default();
        let (mut tokens, mut length) = (None, Duration::ZERO);
        for part in &self.past {
            for (sum, more) in
                [(&mut window.first_token, &part.first_token), (&mut window.per_token, &part.per_token)]
            {
                match (sum.as_mut(), more) {
                    (Some(sum), Some(more)) => sum.add(more),
                    (None, Some(more)) => *sum = Some(more.clone()),
                    _ => {}
                }
            }
            if let Some(made) = part.tokens {
                tokens = Some(tokens.unwrap_or(0.0) + made);
                length += part.length;
            }
        }
        window.tokens = tokens.filter(|_| !length.is_zero()).map(|made: f64| made / length.as_secs_f64());
        window
    }
}

/// The number of a name, added up over the cores of the engine.
fn added(samples: &[Sample], name: &str) -> Option<f64> {
    numbers(samples, name).reduce(|sum, value| sum + value)
}

/// The largest number of a name.
fn most(samples: &[Sample], name: &str) -> Option<f64> {
    numbers(samples, name).reduce(f64::max)
}

fn numbers<'a>(samples: &'a [Sample], name: &'a str) -> impl Iterator<Item = f64> + 'a {
    samples.iter().filter(move |sample| *sample.name == *name).filter_map(|sample| match &sample.value {
        Value::Gauge(gauge) => Some(gauge.last),
        Value::Counter(count) => Some(*count),
        Value::Histogram(_) => None,
    })
}

/// The histogram of a name, added up over the cores of the engine.
fn buckets(samples: &[Sample], name: &str) -> Option<Buckets> {
    let mut all =
        samples.iter().filter(|sample| *sample.name == *name).filter_map(|sample| match &sample.value {
            Value::Histogram(buckets) => Some(buckets),
            _ => None,
        });
    let mut sum = Buckets::clone(all.next()?);
    all.for_each(|more| sum.add(more));
    Some(sum)
}

/// How large the KV cache is, where the engine says so.
fn kv_bytes(samples: &[Sample]) -> Option<f64> {
    let told = samples.iter().filter(|sample| &*sample.name == "vllm:cache_config_info");
    let bytes = |sample: &Sample| sample.labels.get("kv_cache_memory_bytes")?.parse::<f64>().ok();
    let all: Vec<f64> = told.filter_map(bytes).collect();
    (!all.is_empty()).then(|| all.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(finished: u32, tokens: u32, quick: u32, slow: u32) -> String {
        format!(
            "# TYPE vllm:num_requests_running gauge\n\
             vllm:num_requests_running{{engine=\"0\"}} 2.0\nvllm:num_requests_running{{engine=\"1\"}} 1.0\n\
             # TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{{engine=\"0\"}} 4.0\n\
             # TYPE vllm:gpu_cache_usage_perc gauge\nvllm:gpu_cache_usage_perc{{engine=\"0\"}} 0.25\n\
             # TYPE vllm:cache_config_info gauge\n\
             vllm:cache_config_info{{engine=\"0\",kv_cache_memory_bytes=\"1073741824\"}} 1.0\n\
             # TYPE vllm:request_success_total counter\n\
             vllm:request_success_total{{finished_reason=\"stop\"}} {finished}\n\
             # TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{{engine=\"0\"}} {tokens}\n\
             # TYPE vllm:time_to_first_token_seconds histogram\n\
             vllm:time_to_first_token_seconds_bucket{{le=\"0.1\"}} {quick}\n\
             vllm:time_to_first_token_seconds_bucket{{le=\"1.0\"}} {0}\n\
             vllm:time_to_first_token_seconds_bucket{{le=\"+Inf\"}} {0}\n\
             vllm:time_to_first_token_seconds_sum 1\nvllm:time_to_first_token_seconds_count {0}\n",
            quick + slow
        )
    }

    #[test]
    fn figures_are_read_over_all_cores_and_by_their_older_names() {
        let seen = Reader::default().read(&page(7, 100, 1, 0), Instant::now());
        assert_eq!((seen.running, seen.waiting, seen.kv_usage), (Some(3.0), Some(4.0), Some(0.25)));
        assert_eq!((seen.finished, seen.kv_bytes), (Some(7.0), Some(1_073_741_824.0)));
        assert!(seen.window.first_token.is_none() && seen.window.tokens.is_none(), "one page tells no rate");
    }

    #[test]
    fn the_last_minute_is_what_rose_in_it() {
        let (mut reader, start) = (Reader::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        reader.read(&page(0, 1_000, 90, 10), at(0));
        reader.read(&page(1, 1_500, 90, 10), at(10));
        let seen = reader.read(&page(2, 2_000, 95, 15), at(20));
        assert_eq!(seen.window.tokens, Some(50.0));
        let first = seen.window.first_token.unwrap();
        assert!((first.count() - 10.0).abs() < 1e-9, "what was before nobody looked does not count");
        assert!(first.quantile(0.95).unwrap() > 0.1);
        let later = reader.read(&page(2, 2_000, 95, 15), at(80));
        assert_eq!(later.window.tokens, Some(0.0), "only the last stretch is within a minute");
    }

    #[test]
    fn what_is_not_shown_is_missing() {
        let seen = Reader::default().read("", Instant::now());
        assert!(seen.running.is_none() && seen.finished.is_none() && seen.kv_bytes.is_none());
        assert_eq!(Seen::default().work(), Work::default());
    }
}
