//! Writing what was heard by the minute, reading what other replicas heard, making hours of minutes, and forgetting.

use super::{HOUR, MINUTE, Signals, at, store, time};
use policy::Time;
use series::{At, Sample, roll};
use shared::{server::Tasks, time::now};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// Between two looks at what is to be done.
const EVERY: Duration = Duration::from_secs(10);
/// How long minutes are kept, in seconds: a day, and an hour in which the last of them become one.
const MINUTES: i64 = 25 * HOUR;
/// How long hours are kept, in seconds: 400 days, so that a month can be compared with the same one a year before.
const HOURS: i64 = 400 * 24 * HOUR;
/// Minutes that are held back at most while the database is away.
const BACKLOG: usize = 120;
/// So long after an hour every replica has written its minutes.
const SETTLED: i64 = 5 * MINUTE;
/// A minute that is written later than that is not read by other replicas.
const LATE: i64 = 5 * MINUTE;

/// Keeps what is heard until the process ends; then writes what is left.
pub(super) fn start(signals: &Signals, tasks: &Tasks) {
    let (signals, stop) = (signals.clone(), tasks.stopping());
    tasks.spawn(async move {
        let rounds = async {
            let oldest = signals.state().memory.oldest(at(now()));
            signals.logged("read what was measured before", signals.read(oldest).await);
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut rolled = None;
            loop {
                ticks.tick().await;
                rolled = signals.round(now(), rolled).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rounds => {}
        }
        // The minute that is going on, too: whoever starts next goes on with it.
        let written = tokio::time::timeout(Duration::from_secs(3), signals.write(Time(i64::MAX)));
        if let Ok(written) = written.await {
            signals.logged("write what was measured", written);
        }
    });
}

impl Signals {
    /// One look at what is to be done, and the hour up to which hours are made.
    async fn round(&self, now: Time, rolled: Option<At>) -> Option<At> {
        self.logged("write what was measured", self.write(now).await);
        self.logged("read what others measured", self.read(at(now).plus(-LATE)).await);
        self.state().memory.forget(at(now));
        let hour = at(now).plus(-SETTLED).floor(HOUR);
        if rolled == Some(hour) {
            return rolled;
        }
        let done = async {
            self.hours(now).await?;
            store::forget(&self.db, time(at(now).plus(-MINUTES)), time(at(now).plus(-HOURS))).await
        };
        self.logged("make hours of what was measured", done.await).then_some(hour)
    }

    fn logged(&self, what: &'static str, result: Result<(), sqlx::Error>) -> bool {
        if let Err(error) = &result {
            tracing::warn!(%error, "could not {what}; it is tried again");
        }
        result.is_ok()
    }

    /// Writes the minutes that are over. What could not be written is held back for the next time.
    pub(super) async fn write(&self, now: Time) -> Result<(), sqlx::Error> {
        let going_on = at(now).floor(MINUTE);
        let over: Vec<_> = {
            let mut state = self.state();
            let later = state.unwritten.split_off(&going_on);
            std::mem::replace(&mut state.unwritten, later).into_iter().collect()
        };
        for (number, (minute, values)) in over.iter().enumerate() {
            let rows: Vec<store::Row> = values
                .iter()
                .map(|((name, labels), value)| store::Row::new(name, labels, minute, value.clone()))
                .collect();
            let hour = minute.floor(HOUR);
            let new: Vec<&store::Row> = {
                let state = self.state();
                rows.iter().filter(|row| state.described.get(&row.series.id) != Some(&hour)).collect()
            };
            if let Err(error) = store::write_minute(&self.db, self.writer, &new, &rows).await {
                let mut state = self.state();
                for (minute, values) in over.into_iter().skip(number) {
                    let kept = state.unwritten.entry(minute).or_default();
                    for (key, value) in values {
                        kept.entry(key).and_modify(|kept| kept.extend(&value)).or_insert(value);
                    }
                }
                while state.unwritten.len() > BACKLOG {
                    state.unwritten.pop_first();
                }
                return Err(error);
            }
            let mut state = self.state();
            state.described.extend(new.iter().map(|row| (row.series.id, hour)));
            state.described.retain(|_, told| *told >= hour.plus(-HOUR));
        }
        Ok(())
    }

    /// Takes into memory what others wrote of the time since then.
    pub(super) async fn read(&self, since: At) -> Result<(), sqlx::Error> {
        let oldest = since.floor(MINUTE);
        for (minute, writer) in store::writers(&self.db, time(oldest)).await? {
            let minute = at(minute);
            if writer == self.writer || self.state().read.contains(&(minute, writer)) {
                continue;
            }
            let rows = store::minute(&self.db, time(minute), writer).await?;
            let mut state = self.state();
            for row in rows {
                let sample = Sample {
                    name: row.series.name.as_str().into(),
                    labels: row.series.labels,
                    value: row.value,
                };
                // What does not fit into memory is still in the database.
                let _ = state.memory.take(minute, &sample);
            }
            state.read.insert((minute, writer));
        }
        let kept = self.state().memory.oldest(oldest).plus(-MINUTE);
        self.state().read.retain(|(minute, _)| *minute >= kept);
        Ok(())
    }

    /// Makes the hours of the last day that nobody has made yet. Replicas may do the same at once: it comes out the same.
    pub(super) async fn hours(&self, now: Time) -> Result<(), sqlx::Error> {
        let end = at(now).plus(-SETTLED).floor(HOUR);
        for number in (1..=24).rev() {
            let hour = end.plus(-number * HOUR);
            if store::has_hour(&self.db, time(hour)).await? {
                continue;
            }
            let ids = store::series_of(&self.db, time(hour), time(hour.plus(HOUR))).await?;
            for ids in ids.chunks(store::PART) {
                let known = store::described(&self.db, ids).await?;
                let points = store::minutes(&self.db, &known, time(hour), time(hour.plus(HOUR))).await?;
                let rows = known.into_iter().filter_map(|series| {
                    let minutes = points.get(&series.id)?;
                    let point = roll(minutes, HOUR).pop()?;
                    Some(store::Row { series, at: time(hour), value: point.value })
                });
                store::write_hour(&self.db, &rows.collect::<Vec<_>>()).await?;
            }
        }
        Ok(())
    }
}

/// What several writers heard of the same stretches, joined: each stretch once, in order of time.
pub(crate) fn joined(points: impl IntoIterator<Item = series::Point>) -> Vec<series::Point> {
    let mut stretches: BTreeMap<At, series::Value> = BTreeMap::new();
    for point in points {
        stretches.entry(point.at).and_modify(|value| value.extend(&point.value)).or_insert(point.value);
    }
    stretches.into_iter().map(|(at, value)| series::Point { at, value }).collect()
}

#[cfg(test)]
mod tests;
