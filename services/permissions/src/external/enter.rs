//! From somebody whom the rules let in to a user: find, link or make, and keep the groups in step.

use super::{Account, Entered, Identity, admit::Admitted, sync::Steps};
use crate::{
    error::{Error, Forbidden, SignInError},
    groups,
    provider::Rules,
    store::identities,
    users::{self, NewUser},
    write::{Actor, Origin, Record, Thing, Write, Writer},
};
use policy::{GroupId, Member, Membership, Role, Scopes, Time, UserId};
use serde_json::{Value, json};
use shared::{
    auth::{Caller, Person},
    db::Tx,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Lets somebody in. Only what differs from the last time is a write.
pub(super) async fn enter(
    writer: &Writer,
    admitted: Admitted,
    rules: &Rules,
    request_id: String,
    now: Time,
) -> Result<Entered, Error> {
    if let Some(known) = unchanged(writer, &admitted, rules, now).await? {
        identities::note_use(writer.db(), known.id, now).await?;
        return Ok(Entered {
            provider: known.provider,
            user: known.user,
            created: false,
            revision: String::new(),
        });
    }
    let origin = Origin {
        actor: Actor::System,
        request_id,
        reason: format!("signed in with {}", admitted.provider),
        now,
        repeat: None,
        validate_only: false,
    };
    let enter = async |write: &mut Write| {
        let (identity, user, created) = identify(write, &admitted, rules).await?;
        let wanted = wanted_groups(write, &admitted, rules).await?;
        let standing = identities::standing(&mut write.tx, user, now).await?;
        take(write, &identity, &standing.steps(identity.id, &wanted)).await?;
        Ok((user, created))
    };
    let ((user, created), token) = writer.make(origin, enter).await?;
    let revision = writer.tail().tokens().encode(token);
    Ok(Entered { provider: admitted.provider, user, created, revision })
}

/// The identity, when it is known and there is nothing to change.
async fn unchanged(
    writer: &Writer,
    admitted: &Admitted,
    rules: &Rules,
    now: Time,
) -> Result<Option<Identity>, Error> {
    let mut tx = writer.db().begin_read().await?;
    let found = identities::by_subject(&mut tx, &admitted.provider, &admitted.subject).await?;
    let Some(identity) = found else { return Ok(None) };
    enabled(&mut tx, identity.user).await?;
    let named = identities::groups_named(&mut tx, admitted.groups.iter()).await?;
    if rules.create_groups && named.len() < admitted.groups.len() {
        return Ok(None);
    }
    let standing = identities::standing(&mut tx, identity.user, now).await?;
    let steps = standing.steps(identity.id, &named.into_values().collect());
    Ok(steps.is_empty().then_some(identity))
}

/// Whose identity this is: known, linked to who has the same address, or made. From here on that user acts.
async fn identify(
    write: &mut Write,
    admitted: &Admitted,
    rules: &Rules,
) -> Result<(Identity, UserId, bool), Error> {
    let found = identities::by_subject(&mut write.tx, &admitted.provider, &admitted.subject).await?;
    if let Some(identity) = found {
        let account = enabled(&mut write.tx, identity.user).await?;
        act_as(write, account);
        let now = write.now();
        identities::used(&mut write.tx, identity.id, now).await?;
        return Ok((identity, account.user, false));
    }
    let email = admitted.email.as_ref().ok_or(SignInError::EmailNotVerified)?;
    let sealer = write.sealer.as_ref();
    let found = identities::account_by_email(&mut write.tx, sealer, &email.0).await?;
    let (account, created) = match found {
        Some(found) => (linkable(&mut write.tx, found.user, &admitted.provider).await?, false),
        None if rules.create_users => {
            let (email, display_name) = (email.0.clone(), admitted.display_name.clone());
            let new = NewUser { email, display_name, role: rules.default_role };
            let user = users::create(write, new).await?;
            (Account { user: user.id, role: user.role, disabled: false }, true)
        }
        None => return Err(SignInError::NoAccount.into()),
    };
    act_as(write, account);
    Ok((link(write, admitted, account.user).await?, account.user, created))
}

async fn link(write: &mut Write, admitted: &Admitted, user: UserId) -> Result<Identity, Error> {
    let identity = Identity {
        id: Uuid::now_v7(),
        provider: admitted.provider.clone(),
        subject: admitted.subject.clone(),
        user,
        created_at: write.now(),
        last_used_at: write.now(),
    };
    identities::insert(&mut write.tx, &identity).await?;
    write.record(Record::created(thing(&identity), identity.image()).called("linked"));
    Ok(identity)
}

/// Who signs in, does it.
fn act_as(write: &mut Write, account: Account) {
    let scopes = Scopes::ALL;
    let person = Person { user: account.user, key: None, session: None, role: account.role, scopes };
    write.origin.actor = Actor::Caller(Caller::Person(person));
}

fn thing(identity: &Identity) -> Thing {
    Thing::new("identity", identity.id)
}

impl Identity {
    /// The identity as events show it. What the provider calls the person is not in it: that can be erased.
    fn image(&self) -> Value {
        json!({ "provider": self.provider, "user": self.user })
    }
}

async fn enabled(tx: &mut Tx, user: UserId) -> Result<Account, Error> {
    let account = identities::account(tx, user).await?;
    Ok(account.filter(|account| !account.disabled).ok_or(SignInError::Disabled(user))?)
}

/// An account that has no identity of this provider yet. An address that the provider gave to somebody new does not
/// open the account of who had it before.
async fn linkable(tx: &mut Tx, user: UserId, provider: &str) -> Result<Account, Error> {
    let account = enabled(tx, user).await?;
    let linked = identities::of_user(tx, user).await?;
    if linked.iter().any(|identity| identity.provider == provider) {
        return Err(SignInError::LinkedToAnother(user).into());
    }
    Ok(account)
}

/// The groups that the provider names; those that are not there are made, or mean nothing.
async fn wanted_groups(
    write: &mut Write,
    admitted: &Admitted,
    rules: &Rules,
) -> Result<BTreeSet<GroupId>, Error> {
    let mut named = identities::groups_named(&mut write.tx, admitted.groups.iter()).await?;
    if rules.create_groups {
        for name in admitted.groups.iter().filter(|name| !named.contains_key(*name)).collect::<Vec<_>>() {
            let description = format!("Made by signing in with {}", admitted.provider);
            let group = groups::create(write, name.clone(), description).await?;
            named.insert(group.name, group.id);
        }
    }
    Ok(named.into_values().collect())
}

async fn take(write: &mut Write, identity: &Identity, steps: &Steps) -> Result<(), Error> {
    let member = Member::User(identity.user);
    for &group in &steps.join {
        let membership = Membership { group, member, expires_at: None };
        groups::add_members(write, membership.group, &[membership]).await?;
    }
    for &group in steps.join.iter().chain(&steps.note) {
        identities::note(&mut write.tx, identity.id, group, identity.user).await?;
    }
    for &group in &steps.forget {
        identities::drop_note(&mut write.tx, identity.id, group).await?;
    }
    for &group in &steps.leave {
        groups::remove_members(write, group, &[member]).await?;
    }
    Ok(())
}

/// Takes an identity from its user, with the memberships that are there because of it alone.
pub(crate) async fn unlink(write: &mut Write, id: Uuid) -> Result<(), Error> {
    let found = identities::find(&mut write.tx, id).await?;
    let not_found = || Error::not_found("identity", id);
    let identity = found.ok_or_else(not_found)?;
    let holder = identities::account(&mut write.tx, identity.user).await?.ok_or_else(not_found)?;
    may_unlink(&write.origin, holder, not_found)?;
    let now = write.now();
    let standing = identities::standing(&mut write.tx, identity.user, now).await?;
    take(write, &identity, &standing.steps(id, &BTreeSet::new())).await?;
    identities::delete(&mut write.tx, id).await?;
    write.record(Record::deleted(thing(&identity), identity.image()).called("unlinked"));
    Ok(())
}

/// Takes every identity from a user who is erased, and whose memberships go with everything else.
pub(crate) async fn unlink_all(write: &mut Write, user: UserId) -> Result<(), Error> {
    for identity in identities::of_user(&mut write.tx, user).await? {
        identities::delete(&mut write.tx, identity.id).await?;
        write.record(Record::deleted(thing(&identity), identity.image()).called("unlinked"));
    }
    Ok(())
}

fn may_unlink(origin: &Origin, holder: Account, not_found: impl Fn() -> Error) -> Result<(), Error> {
    let Some(person) = origin.person() else { return Err(not_found()) };
    if person.user == holder.user || person.role == Role::Owner {
        return Ok(());
    }
    match (person.role, holder.role) {
        (Role::Admin, Role::Owner) => Err(Forbidden::OwnerRequired.into()),
        (Role::Admin, _) => Ok(()),
        _ => Err(not_found()),
    }
}
