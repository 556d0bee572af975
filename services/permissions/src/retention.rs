//! Checkpoints of the policy, and the end of events that are older than they are kept.
//!
//! Any process may write the next checkpoint; the store takes one of them. Events go only up to a checkpoint that is
//! itself older than events are kept, so every moment within that time can still be asked about.

use crate::{
    config::Events,
    error::Error,
    history::{self, History, State},
    store::{
        StoreError,
        checkpoints::{self, Checkpoint},
        events::{self, Head},
    },
};
use policy::{Revision, Time};
use shared::{event::Link, server::Tasks, time};

/// Facts in one part of a checkpoint.
const PART: usize = 10_000;
/// Revisions whose events are deleted by one statement.
const STRIDE: u64 = 2_000;

/// Looks again and again whether something is due.
pub(crate) fn start(history: &History, config: &Events, tasks: &Tasks) {
    let (history, config, every) = (history.clone(), config.clone(), config.look_every);
    tasks.repeat(every, move || {
        let (history, config) = (history.clone(), config.clone());
        async move {
            if let Err(error) = look(&history, &config, time::now()).await {
                tracing::warn!(%error, "the log of events could not be tidied; it is tried again");
            }
        }
    });
}

async fn look(history: &History, config: &Events, now: Time) -> Result<(), Error> {
    let head = events::head(history.db()).await?;
    let last = checkpoints::nearest(history.db(), head.revision).await?;
    if is_due(history, config, &head, last.as_ref(), now).await? {
        write(history, &head, last.as_ref(), now).await?;
    }
    if !config.keep_for.is_zero() {
        forget(history, now.minus(config.keep_for)).await?;
    }
    Ok(())
}

async fn is_due(
    history: &History,
    config: &Events,
    head: &Head,
    last: Option<&Checkpoint>,
    now: Time,
) -> Result<bool, Error> {
    let since = last.map_or(Revision(0), |last| last.revision);
    if since == head.revision {
        return Ok(false);
    }
    let made = match last {
        Some(last) => last.at,
        None => events::last_of(history.db(), Revision(1)).await?.map_or(now, |(at, _)| at),
    };
    let old = now.since(made) >= config.checkpoint_every;
    Ok(old || events::more_than(history.db(), since, config.checkpoint_after).await?)
}

async fn write(history: &History, head: &Head, last: Option<&Checkpoint>, now: Time) -> Result<(), Error> {
    let state = history.state_once(head.revision).await?;
    let recorded = events::last_of(history.db(), head.revision).await?;
    let link = recorded.and_then(|(_, link)| link).unwrap_or(Link::FIRST);
    let at = state.at;
    let parts = history::beside(move || parts(&state)).await??;
    let checkpoint = Checkpoint {
        revision: head.revision,
        follows: last.map_or(Revision(0), |last| last.revision),
        epoch: head.epoch,
        at,
        link,
        parts: i64::try_from(parts.len()).unwrap_or(i64::MAX),
    };
    if checkpoints::add(history.db(), &checkpoint, &parts, now).await? {
        tracing::info!(revision = %head.revision, "wrote a checkpoint of the policy");
    }
    Ok(())
}

/// The facts as lines, so many in each part.
fn parts(state: &State) -> Result<Vec<String>, StoreError> {
    let (mut parts, mut lines) = (Vec::new(), 0);
    for fact in state.policy.facts() {
        if lines % PART == 0 {
            parts.push(String::new());
        }
        lines += 1;
        if let Some(part) = parts.last_mut() {
            part.push_str(&serde_json::to_string(&fact)?);
            part.push('\n');
        }
    }
    Ok(parts)
}

/// Deletes what lies before the last checkpoint that was made by then.
async fn forget(history: &History, horizon: Time) -> Result<(), Error> {
    let Some(checkpoint) = checkpoints::last_before(history.db(), horizon).await? else { return Ok(()) };
    while let Some(oldest) = events::oldest(history.db()).await?.filter(|first| *first <= checkpoint.revision)
    {
        let until = Revision(oldest.get().saturating_add(STRIDE)).min(checkpoint.revision);
        events::forget(history.db(), until).await?;
    }
    checkpoints::forget(history.db(), checkpoint.revision).await?;
    Ok(())
}
