//! One list out of several that are in order, a page at a time, and where each of them goes on.

use proto::common::v1::{Event, EventPlace};
use std::collections::{BTreeMap, VecDeque};

/// Where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// The last event of each service that has had one.
    pub(super) after: BTreeMap<String, EventPlace>,
    /// When the last event of all was made, in microseconds since 1970: a service that has had none in a list with the
    /// newest first goes on there, whatever came since.
    pub(super) last: Option<i64>,
}

impl Position {
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut position = Self::default();
        for part in text.split(' ') {
            match part.split_once('=')? {
                ("last", micros) => position.last = Some(micros.parse().ok()?),
                (service, place) => {
                    let (revision, ordinal) = place.split_once('.')?;
                    let place =
                        EventPlace { revision: revision.parse().ok()?, ordinal: ordinal.parse().ok()? };
                    position.after.insert(service.to_owned(), place);
                }
            }
        }
        Some(position)
    }

    pub(super) fn write(&self) -> String {
        let places =
            self.after.iter().map(|(service, at)| format!("{service}={}.{}", at.revision, at.ordinal));
        let last = self.last.iter().map(|micros| format!("last={micros}"));
        places.chain(last).collect::<Vec<_>>().join(" ")
    }

    fn passed(&mut self, event: &Event) {
        let place = EventPlace { revision: event.revision, ordinal: event.ordinal };
        self.after.insert(event.service.clone(), place);
        self.last = Some(micros(event));
    }
}

/// One service's part of a page.
#[derive(Debug)]
pub(super) struct Part {
    /// What it answered, in order.
    pub(super) events: VecDeque<Event>,
    /// Whether it has further ones.
    pub(super) more: bool,
}

/// Takes the first so many out of all lists. Returns them, and whether there are further ones.
pub(super) fn take(
    parts: &mut [Part],
    newest_first: bool,
    size: usize,
    position: &mut Position,
) -> (Vec<Event>, bool) {
    let mut page = Vec::with_capacity(size.min(1_000));
    while page.len() < size {
        let heads = parts.iter_mut().filter(|part| !part.events.is_empty());
        let key = |part: &&mut Part| part.events.front().map_or(0, micros);
        // Of the same time, whose service comes first.
        let first = if newest_first { heads.rev().max_by_key(key) } else { heads.min_by_key(key) };
        let Some(event) = first.and_then(|part| part.events.pop_front()) else { break };
        position.passed(&event);
        page.push(event);
    }
    (page, parts.iter().any(|part| part.more || !part.events.is_empty()))
}

/// When an event was made, in microseconds since 1970.
pub(super) fn micros(event: &Event) -> i64 {
    event.time.as_ref().and_then(shared::time::from_proto).map_or(0, |time| time.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logs of two services, by the microseconds of their events.
    fn pages(logs: &[(&str, &[i64])], newest_first: bool, size: usize) -> Vec<(String, u64)> {
        let log = |(service, times): &(&str, &[i64])| -> Vec<Event> {
            let events = (1_u64..).zip(*times).map(|(revision, micros)| Event {
                revision,
                service: (*service).to_owned(),
                time: Some(shared::time::to_proto(policy_time(*micros))),
                ..Event::default()
            });
            if newest_first {
                events.collect::<Vec<_>>().into_iter().rev().collect()
            } else {
                events.collect()
            }
        };
        let (mut all, mut position) = (Vec::new(), Position::default());
        loop {
            let mut parts: Vec<Part> = logs
                .iter()
                .map(|named| {
                    let after = position.after.get(named.0).map(|at| at.revision);
                    let goes_on = |event: &Event| match after {
                        Some(after) if newest_first => event.revision < after,
                        Some(after) => event.revision > after,
                        None => !newest_first || position.last.is_none_or(|last| micros(event) <= last),
                    };
                    let rest: Vec<Event> = log(named).into_iter().filter(goes_on).collect();
                    let more = rest.len() > size;
                    Part { events: rest.into_iter().take(size).collect(), more }
                })
                .collect();
            let (page, more) = take(&mut parts, newest_first, size, &mut position);
            all.extend(page.iter().map(|event| (event.service.clone(), event.revision)));
            position = Position::read(&position.write()).unwrap();
            if !more {
                return all;
            }
        }
    }

    fn policy_time(micros: i64) -> shared::time::Time {
        shared::time::Time(micros)
    }

    #[test]
    fn every_event_comes_once_and_in_order_whatever_the_size_of_pages() {
        let logs: [(&str, &[i64]); 3] =
            [("inference", &[5, 20, 20, 40]), ("monitoring", &[]), ("permissions", &[1, 2, 20, 50, 60])];
        let named = |service: &str, revision| (service.to_owned(), revision);
        let (i, p) = (|n| named("inference", n), |n| named("permissions", n));
        let oldest = [p(1), p(2), i(1), i(2), i(3), p(3), i(4), p(4), p(5)];
        let newest = [p(5), p(4), i(4), i(3), i(2), p(3), i(1), p(2), p(1)];
        for size in 1..=10 {
            assert_eq!(pages(&logs, false, size), oldest, "pages of {size}");
            assert_eq!(pages(&logs, true, size), newest, "pages of {size}");
        }
    }

    #[test]
    fn a_position_is_written_as_it_is_read_and_nothing_else_is_one() {
        let text = "inference=3.0 permissions=17.2 last=1748736000000000";
        assert_eq!(Position::read(text).unwrap().write(), text);
        for broken in ["", "inference", "inference=3", "inference=3.x", "last=now"] {
            assert_eq!(Position::read(broken), None, "{broken}");
        }
    }
}
