//! Pages of Prometheus' text format, a recorded one of a real engine among them.

use crate::labels;
use proptest::prelude::*;
use series::{Labels, Sample, Value, text};

const RECORDED: &str = include_str!("../data/recorded-metrics.txt");

fn named<'a>(samples: &'a [Sample], name: &str) -> Vec<&'a Sample> {
    samples.iter().filter(|sample| &*sample.name == name).collect()
}

#[test]
fn every_sample_of_a_real_engine_is_read() {
    let samples = RECORDED.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    assert_eq!(text::lines(RECORDED).count(), samples);
    assert!(samples > 300, "{samples}");
    let read = text::samples(RECORDED);
    let running = named(&read, "vllm:num_requests_running");
    assert_eq!(running[0].labels, labels([("engine", "0"), ("model_name", "tiny")]));
    assert!(matches!(running[0].value, Value::Gauge(_)));
    assert!(matches!(named(&read, "vllm:prompt_tokens_total")[0].value, Value::Counter(_)));
    let iterations = named(&read, "vllm:iteration_tokens_total");
    assert!(matches!(iterations[0].value, Value::Histogram(_)), "its name lies, its type does not");
    assert!(!read.iter().any(|sample| sample.name.ends_with("_created") || sample.name.ends_with("_bucket")));
}

#[test]
fn a_histogram_of_a_real_engine_counts_what_its_page_counts() {
    let read = text::samples(RECORDED);
    let mut histograms = 0;
    for line in text::lines(RECORDED).filter(|line| line.name.ends_with("_count")) {
        let name = line.name.trim_end_matches("_count");
        let found = named(&read, name).into_iter().find(|sample| sample.labels == line.labels());
        let Some(Sample { value: Value::Histogram(buckets), .. }) = found else { continue };
        histograms += 1;
        assert!((buckets.count() - line.value).abs() < 1e-9, "{name}");
    }
    assert!(histograms > 10, "{histograms}");
}

#[test]
fn labels_may_hold_anything() {
    let page = r#"
a{x="1",y="}\"{",z="back\\slash",w="two\nlines"} 1
b { x = "1" , } 2 1700000000000
c{x="1"} 3 # {trace_id="t"} 0.5
d{x="1} 4
e{x=1} 5
:f:g{} NaN
"#;
    let lines: Vec<_> = text::lines(page).collect();
    assert_eq!(
        lines[0].labels(),
        labels([("w", "two\nlines"), ("x", "1"), ("y", "}\"{"), ("z", "back\\slash")])
    );
    assert_eq!((lines[1].name, lines[1].value), ("c", 3.0));
    assert_eq!((lines[2].name, lines[2].labels()), ("e", Labels::default()));
    assert!(lines[3].name == ":f:g" && lines[3].value.is_nan());
}

#[test]
fn older_names_are_known_by_their_newer_ones() {
    let read = text::samples(
        "vllm:gpu_cache_usage_perc 0.5\nvllm:gpu_prefix_cache_hits_total 3\nvllm:gpu_prefix_cache_hitsx 3\n",
    );
    let names: Vec<&str> = read.iter().map(|sample| &*sample.name).collect();
    assert_eq!(
        names,
        ["vllm:kv_cache_usage_perc", "vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hitsx"]
    );
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_passed_over(page in "(\\PC|[{}\"\\\\=,\n #]|a|_bucket|le|TYPE| 1){0,200}") {
        for line in text::lines(&page) {
            let _ = line.labels();
        }
        let _ = text::samples(&page);
    }

    #[test]
    fn what_is_written_is_read(value in "\\PC{0,20}", number in -1e9..1e9_f64) {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let page = format!("# TYPE m gauge\nm{{a=\"{escaped}\",b=\"c\"}} {number}\n");
        let read = text::samples(&page);
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(read[0].labels.get("a").unwrap_or_default(), value.as_str());
        prop_assert_eq!(read[0].labels.get("b"), Some("c"));
    }
}
