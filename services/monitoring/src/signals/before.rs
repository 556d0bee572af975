//! What is older than what is remembered, for rules that look back further.

use super::{HOUR, MINUTE, Signals, ask::MINUTES, at, keep::joined, store, time};
use policy::Time;
use series::{At, Labels, Point, Series};
use std::{collections::BTreeMap, sync::Arc};

impl Signals {
    /// From which minute on everything is remembered for another minute at least.
    pub(crate) fn remembered(&self, now: Time) -> At {
        self.state().memory.oldest(at(now)).next(MINUTE).plus(MINUTE)
    }

    /// The series of this name from `from` until `until`, where what is remembered begins: by the hour, and by the minute at
    /// both ends, as long as there are minutes. Of a window that begins before those its first whole hour is the first.
    ///
    /// # Errors
    /// When the database is away.
    pub(crate) async fn before(
        &self,
        name: &str,
        from: At,
        until: At,
        now: Time,
    ) -> Result<Vec<Series>, sqlx::Error> {
        let from = from.floor(MINUTE);
        let first = from.plus(HOUR - 1).floor(HOUR).min(until);
        let last = until.floor(HOUR).max(first);
        let young = at(now).plus(-MINUTES).next(HOUR);
        let known = store::named(&self.db, name).await?;
        let mut found: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
        for part in known.chunks(store::PART) {
            let mut points = store::hours(&self.db, part, time(first), time(last)).await?;
            let mut edges = vec![(last, until)];
            edges.extend((from >= young).then_some((from, first)));
            for (from, until) in edges.into_iter().filter(|(from, until)| from < until) {
                for (id, minutes) in store::minutes(&self.db, part, time(from), time(until)).await? {
                    points.entry(id).or_default().extend(minutes);
                }
            }
            for series in part {
                let points = points.remove(&series.id).unwrap_or_default();
                found.entry(series.labels.clone()).or_default().extend(points);
            }
        }
        let Some(kind) = known.first().map(|series| series.kind) else { return Ok(Vec::new()) };
        let name: Arc<str> = name.into();
        let series = found.into_iter().filter(|(_, points)| !points.is_empty());
        let series = series.map(|(labels, points)| Series {
            name: Arc::clone(&name),
            labels,
            kind,
            points: joined(points),
        });
        Ok(series.collect())
    }
}
