//! API keys. The secret leaves once, in the answer that makes it; what stays is its hash.
//!
//! What a key is stands in `key`; `change` narrows and widens it, `rotate` gives it a new secret, `verify` asks whether
//! it is good. Who may do it to whose keys is decided here.

mod change;
mod key;
mod rotate;
mod verify;

pub(crate) use change::{KeyPatch, update};
pub(crate) use key::{Key, Limits, NewKey, Rotation, State};
pub(crate) use rotate::{Turn, announce, rotate};
pub(crate) use verify::{Asked, Verdict, Which, own, verify};

use crate::{
    error::{Error, Forbidden},
    list::{Listed, Page},
    store,
    write::{Record, Thing, Write},
};
use policy::{Change, KeyId, Role, Time, UserId};
use secrecy::{ExposeSecret, SecretString};
use shared::{
    auth::Person,
    db::Db,
    security::{KeyUse, Watch},
};
use std::{collections::HashMap, time::Duration};

/// Which keys to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Whose; `None`: everybody's.
    pub(crate) user: Option<UserId>,
    pub(crate) state: Option<State>,
    pub(crate) stop_before: Option<Time>,
    pub(crate) rotation_due: bool,
}

/// Creates a key that ends after `lifetime` unless it says otherwise. Returns it and its secret.
pub(crate) async fn create(
    write: &mut Write,
    new: NewKey,
    lifetime: Duration,
) -> Result<(Key, SecretString), Error> {
    let person = *write.origin.person().ok_or(Forbidden::NotYourself)?;
    within_own_key(write, &person, &new.limits).await?;
    may_act_for(write, &person, new.user).await?;
    models_exist(write, &new.limits).await?;
    let expires_at = new.expires_at.unwrap_or_else(|| write.origin.now.plus(lifetime));
    let (key, secret) = Key::new(NewKey { expires_at: Some(expires_at), ..new }, write.origin.now);
    store::keys::insert(&mut write.tx, &key).await?;
    write.record(Record::created(Thing::key(key.id), key.image()).with(Change::PutKey(key.fact())));
    Ok((key, secret))
}

/// One key of the caller, or of anybody for those who may read them.
pub(crate) async fn get(db: &Db, person: &Person, id: KeyId) -> Result<Key, Error> {
    let found = store::keys::get(db, id).await?.filter(|key| may_read(person, Some(key.user)));
    found.ok_or_else(|| Error::not_found("key", id))
}

pub(crate) async fn list(
    db: &Db,
    person: &Person,
    filter: &Filter,
    page: &Page,
    now: Time,
) -> Result<Listed<Key>, Error> {
    if !may_read(person, filter.user) {
        return Err(Forbidden::NotYourself.into());
    }
    let rows = store::keys::list(db, filter, now, page.after_id()?, page.limit()).await?;
    Ok(page.cut(rows, |key| key.id.to_string()))
}

fn may_read(person: &Person, user: Option<UserId>) -> bool {
    user == Some(person.user) || matches!(person.role, Role::Owner | Role::Admin | Role::Auditor)
}

/// How often these keys were used, what is still on its way included.
pub(crate) async fn uses(
    db: &Db,
    watch: &Watch,
    keys: &[KeyId],
) -> Result<HashMap<KeyId, (u64, Time)>, Error> {
    let mut uses: HashMap<KeyId, (u64, Time)> = HashMap::new();
    let known = store::keys::uses(db, keys).await?;
    let held = keys.iter().filter_map(|key| watch.uses_of(*key));
    for KeyUse { key, count, last } in known.into_iter().chain(held) {
        let (sum, latest) = uses.entry(key).or_insert((0, last));
        *sum = sum.saturating_add(count);
        *latest = last.max(*latest);
    }
    Ok(uses)
}

pub(crate) async fn revoke(write: &mut Write, id: KeyId, etag: &str) -> Result<(), Error> {
    let person = *write.origin.person().ok_or(Forbidden::NotYourself)?;
    let key = one_of_mine(write, &person, id).await?;
    key.is_as(etag)?;
    if key.revoked_at.is_none() {
        end(write, key).await?;
    }
    Ok(())
}

/// Revokes all keys of a user but `except`. Returns how many there were.
pub(crate) async fn revoke_all(
    write: &mut Write,
    user: UserId,
    except: Option<KeyId>,
) -> Result<usize, Error> {
    let person = *write.origin.person().ok_or(Forbidden::NotYourself)?;
    if user != person.user && !matches!(person.role, Role::Owner | Role::Admin) {
        return Err(Forbidden::NotYourself.into());
    }
    if !store::users::exists(&mut write.tx, user).await? {
        return Err(Error::not_found("user", user));
    }
    let keys = store::keys::of_user(&mut write.tx, user).await?;
    let mut revoked = 0;
    for key in keys.into_iter().filter(|key| Some(key.id) != except) {
        end(write, key).await?;
        revoked += 1;
    }
    Ok(revoked)
}

/// Revokes a key that was not.
pub(crate) async fn end(write: &mut Write, mut key: Key) -> Result<(), Error> {
    let before = key.image();
    key.revoked_at = Some(write.now());
    store::keys::update(&mut write.tx, &key).await?;
    let record = Record::updated(Thing::key(key.id), before, key.image()).called("revoked");
    write.record(record.with(Change::PutKey(key.fact())));
    Ok(())
}

/// A key that this person may change. To the others a key of somebody else does not exist.
async fn one_of_mine(write: &mut Write, person: &Person, id: KeyId) -> Result<Key, Error> {
    let any = matches!(person.role, Role::Owner | Role::Admin);
    let found = store::keys::find(&mut write.tx, id).await?;
    found.filter(|key| any || key.user == person.user).ok_or_else(|| Error::not_found("key", id))
}

/// Keys are made for oneself; by owners and admins for others too, but an owner's key by owners only, for who holds
/// it is an owner.
async fn may_act_for(write: &mut Write, person: &Person, user: UserId) -> Result<(), Error> {
    if user == person.user {
        return Ok(());
    }
    if !matches!(person.role, Role::Owner | Role::Admin) {
        return Err(Forbidden::NotYourself.into());
    }
    let target = store::users::find(&mut write.tx, write.sealer.as_ref(), user).await?;
    let target = target.ok_or_else(|| Error::not_found("user", user))?;
    if target.role == Role::Owner && person.role != Role::Owner {
        return Err(Forbidden::OwnerRequired.into());
    }
    Ok(())
}

/// A narrowed key cannot make, widen or renew one for more.
async fn within_own_key(write: &mut Write, person: &Person, limits: &Limits) -> Result<(), Error> {
    let Some(id) = person.key else { return Ok(()) };
    let own = store::keys::find(&mut write.tx, id).await?;
    let within = own.is_some_and(|own| limits.within(&own.limits));
    if within { Ok(()) } else { Err(Forbidden::KeyNarrowed.into()) }
}

async fn models_exist(write: &mut Write, limits: &Limits) -> Result<(), Error> {
    let models = limits.models.as_deref().unwrap_or_default();
    match store::models::missing(&mut write.tx, models).await? {
        Some(missing) => Err(Error::not_found("model", missing)),
        None => Ok(()),
    }
}

/// The secret as it leaves, this once; none when nothing was made.
pub(crate) fn reveal(write: &Write, secret: &SecretString) -> String {
    if write.origin.validate_only { String::new() } else { secret.expose_secret().to_owned() }
}
