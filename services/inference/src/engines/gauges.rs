//! What an engine says of itself, as the few numbers that matter here.
//!
//! Pure: samples in, numbers out. [`series::text`] reads the page and knows what older engines call otherwise. A number
//! that is not on the page is unknown, which is not zero and no fault: engines are judged by other things.

use series::{Sample, Value};

/// What an engine said last. What it did not say is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gauges {
    /// Requests in its batch.
    pub running: Option<f64>,
    /// Requests in its own queue.
    pub waiting: Option<f64>,
    /// Part of its KV cache that is in use, 0 to 1.
    pub kv_usage: Option<f64>,
    /// Prompt tokens looked up in the prefix cache since it started.
    pub prefix_queries: Option<f64>,
    /// Of those, found.
    pub prefix_hits: Option<f64>,
    /// Requests that it had to put off again since it started.
    pub preemptions: Option<f64>,
}

/// What becomes of a number that stands there once per core of the engine.
#[derive(Clone, Copy)]
enum Fold {
    Sum,
    Most,
}

impl Gauges {
    /// Of the samples of a page.
    #[must_use]
    pub fn of(page: &[Sample]) -> Self {
        let mut gauges = Self::default();
        for sample in page {
            let value = match &sample.value {
                Value::Gauge(gauge) => gauge.last,
                Value::Counter(total) => *total,
                Value::Histogram(_) => continue,
            };
            let Some((known, fold)) = gauges.named(&sample.name).filter(|_| value >= 0.0) else { continue };
            *known = Some(match (*known, fold) {
                (None, _) => value,
                (Some(other), Fold::Sum) => (other + value).min(f64::MAX),
                (Some(other), Fold::Most) => other.max(value),
            });
        }
        gauges
    }

    /// Part of the looked up prompt tokens that was found, 0 to 1.
    #[must_use]
    pub fn prefix_hit_rate(&self) -> Option<f64> {
        let (hits, queries) = (self.prefix_hits?, self.prefix_queries?);
        (queries > 0.0).then(|| (hits / queries).clamp(0.0, 1.0))
    }

    /// Whether anything at all is known.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// The number of this name, and how several of it are one.
    fn named(&mut self, name: &str) -> Option<(&mut Option<f64>, Fold)> {
        Some(match name.strip_suffix("_total").unwrap_or(name) {
            "vllm:num_requests_running" => (&mut self.running, Fold::Sum),
            "vllm:num_requests_waiting" => (&mut self.waiting, Fold::Sum),
            "vllm:kv_cache_usage_perc" => (&mut self.kv_usage, Fold::Most),
            "vllm:prefix_cache_queries" => (&mut self.prefix_queries, Fold::Sum),
            "vllm:prefix_cache_hits" => (&mut self.prefix_hits, Fold::Sum),
            "vllm:num_preemptions" => (&mut self.preemptions, Fold::Sum),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use series::text;

    /// A page of vLLM 0.29 that served a few requests.
    const RECORDED: &str = include_str!("../../../../series/tests/data/recorded-metrics.txt");

    fn read(page: &str) -> Gauges {
        Gauges::of(&text::samples(page))
    }

    #[test]
    fn a_page_of_an_engine_is_read() {
        let page = "# HELP vllm:num_requests_running Number of requests in model execution batches.\n\
            # TYPE vllm:num_requests_running gauge\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} 3.0\n\
            vllm:num_requests_running{engine=\"1\",model_name=\"tiny\"} 2.0\n\
            # TYPE vllm:num_requests_waiting gauge\n\
            vllm:num_requests_waiting{engine=\"0\",model_name=\"a}\\\"{b\"} 7 1700000000000\n\
            # TYPE vllm:num_requests_waiting_by_reason gauge\n\
            vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 9.0\n\
            # TYPE vllm:kv_cache_usage_perc gauge\n\
            vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n\
            vllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n\
            vllm:prefix_cache_queries_total 200 # {trace_id=\"x\"} 1\n\
            vllm:prefix_cache_hits_total{} 5e1\n\
            vllm:num_preemptions_total NaN\n";
        let gauges = read(page);
        assert_eq!((gauges.running, gauges.waiting, gauges.kv_usage), (Some(5.0), Some(7.0), Some(0.75)));
        assert_eq!(gauges.prefix_hit_rate(), Some(0.25));
        assert_eq!(gauges.preemptions, None, "not a number is not zero");
    }

    #[test]
    fn the_page_of_a_real_engine_says_all_of_them() {
        let expected = Gauges {
            running: Some(0.0),
            waiting: Some(0.0),
            kv_usage: Some(0.0),
            prefix_queries: Some(291.0),
            prefix_hits: Some(0.0),
            preemptions: Some(0.0),
        };
        assert_eq!(read(RECORDED), expected);
        let without = RECORDED.replace("vllm:num_requests_waiting{", "vllm:other{");
        assert_eq!(read(&without), Gauges { waiting: None, ..expected }, "missing is not zero");
    }

    #[test]
    fn older_names_say_the_same_and_others_nothing() {
        let old = read(
            "vllm:gpu_cache_usage_perc 0.5\nvllm:gpu_prefix_cache_hits 1\nvllm:gpu_prefix_cache_queries 4\n",
        );
        assert_eq!((old.kv_usage, old.prefix_hit_rate()), (Some(0.5), Some(0.25)));
        let renamed = read("vllm_num_requests_running{engine=\"0\"} 3\nvllm_kv_cache_usage_perc 0.5\n");
        assert!(!renamed.any() && !read("").any());
    }

    #[test]
    fn what_is_no_sample_is_passed_over() {
        for line in [
            "vllm:num_requests_running",
            "vllm:num_requests_running{a=\"b",
            "vllm:num_requests_running{} many",
            "vllm:num_requests_running -1",
            "vllm:num_requests_running inf",
            "{} 3",
        ] {
            assert!(!read(line).any(), "{line}");
        }
    }
}
