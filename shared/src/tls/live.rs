//! What is made of files stays as new as they are.
//!
//! The files are read every few seconds instead of being watched: mounted secrets and network folders change by other
//! ways than those that the system tells of. What cannot be used is said once, and what was good before stays.

use super::{Fault, read::Reader};
use crate::{server::Tasks, telemetry::meter, time::now};
use opentelemetry::{KeyValue, metrics::Gauge};
use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Between two looks at the files.
const EVERY: Duration = Duration::from_secs(5);

static EXPIRES: LazyLock<Gauge<i64>> = LazyLock::new(|| {
    let meter = meter();
    let gauge = meter.i64_gauge("tollgate.tls.certificate_expires").with_unit("s");
    gauge.with_description("When the certificate in use ends, in seconds since 1970, by section").build()
});

/// Something made of files.
pub(super) trait Source: Send + Sync + 'static {
    type Made: Send + Sync;

    /// Where the files are named in the configuration.
    fn section(&self) -> &str;

    fn make(&self, reader: &mut Reader) -> Result<Self::Made, Fault>;
}

pub(super) struct Live<S: Source> {
    source: S,
    kept: Mutex<Kept<S::Made>>,
}

struct Kept<M> {
    made: Arc<M>,
    digest: [u8; 32],
    expires: Option<i64>,
    said: Option<Fault>,
}

impl<S: Source> Live<S> {
    pub(super) fn open(source: S) -> Result<Arc<Self>, Fault> {
        let kept = Mutex::new(make(&source)?);
        Ok(Arc::new(Self { source, kept }))
    }

    /// As the files were when they were last good.
    pub(super) fn get(&self) -> Arc<S::Made> {
        Arc::clone(&self.kept().made)
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    /// Looks at the files now and then until the process ends.
    pub(super) fn watch(self: &Arc<Self>, tasks: &Tasks) {
        let live = Arc::clone(self);
        tasks.repeat(EVERY, move || {
            let live = Arc::clone(&live);
            async move {
                // A folder on a network may take its time.
                if let Err(error) = tokio::task::spawn_blocking(move || live.look()).await {
                    tracing::error!(%error, "certificates were not looked at");
                }
            }
        });
    }

    /// Takes up what changed.
    pub(super) fn look(&self) {
        let section = self.source.section();
        match make(&self.source) {
            Ok(made) => {
                let mut kept = self.kept();
                if kept.digest != made.digest {
                    tracing::info!(section, "new certificates are in use");
                    *kept = made;
                }
                kept.said = None;
            }
            Err(fault) => {
                let mut kept = self.kept();
                if kept.said.as_ref() != Some(&fault) {
                    tracing::error!(
                        section,
                        "{fault}. The certificates of before stay in use; put good files there, no restart is needed"
                    );
                    kept.said = Some(fault);
                }
            }
        }
        if let Some(expires) = self.kept().expires {
            EXPIRES.record(expires, &[KeyValue::new("section", section.to_owned())]);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<S::Made>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make<S: Source>(source: &S) -> Result<Kept<S::Made>, Fault> {
    let mut reader = Reader::new(now());
    let made = Arc::new(source.make(&mut reader)?);
    Ok(Kept { made, expires: reader.expires, digest: reader.digest(), said: None })
}
