//! Whether the streams of an engine get tokens, told by every token that passes and asked now and then.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The pulse of one engine.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    streams: AtomicU32,
    /// Milliseconds from `born` to the last token of any stream, or to the first stream's begin.
    last: AtomicU64,
}

impl Pulse {
    /// Of an engine that has nothing to do.
    #[must_use]
    pub(super) fn new(now: Instant) -> Self {
        Self { born: now, streams: AtomicU32::new(0), last: AtomicU64::new(0) }
    }

    /// A stream begins.
    pub(super) fn begin(&self, now: Instant) {
        if self.streams.fetch_add(1, Ordering::Relaxed) == 0 {
            self.beat(now);
        }
    }

    /// A stream is over.
    pub(super) fn end(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// Something came.
    pub(super) fn beat(&self, now: Instant) {
        let since = now.saturating_duration_since(self.born).as_millis();
        self.last.fetch_max(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The streams there are, and since when none of them had anything; `None` while there are none.
    #[must_use]
    pub(super) fn silence(&self, now: Instant) -> Option<(u32, Duration)> {
        let streams = self.streams.load(Ordering::Relaxed);
        let last = self.born + Duration::from_millis(self.last.load(Ordering::Relaxed));
        (streams > 0).then(|| (streams, now.saturating_duration_since(last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_since_the_last_token_of_any_stream() {
        let second = Duration::from_secs(1);
        let now = Instant::now();
        let pulse = Pulse::new(now);
        assert_eq!(pulse.silence(now + 100 * second), None, "nothing to say");
        pulse.begin(now + 100 * second);
        assert_eq!(pulse.silence(now + 103 * second), Some((1, 3 * second)));
        pulse.begin(now + 104 * second);
        assert_eq!(pulse.silence(now + 105 * second), Some((2, 5 * second)), "a further stream is no token");
        pulse.beat(now + 105 * second);
        assert_eq!(pulse.silence(now + 106 * second), Some((2, second)));
        pulse.end();
        pulse.end();
        assert_eq!(pulse.silence(now + 200 * second), None);
    }
}
