//! What became of what was worked on in this process.

use crate::{claims::End, telemetry::meter};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram},
};
use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Seconds.
const DURATIONS: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0];

static ENDED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = meter();
    let ended = meter.u64_counter("tollgate.jobs.attempts").with_unit("{attempt}");
    ended.with_description("Attempts at jobs, by queue, kind and what became of them").build()
});
static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let meter = meter();
    let duration = meter.f64_histogram("tollgate.jobs.attempt.duration").with_unit("s");
    duration.with_description("How long attempts at jobs took").with_boundaries(DURATIONS.to_vec()).build()
});

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tallied {
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Its owner wanted it no more.
    Cancelled,
    /// It is tried again.
    Again,
    /// It was given back.
    Back,
    /// Somebody else had it in the end.
    Lost,
}

impl Tallied {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Succeeded, Self::Failed, Self::Cancelled, Self::Again, Self::Back, Self::Lost];

    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Again => "again",
            Self::Back => "back",
            Self::Lost => "lost",
        }
    }
}

impl From<&End> for Tallied {
    fn from(end: &End) -> Self {
        match end {
            End::Succeeded(_) => Self::Succeeded,
            End::Failed(_) => Self::Failed,
            End::Cancelled => Self::Cancelled,
        }
    }
}

/// Counts since the process began.
#[derive(Debug, Default)]
pub struct Tally {
    counts: [AtomicU64; Tallied::ALL.len()],
    micros: AtomicU64,
}

impl Tally {
    pub(super) fn add(&self, queue: &'static str, kind: &str, tallied: Tallied, took: Duration) {
        self.counts[tallied as usize].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        let queue = KeyValue::new("tollgate.queue", queue);
        ENDED.add(
            1,
            &[
                queue.clone(),
                KeyValue::new("tollgate.kind", kind.to_owned()),
                KeyValue::new("tollgate.outcome", tallied.label()),
            ],
        );
        DURATION.record(took.as_secs_f64(), &[queue]);
    }

    /// How many attempts ended so.
    #[must_use]
    pub fn of(&self, tallied: Tallied) -> u64 {
        self.counts[tallied as usize].load(Ordering::Relaxed)
    }

    /// How long an attempt took on the whole.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let attempts: u64 = Tallied::ALL.into_iter().map(|tallied| self.of(tallied)).sum();
        self.micros.load(Ordering::Relaxed).checked_div(attempts).map(Duration::from_micros)
    }
}
