//! Grants: who may, or may not, do what with a model or with every model of a set.

use crate::{
    error::Error,
    groups::must_exist,
    list::{Listed, Page},
    manage, store,
    write::{Origin, Record, Thing, Write},
};
use policy::{
    Action, Change, Effect, GrantId, Grantee, GroupId, Member, ModelId, ModelSetId, Target, Time, UserId,
};
use serde_json::{Value, json};
use shared::db::Db;
use uuid::Uuid;

/// One grant, and who made it when.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) fact: policy::Grant,
    pub(crate) granted_by: Option<UserId>,
    pub(crate) created_at: Time,
}

/// What a new grant is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewGrant {
    pub(crate) target: Target,
    pub(crate) grantee: Grantee,
    pub(crate) action: Action,
    pub(crate) effect: Effect,
    pub(crate) starts_at: Option<Time>,
    pub(crate) expires_at: Option<Time>,
}

impl Grant {
    /// The grant as events show it.
    pub(crate) fn image(&self) -> Value {
        json!({ "grant": self.fact, "granted_by": self.granted_by })
    }

    /// That it was made.
    pub(crate) fn created(&self) -> Record {
        Record::created(Thing::grant(self.fact.id), self.image()).with(Change::PutGrant(self.fact))
    }

    /// That it was revoked.
    pub(crate) fn revoked(&self) -> Record {
        let record = Record::deleted(Thing::grant(self.fact.id), self.image()).called("revoked");
        record.with(Change::RemoveGrant(self.fact.id))
    }

    /// Whether it is in force now and as long as the other will be.
    fn covers(&self, other: &Self, now: Time) -> bool {
        let begun = self.fact.starts_at.is_none_or(|start| start <= now);
        let lasts =
            self.fact.expires_at.is_none_or(|end| other.fact.expires_at.is_some_and(|asked| asked <= end));
        begun && lasts
    }
}

/// Which grants to list; `None` is no condition.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) model: Option<ModelId>,
    pub(crate) set: Option<ModelSetId>,
    pub(crate) user: Option<UserId>,
    pub(crate) group: Option<GroupId>,
}

impl Filter {
    /// The conditions on the grantee.
    pub(crate) fn grantees(&self) -> impl Iterator<Item = Member> {
        self.user.map(Member::User).into_iter().chain(self.group.map(Member::Group))
    }
}

pub(crate) async fn create(write: &mut Write, new: NewGrant) -> Result<Grant, Error> {
    manage::may_manage(write, &[new.target]).await?;
    match new.grantee {
        Grantee::User(id) => must_exist(&mut write.tx, Member::User(id)).await?,
        Grantee::Group(id) => must_exist(&mut write.tx, Member::Group(id)).await?,
        Grantee::Everyone => {}
    }
    let grant = new.made(&write.origin);
    insert(write, grant).await
}

/// Makes a grant that was decided elsewhere. One of the same kind stays when it lasts as long, else it makes room.
pub(crate) async fn give(
    write: &mut Write,
    new: NewGrant,
    granted_by: Option<UserId>,
) -> Result<Grant, Error> {
    let grant = Grant { granted_by, ..new.made(&write.origin) };
    if let Some(same) = store::grants::same(&mut write.tx, &grant.fact).await? {
        if same.covers(&grant, write.now()) {
            return Ok(same);
        }
        take(write, same.fact.id).await?;
    }
    insert(write, grant).await
}

/// Takes back a grant that was decided elsewhere, if it is still there.
pub(crate) async fn take(write: &mut Write, id: GrantId) -> Result<(), Error> {
    if let Some(grant) = store::grants::find(&mut write.tx, id).await? {
        store::grants::delete(&mut write.tx, id).await?;
        write.record(grant.revoked());
    }
    Ok(())
}

/// Takes back every grant to a user, who is erased.
pub(crate) async fn revoke_all(write: &mut Write, user: UserId) -> Result<(), Error> {
    let filter = Filter { user: Some(user), ..Filter::default() };
    let all = store::grants::list_in(&mut write.tx, &filter, Uuid::nil(), i64::MAX).await?;
    store::grants::delete_all(&mut write.tx, &all.iter().map(|grant| grant.fact.id).collect()).await?;
    all.iter().for_each(|grant| write.record(grant.revoked()));
    Ok(())
}

pub(crate) async fn revoke(write: &mut Write, id: GrantId) -> Result<(), Error> {
    let found = store::grants::find(&mut write.tx, id).await?;
    let grant = found.ok_or_else(|| Error::not_found("grant", id))?;
    manage::may_manage(write, &[grant.fact.target]).await?;
    store::grants::delete(&mut write.tx, id).await?;
    write.record(grant.revoked());
    Ok(())
}

pub(crate) async fn list(db: &Db, filter: &Filter, page: &Page) -> Result<Listed<Grant>, Error> {
    let rows = store::grants::list(db, filter, page.after_id()?, page.limit()).await?;
    Ok(page.cut(rows, |grant| grant.fact.id.to_string()))
}

impl NewGrant {
    pub(crate) fn made(self, origin: &Origin) -> Grant {
        let fact = policy::Grant {
            id: GrantId(Uuid::now_v7()),
            grantee: self.grantee,
            target: self.target,
            action: self.action,
            effect: self.effect,
            starts_at: self.starts_at,
            expires_at: self.expires_at,
        };
        Grant { fact, granted_by: origin.person().map(|person| person.user), created_at: origin.now }
    }
}

async fn insert(write: &mut Write, grant: Grant) -> Result<Grant, Error> {
    if !store::grants::insert(&mut write.tx, &grant).await? {
        return Err(Error::grant_exists());
    }
    write.record(grant.created());
    Ok(grant)
}
