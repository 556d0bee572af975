//! Telling monitoring what this process measures: every ten seconds what its meter counted since the report before, and
//! at once when something [`turned`] that somebody may have to be told of.
//!
//! Increases are made here, so a report is complete by itself and any replica of monitoring can take it. What could not be
//! sent is added to the next report. A report whose answer was lost counts twice: these are measurements, the ledger is
//! elsewhere.

use crate::{channel::Channel, server::Tasks, telemetry};
use proto::monitoring::v1::{
    self as pb, metrics_service_client::MetricsServiceClient, reported_series::Value as Wire,
};
use series::{Labels, Sample, Totals, Value};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// Between two reports.
pub const EVERY: Duration = Duration::from_secs(10);
/// Between two reports of what turned.
const LEAST: Duration = Duration::from_secs(1);
/// Series of one call.
const CALL: usize = 1_000;
/// A call may take so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Like the meter, one for the process: whoever measures has no way to whoever reports.
static TURNED: LazyLock<watch::Sender<()>> = LazyLock::new(|| watch::Sender::new(()));

/// Says that something turned that is not to wait for the next report: a component went or came back, a threshold was
/// crossed. Called after the meter was told, as often as it happens: there is one report a second at most.
pub fn turned() {
    TURNED.send_replace(());
}

/// Who reports.
#[derive(Debug, Clone)]
pub struct Source {
    /// What runs here, such as `inference`.
    pub service: &'static str,
    /// The services of ours that run in it.
    pub apis: &'static [&'static str],
    /// This process among others, the same after it was started anew: its host and port.
    pub instance: String,
}

/// What another part of the process measured since it was asked last, beside the meter.
type Others = Box<dyn FnMut() -> Vec<Sample> + Send>;

/// What is reported beside what the meter holds. Cheap to clone.
#[derive(Clone, Default)]
pub struct Beside(Arc<Mutex<Vec<Others>>>);

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

impl Beside {
    /// Asks this, too, whenever a report is made. Counters and histograms are increases.
    pub fn add(&self, others: impl FnMut() -> Vec<Sample> + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(others));
    }

    fn samples(&self) -> Vec<Sample> {
        let mut others = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        others.iter_mut().flat_map(|other| other()).collect()
    }
}

/// Reports over `channel`, which carries the service token, until the process ends, and once more then.
pub fn start(source: Source, channel: Channel, beside: Beside, tasks: &Tasks) {
    let stop = tasks.stopping();
    tasks.spawn(async move {
        let mut reports =
            Reports { source, channel, beside, totals: Totals::from_start(), unsent: HashMap::new() };
        let mut news = TURNED.subscribe();
        let mut wait = LEAST;
        loop {
            let soonest = Instant::now() + wait;
            let last = tokio::select! {
                () = stop.cancelled() => true,
                () = sleep(EVERY) => false,
                () = turn(news.clone(), soonest) => false,
            };
            let has_turned = news.has_changed().unwrap_or(false);
            // What turns while this is sent is told with the next one.
            news.mark_unchanged();
            reports.collect();
            let sent = reports.send(has_turned).await;
            if last {
                return;
            }
            wait = if sent { LEAST } else { (wait * 2).min(EVERY) };
            if has_turned && !sent {
                news.mark_changed();
            }
        }
    });
}

/// Waits until something turned, and then until `soonest`.
async fn turn(mut news: watch::Receiver<()>, soonest: Instant) {
    // Its sender is never dropped.
    let _ = news.changed().await;
    sleep_until(soonest).await;
}

struct Reports {
    source: Source,
    channel: Channel,
    beside: Beside,
    totals: Totals,
    /// What monitoring has not taken yet.
    unsent: HashMap<(Box<str>, Labels), Value>,
}

impl Reports {
    fn collect(&mut self) {
        let mut samples = self.totals.increases(telemetry::totals());
        samples.extend(self.beside.samples());
        for Sample { name, labels, value } in samples {
            match self.unsent.get_mut(&(name.clone(), labels.clone())) {
                Some(unsent) => unsent.extend(&value),
                None => drop(self.unsent.insert((name, labels), value)),
            }
        }
    }

    /// Sends what is unsent; with the last call goes whether something turned. Whether all of it was taken.
    async fn send(&mut self, has_turned: bool) -> bool {
        let mut metrics = MetricsServiceClient::new(self.channel.clone());
        while !self.unsent.is_empty() {
            let keys: Vec<_> = self.unsent.keys().take(CALL).cloned().collect();
            let series = keys.iter().filter_map(|key| Some(to_proto(key, self.unsent.get(key)?)));
            let mut request = Request::new(pb::ReportSeriesRequest {
                instance: self.source.instance.clone(),
                service: self.source.service.to_owned(),
                series: series.collect(),
                turned: has_turned && keys.len() == self.unsent.len(),
            });
            request.set_timeout(PATIENCE);
            match timeout(PATIENCE, metrics.report_series(request)).await {
                Ok(Ok(_)) => keys.iter().for_each(|key| drop(self.unsent.remove(key))),
                // The same would be refused again, and everything behind it would wait for that.
                Ok(Err(status)) if status.code() == Code::InvalidArgument => {
                    let refused = refused(&status).and_then(|at| keys.get(at..=at)).unwrap_or(&keys);
                    tracing::warn!(%status, series = ?refused.first(), "measurements were refused");
                    refused.iter().for_each(|key| drop(self.unsent.remove(key)));
                }
                Ok(Err(status)) => {
                    tracing::debug!(%status, "measurements could not be sent; they are tried again");
                    return false;
                }
                Err(_) => {
                    tracing::debug!("measurements were not taken in time; they are tried again");
                    return false;
                }
            }
        }
        true
    }
}

/// Which series of a call was refused, when it says so.
fn refused(status: &Status) -> Option<usize> {
    let fields = status.get_details_bad_request()?.field_violations;
    let (at, _) = fields.first()?.field.strip_prefix("series[")?.split_once(']')?;
    at.parse().ok()
}

fn to_proto((name, labels): &(Box<str>, Labels), value: &Value) -> pb::ReportedSeries {
    let labels = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let value = match value {
        Value::Gauge(gauge) => Wire::Gauge(gauge.last),
        Value::Counter(rose) => Wire::Counter(*rose),
        Value::Histogram(buckets) => {
            let counts = if buckets.count() > 0.0 { buckets.counts().to_vec() } else { Vec::new() };
            Wire::Histogram(pb::Buckets { bounds: buckets.bounds().to_vec(), counts, sum: buckets.sum() })
        }
    };
    pb::ReportedSeries { name: name.to_string(), labels: labels.collect(), value: Some(value) }
}

#[cfg(test)]
mod tests;
