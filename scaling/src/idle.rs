//! Whether an instance has nothing to do. Whoever cannot be asked is not idle.

use std::time::Duration;

/// What was seen of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Seen {
    /// Requests in its engine's batch and queue.
    pub requests: Option<f64>,
    /// Requests that its engine has finished since it started, whatever became of them.
    pub finished: Option<f64>,
    /// Part of the time in which its GPUs work, 0 to 1; none where there is no GPU.
    pub gpu: Option<f64>,
}

/// How long an instance has had nothing to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Idleness {
    since: Option<Duration>,
    finished: Option<f64>,
}

/// A GPU that does less than this computes for nobody: displays and monitors use some.
const QUIET: f64 = 0.05;

impl Idleness {
    /// Takes in what was seen, and says for how long there has been nothing to do.
    pub fn saw(&mut self, seen: Seen, now: Duration) -> Duration {
        let quiet = seen.requests == Some(0.0) && seen.gpu.is_none_or(|gpu| gpu < QUIET);
        // What came and went between two looks was work all the same.
        let nothing_new = self.finished == seen.finished && seen.finished.is_some();
        self.finished = seen.finished;
        let begun = self.since.filter(|_| quiet && nothing_new);
        self.since = begun.or_else(|| quiet.then_some(now));
        self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}
