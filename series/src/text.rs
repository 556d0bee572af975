//! Prometheus' text format and OpenMetrics, read.
//!
//! Whatever is no sample is passed over: a page is somebody else's, and the rest of it is worth reading. Colons belong to
//! names, quotes and braces may stand in the values of labels, and types are what the page says they are, because names
//! lie (`vllm:iteration_tokens_total` is a histogram).

use crate::{Buckets, Labels, Sample, Value};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Newer names of what older engines call otherwise.
const ALIASES: [(&str, &str); 4] = [
    ("vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"),
    ("vllm:gpu_prefix_cache_queries", "vllm:prefix_cache_queries"),
    ("vllm:gpu_prefix_cache_hits", "vllm:prefix_cache_hits"),
    ("vllm:time_per_output_token_seconds", "vllm:inter_token_latency_seconds"),
];

/// One sample as it stands on a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line<'a> {
    /// The name, of a histogram with `_bucket`, `_sum` or `_count` behind it.
    pub name: &'a str,
    /// What stands between the braces.
    labels: &'a str,
    /// The value; it may be infinite or no number.
    pub value: f64,
}

/// The samples of a page, as they stand on it.
pub fn lines(page: &str) -> impl Iterator<Item = Line<'_>> {
    page.lines().filter_map(line)
}

/// Reads `name{labels} value [timestamp] [# exemplar]`.
fn line(line: &str) -> Option<Line<'_>> {
    let line = line.trim_ascii();
    let end = line.find(|letter: char| letter == '{' || letter.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(labels) => {
            let end = end_of_labels(labels)?;
            (labels.get(..end - 1)?, labels.get(end..)?)
        }
        None => ("", rest),
    };
    let value = rest.split_ascii_whitespace().next()?;
    Some(Line { name, labels, value: value.parse().ok()? })
}

/// Where the labels are over, their brace included. Values are quoted and may hold braces, and quotes behind `\`.
fn end_of_labels(labels: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in labels.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

impl Line<'_> {
    /// The labels; what is none ends them.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let (mut rest, mut labels) = (self.labels, Vec::new());
        while let Some((name, quoted)) = rest.split_once('=') {
            let name = name.trim_ascii().trim_start_matches(',').trim_ascii();
            let Some((value, behind)) = quoted.trim_ascii_start().strip_prefix('"').and_then(unquoted) else {
                break;
            };
            if !name.is_empty() {
                labels.push((name, value));
            }
            rest = behind;
        }
        labels.into_iter().collect()
    }
}

/// The value up to its closing quote, without what escapes, and what stands behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, letter) in text.char_indices() {
        match letter {
            'n' if escaped => value.push('\n'),
            letter if escaped => value.push(letter),
            '\\' => {
                escaped = true;
                continue;
            }
            '"' => return Some((value, text.get(at + 1..)?)),
            letter => value.push(letter),
        }
        escaped = false;
    }
    None
}

/// What a page shows: gauges, and totals of counters and histograms, older names under their newer ones. Summaries, and
/// when a counter was made, are left out.
#[must_use]
pub fn samples(page: &str) -> Vec<Sample> {
    let types: HashMap<&str, &str> = page.lines().filter_map(declared).collect();
    let mut samples = Vec::new();
    let mut histograms: BTreeMap<(&str, Labels), Cumulative> = BTreeMap::new();
    for line in lines(page) {
        let of = |suffix: &str| {
            line.name.strip_suffix(suffix).filter(|name| types.get(name) == Some(&"histogram"))
        };
        if let Some(name) = of("_bucket") {
            let labels = line.labels();
            let bound = labels.get("le").and_then(|le| le.parse::<f64>().ok());
            let without: Labels = labels.iter().filter(|(name, _)| *name != "le").collect();
            if let Some(bound) = bound.filter(|bound| !bound.is_nan()) {
                histograms.entry((name, without)).or_default().buckets.push((bound, line.value));
            }
        } else if let Some(name) = of("_sum") {
            histograms.entry((name, line.labels())).or_default().sum = Some(line.value);
        } else if of("_count").is_none()
            && let Some(value) = plain(line, &types)
        {
            samples.push(Sample { name: renamed(line.name), labels: line.labels(), value });
        }
    }
    samples.extend(histograms.into_iter().filter_map(|((name, labels), cumulative)| {
        Some(Sample { name: renamed(name), labels, value: Value::Histogram(Arc::new(cumulative.buckets()?)) })
    }));
    samples
}

/// Name and type of a `# TYPE` line.
fn declared(line: &str) -> Option<(&str, &str)> {
    let mut words = line.strip_prefix('#')?.split_ascii_whitespace();
    if words.next()? != "TYPE" {
        return None;
    }
    Some((words.next()?, words.next()?))
}

/// A counter or a gauge. What has no type is taken for a gauge, as long as it does not look like part of something.
fn plain(line: Line<'_>, types: &HashMap<&str, &str>) -> Option<Value> {
    let stem = line.name.strip_suffix("_total");
    let said = types.get(line.name).or_else(|| types.get(stem?));
    let created = line.name.ends_with("_created");
    match said.copied() {
        Some("counter") if !created => Value::counter(line.value),
        Some("gauge") if !created => Value::gauge(line.value),
        Some("unknown" | "untyped") => Value::gauge(line.value),
        None if stem.is_some() => Value::counter(line.value),
        None if types.is_empty() => Value::gauge(line.value),
        _ => None,
    }
}

/// The name by which it is known here.
#[must_use]
pub fn renamed(name: &str) -> Box<str> {
    for (old, new) in ALIASES {
        if let Some(rest) = name.strip_prefix(old)
            && matches!(rest, "" | "_total")
        {
            return format!("{new}{rest}").into();
        }
    }
    name.into()
}

/// A histogram as a page shows it.
#[derive(Debug, Default)]
struct Cumulative {
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
}

impl Cumulative {
    fn buckets(mut self) -> Option<Buckets> {
        self.buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let mut below = 0.0;
        let counts = self.buckets.iter().map(|(_, count)| count - std::mem::replace(&mut below, *count));
        let counts: Vec<f64> = counts.collect();
        let bounds = self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite());
        Buckets::new(bounds.collect(), counts, self.sum.unwrap_or_default())
    }
}
