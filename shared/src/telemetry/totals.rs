//! What the meter holds, as samples whose counters and histograms are running totals.

use super::REGISTRY;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use series::{Buckets, Labels, Sample, Value};
use std::sync::Arc;

/// The meter of this process, read now.
#[must_use]
pub fn totals() -> Vec<Sample> {
    REGISTRY.gather().iter().flat_map(family).collect()
}

fn family(family: &MetricFamily) -> impl Iterator<Item = Sample> {
    let kind = family.get_field_type();
    family.get_metric().iter().filter_map(move |metric| {
        let labels = metric.get_label().iter().map(|label| (label.name(), label.value()));
        let labels: Labels = labels.collect();
        Some(Sample { name: family.name().into(), labels, value: value(kind, metric)? })
    })
}

fn value(kind: MetricType, metric: &Metric) -> Option<Value> {
    match kind {
        MetricType::GAUGE => Value::gauge(metric.get_gauge().get_value()),
        MetricType::COUNTER => Value::counter(metric.get_counter().get_value()),
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
            let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
            for bucket in finite {
                let all = bucket.cumulative_count();
                bounds.push(bucket.upper_bound());
                counts.push(all.saturating_sub(std::mem::replace(&mut below, all)) as f64);
            }
            counts.push(histogram.get_sample_count().saturating_sub(below) as f64);
            let buckets = Buckets::new(bounds.into(), counts, histogram.get_sample_sum())?;
            Some(Value::Histogram(Arc::new(buckets)))
        }
        MetricType::SUMMARY | MetricType::UNTYPED => None,
    }
}
