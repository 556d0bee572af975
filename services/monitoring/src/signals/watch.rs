//! Looking at series again and again for somebody who follows them.
//!
//! Nothing is computed ahead and nothing waits in line: a look is taken when the reader can take it. Whoever reads more
//! slowly than looks are due gets the newest, and is told how many were left out.

use crate::{
    error::Error,
    signals::{Asked, Found, Signals},
};
use futures_util::{Stream, stream};
use policy::Time;
use shared::time::now;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// One look.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) time: Time,
    /// Looks that were left out since the one before.
    pub(crate) dropped: u32,
    /// What was found, in the order of the questions.
    pub(crate) found: Vec<Found>,
}

/// A look now and `every` so often, until the process is to end.
pub(crate) fn looks(
    signals: Signals,
    asked: Vec<Asked>,
    every: Duration,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Look, Error>> + Send {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    stream::unfold((signals, asked, ticks, stop), move |(signals, asked, mut ticks, stop)| async move {
        let due = tokio::select! {
            () = stop.cancelled() => return None,
            due = ticks.tick() => due,
        };
        // Those that were due since this one; it is the newest of them.
        let dropped = u32::try_from(due.elapsed().as_micros() / every.as_micros()).unwrap_or(u32::MAX);
        let time = now();
        let mut found = Vec::with_capacity(asked.len());
        for asked in &asked {
            match signals.ask(asked, time).await {
                Ok(answer) => found.push(answer),
                Err(error) => {
                    return Some((Err(error), (signals, Vec::new(), ticks, CancellationToken::new())));
                }
            }
        }
        Some((Ok(Look { time, dropped, found }), (signals, asked, ticks, stop)))
    })
}
