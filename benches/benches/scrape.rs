//! What a scrape costs: `/metrics` of a process with ten thousand series, half of them histograms' buckets.

use criterion::{Criterion, criterion_group, criterion_main};
use opentelemetry::KeyValue;
use shared::telemetry;
use std::hint::black_box;

// The allocator of the services.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Series of the page, a bucket counted as one.
const SERIES: usize = 10_000;
/// Counters: so many instruments of so many series each.
const COUNTERS: (usize, usize) = (5, 1_000);
/// Histograms: each with these bounds, and three series more.
const HISTOGRAMS: usize = 200;
const BOUNDS: usize = 22;

fn scrape(criterion: &mut Criterion) {
    let quiet = telemetry::Config { log: "off".into(), ..telemetry::Config::default() };
    let started = telemetry::start(&quiet, "bench");
    assert!(started.is_ok(), "it is started once");
    let meter = telemetry::meter();
    for instrument in 0..COUNTERS.0 {
        let counter = meter.u64_counter(format!("bench.calls.{instrument}")).build();
        for series in 0..COUNTERS.1 {
            let method = format!("tollgate.bench.v1.Service/Method{series}");
            counter.add(series as u64, &[KeyValue::new("method", method), KeyValue::new("code", "OK")]);
        }
    }
    let bounds = (1..=BOUNDS).map(|bound| bound as f64 / 10.0).collect();
    let times = meter.f64_histogram("bench.times").with_boundaries(bounds).build();
    for series in 0..HISTOGRAMS {
        let model = KeyValue::new("model", format!("model-{series}"));
        (0..100).for_each(|time| times.record(f64::from(time) / 50.0, std::slice::from_ref(&model)));
    }
    let (_, page) = telemetry::prometheus();
    let series = page.lines().filter(|line| line.starts_with("bench_")).count();
    assert!(series >= SERIES, "{series} series");
    criterion.bench_function("scrape/10000", |bencher| bencher.iter(|| black_box(telemetry::prometheus())));
}

criterion_group!(benches, scrape);
criterion_main!(benches);
