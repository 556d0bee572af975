//! What ended in the last minute, five minutes and hour, in constant space: short cells for the one, cells of a minute
//! for the others. A window is the cell of now and as many full ones before it as it is long.

use super::{
    End, Used,
    sketch::{Sketch, Step},
};
use std::time::Duration;

/// How far back can be asked.
pub const WINDOWS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(3_600)];

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests, in the order of [`End::ALL`].
    pub ends: [u64; End::ALL.len()],
    /// Tokens of requests that met their promise.
    pub met_tokens: u64,
    /// Prompt tokens computed.
    pub prefill: u64,
    /// Prompt tokens found in a prefix cache.
    pub cached: u64,
    /// Tokens made.
    pub decode: u64,
}

impl Totals {
    fn add(&mut self, end: End, used: &Used) {
        self.ends[end as usize] += 1;
        if end == End::Met {
            self.met_tokens += used.prompt + used.made;
        }
        self.prefill += used.prompt.saturating_sub(used.cached);
        self.cached += used.cached;
        self.decode += used.made;
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.ends.iter_mut().zip(other.ends) {
            *mine += theirs;
        }
        self.met_tokens += other.met_tokens;
        self.prefill += other.prefill;
        self.cached += other.cached;
        self.decode += other.decode;
    }

    /// Requests that ended so.
    #[must_use]
    pub const fn of(&self, end: End) -> u64 {
        self.ends[end as usize]
    }

    /// Requests that count as offered.
    #[must_use]
    pub fn offered(&self) -> u64 {
        End::ALL.into_iter().filter(|end| end.is_offered()).map(|end| self.of(end)).sum()
    }
}

/// Of which times percentiles are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// From arrival to the first token.
    FirstToken,
    /// Of each token after the first, on the mean.
    PerToken,
    /// From arrival to the end.
    EndToEnd,
    /// In the queue.
    Queued,
    /// From being sent to an engine to the first token.
    Prefill,
    /// From the first token to the end.
    Decode,
}

const TIMES: usize = 6;

/// What ended in a window.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// How far back it reaches.
    pub covered: Duration,
    /// How many, and their tokens.
    pub totals: Totals,
    times: [Sketch; TIMES],
}

impl Window {
    /// The time that this part of them did not exceed.
    #[must_use]
    pub fn quantile(&self, time: Time, part: f64) -> Option<Duration> {
        self.times[time as usize].quantile(part)
    }
}

#[derive(Debug, Default)]
struct Cell {
    /// Its number since the start.
    number: u64,
    totals: Totals,
    times: [Sketch; TIMES],
}

/// Cells of one length, the newest overwriting the oldest.
#[derive(Debug)]
struct Ring {
    length: Duration,
    cells: Vec<Option<Box<Cell>>>,
}

impl Ring {
    fn new(length: Duration, cells: usize) -> Self {
        Self { length, cells: std::iter::repeat_with(|| None).take(cells).collect() }
    }

    fn number(&self, now: Duration) -> u64 {
        now.as_secs() / self.length.as_secs()
    }

    fn cell(&mut self, now: Duration) -> &mut Cell {
        let number = self.number(now);
        let at = (number % self.cells.len() as u64) as usize;
        let cell = self.cells[at].get_or_insert_default();
        if cell.number != number {
            **cell = Cell { number, ..Cell::default() };
        }
        cell
    }

    fn within(&self, window: Duration, now: Duration) -> Window {
        let newest = self.number(now);
        let oldest = newest.saturating_sub(window.as_secs() / self.length.as_secs());
        let mut sum = Window::default();
        for cell in self.cells.iter().flatten().filter(|cell| (oldest..=newest).contains(&cell.number)) {
            sum.totals.merge(&cell.totals);
            for (mine, theirs) in sum.times.iter_mut().zip(&cell.times) {
                mine.merge(theirs);
            }
        }
        sum.covered = now.saturating_sub(self.length * u32::try_from(oldest).unwrap_or(u32::MAX));
        sum
    }
}

/// The requests of one model and class.
#[derive(Debug)]
pub(super) struct Track {
    totals: Totals,
    short: Ring,
    long: Ring,
}

impl Default for Track {
    fn default() -> Self {
        Self { totals: Totals::default(), short: Ring::new(SHORT, 7), long: Ring::new(LONG, 61) }
    }
}

impl Track {
    pub(super) fn record(&mut self, end: End, used: &Used, now: Duration) {
        self.totals.add(end, used);
        let times = times(end, used).map(|time| time.map(Step::of));
        for cell in [self.short.cell(now), self.long.cell(now)] {
            cell.totals.add(end, used);
            for (sketch, step) in cell.times.iter_mut().zip(times) {
                if let Some(step) = step {
                    sketch.add(step);
                }
            }
        }
    }

    pub(super) fn within(&self, window: Duration, now: Duration) -> Window {
        let ring = if window <= WINDOWS[0] { &self.short } else { &self.long };
        ring.within(window, now)
    }

    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }
}

/// What is known of the times of a request, in the order of [`Time`]. One that was not answered has none.
fn times(end: End, used: &Used) -> [Option<Duration>; TIMES] {
    let answered =
        matches!(end, End::Met | End::LateFirstToken | End::SlowTokens) && used.prompt + used.made > 0;
    let first = used.first_token;
    let decoding = first.map(|first| used.duration.saturating_sub(first));
    let decoding = decoding.filter(|_| answered && used.made > 1);
    let steps = u32::try_from(used.made.saturating_sub(1)).unwrap_or(u32::MAX);
    [
        first,
        decoding.map(|time| time / steps.max(1)),
        Some(used.duration).filter(|_| answered),
        Some(used.queued).filter(|_| answered || first.is_some()),
        first.map(|first| first.saturating_sub(used.queued)),
        decoding,
    ]
}
