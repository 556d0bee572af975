//! Ending sessions: in the table, and in the policy of every service.

use super::{LONGEST_ACCESS, RefreshError, Session};
use crate::{
    error::{Error, Forbidden},
    store,
    users::only_owners_touch,
    write::{Actor, Origin, Record, Thing, Write, Writer},
};
use policy::{Change, Role, SessionId, Time, UserId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use shared::auth::{Caller, Person, Refusal, secret::Digest};
use std::time::Duration;

/// Beyond the longest life of a token: clocks differ.
const MARGIN: Duration = Duration::from_secs(60);

/// Ends the caller's own session, or any for owners and admins, but an owner's for owners only.
pub(crate) async fn end(write: &mut Write, id: SessionId) -> Result<(), Error> {
    let person = *write.origin.person().ok_or(Forbidden::NotYourself)?;
    let found = store::sessions::find(&mut write.tx, id).await?;
    let any = matches!(person.role, Role::Owner | Role::Admin);
    // To the others a session of somebody else does not exist.
    let session = found.filter(|session| any || session.user == person.user);
    let session = session.ok_or_else(|| Error::not_found("session", id))?;
    may_end_of(write, &person, session.user).await?;
    at_once(write, id).await
}

/// Ends all sessions of a user that go on, when the caller may. Returns how many there were.
pub(crate) async fn end_of(write: &mut Write, user: UserId, keep_current: bool) -> Result<usize, Error> {
    let person = *write.origin.person().ok_or(Forbidden::NotYourself)?;
    may_end_of(write, &person, user).await?;
    end_all(write, user, person.session.filter(|_| keep_current)).await
}

async fn may_end_of(write: &mut Write, person: &Person, user: UserId) -> Result<(), Error> {
    if user == person.user {
        return Ok(());
    }
    if !matches!(person.role, Role::Owner | Role::Admin) {
        return Err(Forbidden::NotYourself.into());
    }
    let target = store::users::find(&mut write.tx, user).await?;
    let target = target.ok_or_else(|| Error::not_found("user", user))?;
    Ok(only_owners_touch(target.role, &write.origin)?)
}

/// Ends a session, whoever asks. One that has ended stays as it is.
pub(super) async fn at_once(write: &mut Write, id: SessionId) -> Result<(), Error> {
    let (now, until) = times(write);
    if let Some(session) = store::sessions::end(&mut write.tx, id, now, until).await? {
        record(write, &session, until);
    }
    Ok(())
}

/// Ends all sessions of a user but for one, whoever asks. Returns how many went on.
pub(crate) async fn end_all(write: &mut Write, user: UserId, but: Option<SessionId>) -> Result<usize, Error> {
    let (now, until) = times(write);
    let ended = store::sessions::end_all(&mut write.tx, user, but, now, until).await?;
    ended.iter().for_each(|session| record(write, session, until));
    Ok(ended.len())
}

/// When it ends, and from when on none of its tokens would be valid anyway.
fn times(write: &Write) -> (Time, Time) {
    (write.now(), write.now().plus(LONGEST_ACCESS.saturating_add(MARGIN)))
}

fn record(write: &mut Write, session: &Session, until: Time) {
    let thing = Thing::new("session", session.id.uuid());
    let image = |ended: Option<Time>| json!({ "user": session.user, "method": session.method, "created_at": session.created_at, "ended_at": ended });
    let change = Change::EndSession { session: session.id, at: write.now(), until };
    let record = Record::updated(thing, image(None), image(Some(write.now())));
    write.record(record.called("ended").with(change));
}

/// Ends the session that a caller is in, or the one of a refresh token.
pub(crate) async fn sign_out(
    writer: &Writer,
    caller: Option<Caller>,
    token: Option<SecretString>,
    request_id: String,
    now: Time,
) -> Result<(), Error> {
    let person = match token {
        Some(token) => holder(writer, &token).await?,
        None => {
            let person = caller.as_ref().and_then(Caller::person).filter(|person| person.session.is_some());
            *person.ok_or(Refusal::Missing)?
        }
    };
    let Some(session) = person.session else { return Err(Refusal::Missing.into()) };
    let actor = Actor::Caller(Caller::Person(person));
    let origin = Origin { request_id, ..Origin::own(actor, "signed out", now) };
    writer.make(origin, async |write: &mut Write| at_once(write, session).await).await.map(drop)
}

/// Who is in the session of a refresh token.
async fn holder(writer: &Writer, token: &SecretString) -> Result<Person, Error> {
    let found = store::sessions::of_token(writer.db(), &Digest::of(token.expose_secret())).await?;
    let id = found.ok_or(RefreshError::Unknown)?;
    let session = store::sessions::get(writer.db(), id).await?.ok_or(RefreshError::Unknown)?;
    let user = writer.tail().replica().policy().user(session.user).copied();
    let user = user.ok_or(Refusal::OwnerDisabled)?;
    let scopes = policy::Scopes::ALL;
    Ok(Person { user: user.id, key: None, session: Some(id), role: user.role, scopes })
}
