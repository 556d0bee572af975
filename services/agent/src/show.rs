//! What is seen, shown by the meter: at `/metrics`, and with everything else that is reported to monitoring. GPUs are
//! named as OpenTelemetry's conventions for hardware name them. What was not read has no series.

use crate::{
    Config,
    gpu::Gpu,
    observe::{EngineSeen, Seen},
};
use opentelemetry::KeyValue;
use shared::telemetry::meter;
use tokio::sync::watch;

/// A name, its unit, what it says, and where that is.
type Figure<T> = (&'static str, &'static str, &'static str, fn(&T) -> Option<f64>);

const GPU: [Figure<Gpu>; 5] = [
    ("hw.gpu.utilization", "1", "Part of the time in which any kernel ran", |gpu| gpu.usage),
    ("hw.gpu.memory.usage", "By", "Used memory of the GPU", |gpu| gpu.memory_used),
    ("hw.gpu.memory.limit", "By", "Memory of the GPU", |gpu| gpu.memory_total),
    ("hw.temperature", "Cel", "How hot the GPU is", |gpu| gpu.temperature),
    ("hw.power", "W", "What the GPU draws", |gpu| gpu.power),
];

const ENGINE: [Figure<EngineSeen>; 3] = [
    ("tollgate.instance.requests.running", "{request}", "Requests in the engine's batch", |engine| {
        engine.running
    }),
    ("tollgate.instance.requests.waiting", "{request}", "Requests in the engine's own queue", |engine| {
        engine.waiting
    }),
    ("tollgate.instance.kv_cache.usage", "1", "Part of the engine's KV cache in use", |engine| {
        engine.kv_usage
    }),
];

/// Shows it until the process ends. Once in a process.
pub(crate) fn start(config: &Config, seen: &watch::Receiver<Seen>) {
    let labels =
        [KeyValue::new("engine", config.engine_url.clone()), KeyValue::new("pool", config.pool.clone())];
    for (name, unit, description, read) in GPU {
        let (seen, labels) = (seen.clone(), labels.clone());
        let meter = meter();
        let gauge = meter.f64_observable_gauge(name).with_unit(unit).with_description(description);
        let _ = gauge
            .with_callback(move |observer| {
                for gpu in &seen.borrow().gpus {
                    let [engine, pool] = labels.clone();
                    let id = KeyValue::new("hw.id", gpu.uuid.clone());
                    let labels = [engine, pool, id, KeyValue::new("hw.name", gpu.name.clone())];
                    read(gpu).inspect(|value| observer.observe(*value, &labels));
                }
            })
            .build();
    }
    for (name, unit, description, read) in ENGINE {
        let (seen, labels) = (seen.clone(), labels.clone());
        let meter = meter();
        let gauge = meter.f64_observable_gauge(name).with_unit(unit).with_description(description);
        let _ = gauge
            .with_callback(move |observer| {
                read(&seen.borrow().engine).inspect(|value| observer.observe(*value, &labels));
            })
            .build();
    }
}
