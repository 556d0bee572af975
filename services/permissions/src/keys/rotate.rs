//! Gives keys new secrets, and tells when one is due.
//!
//! Nobody but its user can take a new secret, so nothing rotates by itself: a due key is announced, and under the
//! policy that says so it stops when its grace is over too.

use super::{Key, State, may_act_for, one_of_mine, within_own_key};
use crate::{
    error::{Error, Forbidden},
    store,
    write::{Actor, Origin, Record, Thing, Write, Writer},
};
use policy::{Change, KeyId, Time};
use secrecy::SecretString;
use std::time::Duration;

/// Old secrets that a key may have at once.
const OLD_SECRETS: usize = 8;
/// Keys announced in one transaction.
const AT_ONCE: i64 = 200;

/// Which key to rotate, and how.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) id: KeyId,
    pub(crate) etag: String,
    /// How long the old secret works on.
    pub(crate) grace: Duration,
    /// A new end of the key.
    pub(crate) expires_at: Option<Time>,
}

/// Gives a key a new secret. Whoever takes it holds all that the key may do, so that must lie within the limits of the
/// key that the call is made with.
pub(crate) async fn rotate(write: &mut Write, turn: Turn) -> Result<(Key, SecretString), Error> {
    let person = *write.origin.person().ok_or(Forbidden::NotYourself)?;
    let before = one_of_mine(write, &person, turn.id).await?;
    may_act_for(write, &person, before.user).await?;
    within_own_key(write, &person, &before.limits).await?;
    before.is_as(&turn.etag)?;
    let now = write.now();
    if before.state(now) != State::Active {
        return Err(Error::KeyEnded);
    }
    let until = (!turn.grace.is_zero()).then(|| now.plus(turn.grace));
    let image = before.image();
    let (after, secret) = before.renewed(until, now);
    if after.previous.len() > OLD_SECRETS {
        let problem = "has too many old secrets that still work; rotate it with a grace of 0 to end them";
        return Err(Error::invalid("key_id", problem));
    }
    let after = Key { expires_at: turn.expires_at.or(after.expires_at), ..after };
    store::keys::update(&mut write.tx, &after).await?;
    let record = Record::updated(Thing::key(after.id), image, after.image()).called("rotated");
    write.record(record.with(Change::PutKey(after.fact())));
    Ok((after, secret))
}

/// Tells of the keys that have become due, once per secret. Several processes may do it; the head lets one at a time.
pub(crate) async fn announce(writer: &Writer, now: Time) -> Result<(), Error> {
    while store::keys::any_unannounced(writer.db(), now).await? {
        let origin = Origin::own(Actor::System, "the key is due to be rotated", now);
        writer.make(origin, announce_some).await?;
    }
    Ok(())
}

async fn announce_some(write: &mut Write) -> Result<(), Error> {
    let now = write.now();
    for mut key in store::keys::unannounced(&mut write.tx, now, AT_ONCE).await? {
        key.announced_at = Some(now);
        store::keys::update(&mut write.tx, &key).await?;
        let record = Record::updated(Thing::key(key.id), key.image(), key.image());
        write.record(record.called("rotation_due"));
    }
    Ok(())
}
