//! What an engine shows of itself, as monitoring is told: the part of its page that matters, as series with the labels
//! `engine` and `model`.
//!
//! Pure: samples in, samples out. The cores of an engine are added up. Totals of counters and histograms become increases
//! here, so that nothing counts that happened before anybody looked, and an engine that begins anew takes nothing away.

use series::{Gauge, Labels, Sample, Totals, Value};
use std::collections::BTreeMap;

/// What is passed on, by the newest names.
const SHOWN: [&str; 15] = [
    "vllm:e2e_request_latency_seconds",
    "vllm:generation_tokens_total",
    "vllm:inter_token_latency_seconds",
    KV_USAGE,
    "vllm:num_preemptions_total",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:prefix_cache_hits_total",
    "vllm:prefix_cache_queries_total",
    "vllm:prompt_tokens_total",
    "vllm:request_decode_time_seconds",
    "vllm:request_prefill_time_seconds",
    "vllm:request_queue_time_seconds",
    "vllm:request_success_total",
    "vllm:time_to_first_token_seconds",
];
/// Of this one the fullest core counts; all other gauges are added up.
const KV_USAGE: &str = "vllm:kv_cache_usage_perc";
/// The only label of an engine beside the model's name that is passed on: a handful of words.
const REASON: &str = "finished_reason";
/// Series of one engine: enough for a dozen models.
const MOST: usize = 256;
/// Longest value of a label that monitoring takes, in characters.
const LONGEST: usize = 200;

/// The figures of one engine.
#[derive(Debug, Default)]
pub(super) struct Figures {
    totals: Totals,
    /// What nobody has taken yet.
    kept: BTreeMap<(Box<str>, Labels), Value>,
}

impl Figures {
    /// Takes in a page of the engine at this URL. What rose is kept where the engine is `ours`: of several gateways that
    /// read its pages one tells.
    pub(super) fn read(&mut self, url: &str, page: Vec<Sample>, ours: bool) {
        let page = page.into_iter().filter(|sample| SHOWN.binary_search(&&*sample.name).is_ok());
        let mut risen: BTreeMap<(Box<str>, Labels), Value> = BTreeMap::new();
        for sample in self.totals.increases(page) {
            let key = (sample.name, labels(url, &sample.labels));
            match risen.get_mut(&key) {
                Some(value) => add(value, &sample.value, &*key.0 == KV_USAGE),
                None => drop(risen.insert(key, sample.value)),
            }
        }
        if !ours {
            return;
        }
        for (key, value) in risen {
            if let Some(kept) = self.kept.get_mut(&key) {
                kept.extend(&value);
            } else if self.kept.len() < MOST {
                self.kept.insert(key, value);
            }
        }
    }

    /// What rose and what was said since this was asked last.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Sample> + use<> {
        let kept = std::mem::take(&mut self.kept);
        kept.into_iter().map(|((name, labels), value)| Sample { name, labels, value })
    }
}

/// A name that monitoring would not take, and all its report with it, is left out.
fn labels(url: &str, shown: &Labels) -> Labels {
    let pairs = [("engine", Some(url)), ("model", shown.get("model_name")), (REASON, shown.get(REASON))];
    let fits = |value: &&str| value.chars().count() <= LONGEST && !value.chars().any(char::is_control);
    pairs.into_iter().filter_map(|(name, value)| Some((name, value.filter(fits)?))).collect()
}

/// Adds what another core says at the same moment.
fn add(value: &mut Value, other: &Value, most: bool) {
    match (value, other) {
        (Value::Gauge(gauge), Value::Gauge(other)) => {
            let both = if most { gauge.last.max(other.last) } else { gauge.last + other.last };
            *gauge = Gauge::read(both);
        }
        (value, other) => value.extend(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use series::text;

    /// A page of vLLM 0.29 that served a few requests.
    const RECORDED: &str = include_str!("../../../../series/tests/data/recorded-metrics.txt");
    const URL: &str = "http://engine:8000";

    fn found<'a>(samples: &'a [Sample], name: &str) -> Vec<&'a Sample> {
        samples.iter().filter(|sample| &*sample.name == name).collect()
    }

    fn count(sample: &Sample) -> f64 {
        match &sample.value {
            Value::Gauge(gauge) => gauge.last,
            Value::Counter(rose) => *rose,
            Value::Histogram(buckets) => buckets.count(),
        }
    }

    #[test]
    fn names_are_in_order() {
        assert!(SHOWN.is_sorted(), "they are looked for by halves");
    }

    #[test]
    fn a_real_engine_shows_everything_that_is_passed_on() {
        let mut figures = Figures::default();
        figures.read(URL, text::samples(RECORDED), true);
        let first: Vec<Sample> = figures.take().collect();
        assert_eq!(first.len(), 3, "what was counted before anybody looked does not count: {first:?}");
        let later = RECORDED
            .replace(
                "generation_tokens_total{engine=\"0\",model_name=\"tiny\"} 2698.0",
                "generation_tokens_total{engine=\"0\",model_name=\"tiny\"} 2798.0",
            )
            .replace("le=\"+Inf\",model_name=\"tiny\"} 19.0", "le=\"+Inf\",model_name=\"tiny\"} 22.0");
        figures.read(URL, text::samples(&later), true);
        let read: Vec<Sample> = figures.take().collect();
        for name in SHOWN {
            let found = found(&read, name);
            assert!(!found.is_empty(), "{name}");
            let labels = &found[0].labels;
            assert_eq!((labels.get("engine"), labels.get("model")), (Some(URL), Some("tiny")), "{name}");
        }
        assert_eq!(count(found(&read, "vllm:generation_tokens_total")[0]), 100.0);
        assert_eq!(count(found(&read, "vllm:time_to_first_token_seconds")[0]), 3.0);
        assert_eq!(found(&read, "vllm:request_success_total").len(), 5, "one for each reason");
        assert_eq!(figures.take().count(), 0, "everything is told once");
    }

    fn cores(one: [u32; 3], other: [u32; 3]) -> Vec<Sample> {
        let core = |rank: u32, [running, usage, tokens]: [u32; 3]| {
            format!(
                "vllm:num_requests_running{{engine=\"{rank}\",model_name=\"m\"}} {running}\n\
                 vllm:gpu_cache_usage_perc{{engine=\"{rank}\",model_name=\"m\"}} 0.{usage}\n\
                 vllm:generation_tokens_total{{engine=\"{rank}\",model_name=\"m\"}} {tokens}\n"
            )
        };
        text::samples(&(core(0, one) + &core(1, other)))
    }

    #[test]
    fn cores_are_added_up_and_one_that_begins_anew_takes_nothing_away() {
        let mut figures = Figures::default();
        figures.read(URL, cores([1, 25, 100], [2, 75, 1_000]), true);
        figures.read(URL, cores([3, 50, 150], [4, 25, 7]), true);
        let read: Vec<Sample> = figures.take().collect();
        let said: Vec<(&str, f64)> = read.iter().map(|sample| (&*sample.name, count(sample))).collect();
        let expected =
            [("vllm:generation_tokens_total", 57.0), (KV_USAGE, 0.5), ("vllm:num_requests_running", 7.0)];
        assert_eq!(said, expected);
    }

    #[test]
    fn of_several_gateways_the_one_tells_whose_the_engine_is() {
        let (mut ours, mut theirs) = (Figures::default(), Figures::default());
        for tokens in [0, 10, 30] {
            ours.read(URL, cores([0, 0, tokens], [0, 0, 0]), tokens < 30);
            theirs.read(URL, cores([0, 0, tokens], [0, 0, 0]), tokens == 30);
        }
        let told = |figures: &mut Figures| -> Vec<f64> {
            let read: Vec<Sample> = figures.take().collect();
            found(&read, "vllm:generation_tokens_total").into_iter().map(count).collect()
        };
        assert_eq!((told(&mut ours), told(&mut theirs)), (vec![10.0], vec![20.0]));
    }

    #[test]
    fn an_engine_has_so_many_series_and_no_more() {
        let page = |tokens: u32| -> String {
            (0..1_000)
                .map(|model| format!("vllm:prompt_tokens_total{{model_name=\"m{model}\"}} {tokens}\n"))
                .collect()
        };
        let mut figures = Figures::default();
        figures.read(URL, text::samples(&page(1)), true);
        figures.read(URL, text::samples(&page(2)), true);
        assert_eq!(figures.take().count(), MOST);
    }

    #[test]
    fn names_that_monitoring_would_refuse_are_left_out() {
        let shown: Labels =
            [("model_name", "a\u{1}b".to_owned()), (REASON, "x".repeat(LONGEST + 1))].into_iter().collect();
        assert_eq!(labels(URL, &shown), [("engine", URL)].into_iter().collect());
    }
}
