//! One watcher: first what happened since its token, then what happens.

use super::{
    hub::{self, Hub, Piece, Subscription},
    schedule::Schedule,
    timeline::{Item, Position, ResumeToken, Timeline, Told},
};
use crate::{error::Error, history::beside, pump::apart, token::Token};
use futures_util::{FutureExt, Stream};
use policy::{Epoch, Time};
use shared::time;
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

/// Time between heartbeats.
const BEAT: Duration = Duration::from_millis(500);
/// Longest wait for what another process has told already.
const WAIT: Duration = Duration::from_secs(2);

/// One message of the stream.
#[derive(Debug)]
pub(crate) enum News {
    Item(Item),
    /// Everything up to the token has been told.
    Heartbeat(Time),
}

struct Watch {
    hub: Hub,
    stop: CancellationToken,
    beat: Interval,
    /// Things of these kinds; empty: of all.
    kinds: HashSet<String>,
    epoch: Epoch,
    pieces: broadcast::Receiver<Arc<Piece>>,
    /// Whether it has been told something together with the others.
    is_live: bool,
    /// A timeline of its own and where it leads, until it has reached the others.
    replay: Option<(Timeline, Position)>,
    queue: VecDeque<Told>,
    /// What the queue leads up to.
    reach: Position,
    /// What was told last.
    sent: Position,
}

/// Streams what happens to one watcher, from its token on or from now on.
pub(crate) async fn watch(
    hub: &Hub,
    stop: CancellationToken,
    from: Option<ResumeToken>,
    kinds: HashSet<String>,
) -> Result<impl Stream<Item = Result<(ResumeToken, News), Error>> + Send + use<>, Error> {
    // What another process wrote before this call is told, and a stale start is refused.
    hub.tail().current(WAIT).await?;
    let watch = Watch::new(hub, stop, from, kinds).await?;
    Ok(futures_util::stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(news) => Some((Ok((watch.token(), news)), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl Watch {
    async fn new(
        hub: &Hub,
        stop: CancellationToken,
        from: Option<ResumeToken>,
        kinds: HashSet<String>,
    ) -> Result<Self, Error> {
        if let Some(token) = from {
            until_known(hub, token).await?;
        }
        let joined = hub.subscribe(from.map(|token| token.position)).await?;
        if from.is_some_and(|token| token.epoch != joined.epoch) {
            return Err(Error::invalid(
                "resume_token",
                "is of a store that was replaced since; begin without it",
            ));
        }
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Subscription { epoch, position, pieces, missed } = joined;
        let sent = from.map_or(position, |token| token.position);
        let mut watch = Self {
            hub: hub.clone(),
            stop,
            beat,
            kinds,
            epoch,
            pieces,
            is_live: false,
            replay: None,
            queue: VecDeque::new(),
            reach: sent,
            sent,
        };
        watch.begin(position, missed).await?;
        Ok(watch)
    }

    /// Goes on from what was sent: at once when only time has passed since, else with a replay.
    async fn begin(&mut self, position: Position, missed: Option<Vec<Told>>) -> Result<(), Error> {
        match missed {
            Some(missed) => (self.queue, self.reach) = (missed.into(), position),
            None if self.sent == position => {}
            None => {
                let (hub, sent) = (self.hub.clone(), self.sent);
                let line = apart(async move { replay(&hub, sent).await }).await?;
                self.replay = Some((line, position));
            }
        }
        Ok(())
    }

    /// Who was replaying for so long that it missed what was told to the others replays that too.
    async fn rejoin(&mut self) -> Result<(), Error> {
        let (hub, sent) = (self.hub.clone(), self.sent);
        let joined = apart(async move { hub.subscribe(Some(sent)).await }).await?;
        let Subscription { epoch, position, pieces, missed } = joined;
        if epoch != self.epoch {
            return Err(Error::StoreReplaced);
        }
        self.pieces = pieces;
        self.begin(position, missed).await
    }

    const fn token(&self) -> ResumeToken {
        ResumeToken { epoch: self.epoch, position: self.sent }
    }

    async fn next(&mut self) -> Result<News, Error> {
        loop {
            if let Some((position, item)) = self.queue.pop_front() {
                self.sent = position;
                if self.wants(&item) {
                    return Ok(News::Item(item));
                }
                continue;
            }
            self.sent = self.sent.max(self.reach);
            if self.stop.is_cancelled() {
                return Err(Error::Stopping);
            }
            // Before what comes next, so that who filters much out hears of it all the same.
            if self.beat.tick().now_or_never().is_some() {
                return self.heartbeat();
            }
            if self.replay.is_some() {
                self.go_on().await?;
                continue;
            }
            let stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Error::Stopping),
                piece = self.pieces.recv() => match piece {
                    Ok(piece) => self.take(&piece)?,
                    Err(RecvError::Lagged(_)) if !self.is_live => self.rejoin().await?,
                    Err(RecvError::Lagged(_)) => {
                        return Err(Error::TooSlow { resume_token: self.token().encode() });
                    }
                    Err(RecvError::Closed) => return Err(Error::Stopping),
                },
                _ = self.beat.tick() => return self.heartbeat(),
            }
        }
    }

    fn wants(&self, item: &Item) -> bool {
        let kind = match item {
            Item::Event(stored) => stored.event.kind.as_str(),
            Item::Expiry(expiry) => expiry.what.kind(),
        };
        self.kinds.is_empty() || self.kinds.contains(kind)
    }

    fn take(&mut self, piece: &Piece) -> Result<(), Error> {
        let Piece::Told(told, position) = piece else { return Err(Error::StoreReplaced) };
        let sent = self.sent;
        self.is_live = true;
        self.queue.extend(told.iter().filter(|(position, _)| *position > sent).cloned());
        self.reach = *position;
        Ok(())
    }

    /// Who cannot be sure that nothing was missed better asks another replica.
    fn heartbeat(&self) -> Result<News, Error> {
        if hub::is_fresh(self.hub.tail()) { Ok(News::Heartbeat(time::now())) } else { Err(Error::Stale) }
    }

    /// Replays a piece of the log; at its end the watcher has caught up with the others.
    async fn go_on(&mut self) -> Result<(), Error> {
        let Some((timeline, until)) = &mut self.replay else { return Ok(()) };
        let mut told = Vec::new();
        timeline.finish_instant(&mut told);
        let (after, until) = (timeline.position().revision, *until);
        if after < until.revision {
            let history = self.hub.history().clone();
            let next = async move { hub::transactions(&history, after, until.revision).await };
            for transaction in apart(next).await? {
                timeline.step(&transaction, &mut told);
            }
        } else {
            timeline.pass(until.instant, &mut told);
            self.replay = None;
        }
        self.reach = told.last().map_or(self.reach, |(position, _)| *position);
        if self.replay.is_none() {
            self.reach = self.reach.max(until);
        }
        self.queue.extend(told);
        Ok(())
    }
}

/// Waits until this process knows what a token of another one knows.
async fn until_known(hub: &Hub, token: ResumeToken) -> Result<(), Error> {
    let Position { revision, told, instant, .. } = token.position;
    let revision = if told > 0 { revision.next() } else { revision };
    if hub.tail().replica().epoch() == Some(token.epoch)
        && !hub.tail().reached(Token { epoch: token.epoch, revision }, WAIT).await
    {
        return Err(Error::NotYetApplied);
    }
    let ahead = instant.since(time::now());
    if ahead > WAIT {
        return Err(Error::invalid("resume_token", "is of the future; the clocks of the services differ"));
    }
    tokio::time::sleep(ahead).await;
    Ok(())
}

/// The timeline at a position in the past.
async fn replay(hub: &Hub, from: Position) -> Result<Timeline, Error> {
    let state = hub.history().state(from.revision).await?;
    beside(move || Timeline::new(Schedule::new(state.policy.timed()), from)).await
}
