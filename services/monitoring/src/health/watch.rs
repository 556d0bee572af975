//! Looking at everything again and again for somebody who follows it. Nothing waits in line for a slow reader: each look is
//! taken when it can be read.

use super::{Board, Dependency, Picture};
use futures_util::{Stream, stream};
use shared::time;
use std::{collections::BTreeMap, time::Duration};
use tokio_util::sync::CancellationToken;
use vitals::Status;

/// Silence and load are noticed so often; what processes say at once.
const LOOK: Duration = Duration::from_secs(2);

/// By which dependency, how it was shown.
type Shown = BTreeMap<(String, String, String), (Status, String)>;

/// How everything is now, and what is different whenever something is.
pub(crate) fn changes(board: Board, stop: CancellationToken) -> impl Stream<Item = Picture> + Send {
    let news = board.0.news.subscribe();
    stream::unfold((board, news, stop, None::<Shown>), async |(board, mut news, stop, mut shown)| {
        loop {
            if shown.is_some() {
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = tokio::time::sleep(LOOK) => {}
                    _ = news.changed() => {}
                }
            }
            let picture = board.picture(time::now());
            let now: Shown = picture.dependencies.iter().map(|one| (key(one), standing(one))).collect();
            let before = shown.replace(now);
            let Some(before) = before else { return Some((picture, (board, news, stop, shown))) };
            let same = |one: &Dependency| before.get(&key(one)) == Some(&standing(one));
            let gone = shown.as_ref().is_some_and(|now| before.keys().any(|key| !now.contains_key(key)));
            let overall = picture.overall.clone();
            let changed: Vec<Dependency> =
                picture.dependencies.into_iter().filter(|one| !same(one)).collect();
            if gone || !changed.is_empty() {
                let picture = Picture { overall, dependencies: changed, at: picture.at };
                return Some((picture, (board, news, stop, shown)));
            }
        }
    })
}

fn key(one: &Dependency) -> (String, String, String) {
    (one.instance.clone(), format!("{:?}", one.kind), one.name.clone())
}

fn standing(one: &Dependency) -> (Status, String) {
    (one.status, one.reason.clone())
}
