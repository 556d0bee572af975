//! Computing numbers of series, from memory as far as it reaches and from the database before.

use super::{HOUR, MINUTE, Signals, at, keep::joined, store, time};
use crate::error::Error;
use policy::Time;
use series::{Answer, At, Labels, Point, Query, Selector, Series};
use std::collections::BTreeMap;

/// How long minutes can be asked for, in seconds: then hours have to do.
pub(super) const MINUTES: i64 = 24 * HOUR;
/// Stretches that one question may read from the database.
const MAX_STRETCHES: usize = 1_000_000;
/// Stretches that one question may look at, again and again for each number.
const MAX_LOOKS: usize = 30_000_000;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) selector: Selector,
    pub(crate) query: Query,
    pub(crate) span: Span,
}

/// For which times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// For one time; now when there is none.
    At(Option<At>),
    /// At `start`, every `step` seconds after it, and `end` at the latest.
    Range { start: At, end: At, step: i64 },
}

impl Span {
    /// How many numbers there are of each group.
    fn len(self) -> usize {
        match self {
            Self::At(_) => 1,
            Self::Range { start, end, step } => {
                usize::try_from((end.0 - start.0).div_euclid(step) + 1).unwrap_or(0)
            }
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) answers: Vec<Answer>,
    /// The times of the numbers.
    pub(crate) times: Vec<At>,
    /// How long the shortest stretches are that it was computed of, in seconds.
    pub(crate) resolution: i64,
}

impl Signals {
    /// Computes what is asked.
    ///
    /// # Errors
    /// When it cannot be computed of such series, would be too much, or the database is away.
    pub(crate) async fn ask(&self, asked: &Asked, now: Time) -> Result<Found, Error> {
        let (start, end, step) = match asked.span {
            Span::At(None) => (self.until(now), self.until(now), 1),
            Span::At(Some(at)) => (at, at, 1),
            Span::Range { start, end, step } => (start, end, step),
        };
        let from = start.plus(-asked.query.window);
        let (series, resolution) = self.select(&asked.selector, from, end, now).await?;
        // Longer stretches than the window would fall between the times.
        let query = Query { window: asked.query.window.max(resolution), ..asked.query.clone() };
        let in_window = usize::try_from(query.window / resolution + 1).unwrap_or(usize::MAX);
        let looks = in_window.saturating_mul(asked.span.len()).saturating_mul(series.len());
        if looks > MAX_LOOKS {
            return Err(Error::TooMuch);
        }
        let answers = query.range(&series, start, end, step)?;
        let times = (0..asked.span.len()).zip(0..).map(|(_, number)| start.plus(step * number)).collect();
        Ok(Found { answers, times, resolution })
    }

    /// The series that are meant, in `[from, until)`, and how long their shortest stretches are.
    async fn select(
        &self,
        selector: &Selector,
        from: At,
        until: At,
        now: Time,
    ) -> Result<(Vec<Series>, i64), Error> {
        let (recent, oldest, step) = {
            let state = self.state();
            let oldest = state.memory.oldest(at(now)).next(MINUTE);
            (state.memory.select(selector, from.max(oldest), until), oldest, state.memory.step())
        };
        if from >= oldest {
            return Ok((recent, step));
        }
        let known = store::named(&self.db, &selector.name).await?;
        let known: Vec<_> = known.into_iter().filter(|series| selector.matches(&series.labels)).collect();
        let young = at(now).plus(-MINUTES).next(HOUR);
        let stretches = (oldest.min(until).0 - from.max(young).0).max(0) / MINUTE
            + (young.min(until).0 - from.0).max(0) / HOUR;
        if known.len().saturating_mul(usize::try_from(stretches).unwrap_or(usize::MAX)) > MAX_STRETCHES {
            return Err(Error::TooMuch);
        }
        let mut found: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
        let mut kind = recent.first().map(|series| series.kind);
        for part in known.chunks(store::PART) {
            let mut hours = if from < young {
                store::hours(&self.db, part, time(from), time(young.min(until))).await?
            } else {
                BTreeMap::new()
            };
            let since = from.floor(MINUTE).max(young);
            let mut minutes = if since < until.min(oldest) {
                store::minutes(&self.db, part, time(since), time(oldest.min(until))).await?
            } else {
                BTreeMap::new()
            };
            for series in part {
                let mut points = hours.remove(&series.id).unwrap_or_default();
                points.extend(joined(minutes.remove(&series.id).unwrap_or_default()));
                kind = kind.or(Some(series.kind));
                if kind == Some(series.kind) {
                    found.entry(series.labels.clone()).or_default().extend(points);
                }
            }
        }
        for series in recent {
            found.entry(series.labels).or_default().extend(series.points);
        }
        let name: std::sync::Arc<str> = (&*selector.name).into();
        let Some(kind) = kind else { return Ok((Vec::new(), MINUTE)) };
        let series = found
            .into_iter()
            .filter(|(_, points)| !points.is_empty())
            // A series whose bounds changed is two in the database, and one here.
            .map(|(labels, points)| Series { name: name.clone(), labels, kind, points: joined(points) });
        Ok((series.collect(), if from < young { HOUR } else { MINUTE }))
    }
}
