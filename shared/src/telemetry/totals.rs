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

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Histogram, HistogramOpts, IntCounter};
    use series::Totals;

    fn read(name: &str) -> Vec<Sample> {
        totals().into_iter().filter(|sample| &*sample.name == name).collect()
    }

    #[test]
    fn totals_are_what_the_meter_counted_and_their_increases_too() {
        let calls = IntCounter::new("totals_calls", "Calls").unwrap();
        let times = HistogramOpts::new("totals_times", "Times").buckets(vec![1.0, 2.0]);
        let times = Histogram::with_opts(times).unwrap();
        REGISTRY.register(Box::new(calls.clone())).unwrap();
        REGISTRY.register(Box::new(times.clone())).unwrap();
        calls.inc_by(3);
        [0.5, 1.0, 1.5, 5.0].into_iter().for_each(|time| times.observe(time));
        assert_eq!(read("totals_calls")[0].value, Value::Counter(3.0));
        let buckets = Buckets::new(Arc::from([1.0, 2.0]), vec![2.0, 1.0, 1.0], 8.0).unwrap();
        assert_eq!(read("totals_times")[0].value, Value::Histogram(Arc::new(buckets)));
        let mut increases = Totals::from_start();
        assert_eq!(increases.increases(read("totals_calls"))[0].value, Value::Counter(3.0), "from the start");
        calls.inc_by(4);
        assert_eq!(increases.increases(read("totals_calls"))[0].value, Value::Counter(4.0));
        calls.reset();
        calls.inc_by(2);
        assert_eq!(increases.increases(read("totals_calls"))[0].value, Value::Counter(2.0), "it began anew");
    }
}
