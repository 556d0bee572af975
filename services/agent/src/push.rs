//! The figures that clouds scale instance groups by, written as their custom metrics. What is not known is not written.

mod cloudwatch;
mod google;

use crate::{Config, gpu, observe::Seen, report::Heard, web::Web};
use shared::server::Tasks;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

const GB: f64 = 1e9;

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figure {
    /// As it is named below `custom.googleapis.com/`.
    name: &'static str,
    value: f64,
}

/// Every figure there is at a moment.
fn figures(seen: &Seen, heard: &Heard) -> Vec<Figure> {
    let engine = &seen.engine;
    let millis = |buckets: &Option<series::Buckets>| {
        buckets.as_ref().and_then(series::Buckets::mean).map(|seconds| seconds * 1_000.0)
    };
    let all = [
        ("gpu/usage_percent", gpu::mean(seen.gpus.iter().map(|gpu| gpu.usage)).map(|usage| usage * 100.0)),
        ("gpu/memory_used_gb", gpu::sum(seen.gpus.iter().map(|gpu| gpu.memory_used)).map(|used| used / GB)),
        ("vllm/ttft_ms", millis(&engine.window.first_token)),
        ("vllm/tps", engine.window.tokens),
        ("vllm/tpot_ms", millis(&engine.window.per_token)),
        ("vllm/queue_length", engine.waiting),
        ("vllm/kv_cache_usage_gb", engine.kv_usage.zip(engine.kv_bytes).map(|(part, all)| part * all / GB)),
        ("queue/pending_requests", heard.pool_queue.map(f64::from)),
    ];
    all.into_iter().filter_map(|(name, value)| value.map(|value| Figure { name, value })).collect()
}

/// Writes from now on until the process ends, where that is switched on.
pub(crate) fn start(
    config: &Config,
    web: &Web,
    seen: watch::Receiver<Seen>,
    heard: watch::Receiver<Heard>,
    tasks: &Tasks,
) -> Result<(), String> {
    if !config.google.project.is_empty() {
        let google = Arc::new(google::Google::new(config, web)?);
        let (seen, heard) = (seen.clone(), heard.clone());
        every(config.google.every, "Google Cloud Monitoring", tasks, move || {
            let (google, figures) = (Arc::clone(&google), figures(&seen.borrow(), &heard.borrow()));
            async move { google.write(&figures).await }
        });
    }
    if !config.cloudwatch.region.is_empty() {
        let watch = Arc::new(cloudwatch::CloudWatch::new(config, web)?);
        every(config.cloudwatch.every, "CloudWatch", tasks, move || {
            let (watch, figures) = (Arc::clone(&watch), figures(&seen.borrow(), &heard.borrow()));
            async move { watch.write(&figures).await }
        });
    }
    Ok(())
}

fn every<F>(every: Duration, whom: &'static str, tasks: &Tasks, mut write: impl FnMut() -> F + Send + 'static)
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let stop = tasks.stopping();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            if let Err(why) = write().await {
                tracing::warn!(why, "figures were not written to {whom}");
            }
        }
    });
}

#[cfg(test)]
mod tests;
