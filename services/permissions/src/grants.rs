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
#[derive(Debug)]
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
    store::grants::insert(&mut write.tx, &grant).await.map_err(taken)?;
    write.record(
        Record::created(Thing::grant(grant.fact.id), grant.image()).with(Change::PutGrant(grant.fact)),
    );
    Ok(grant)
}

pub(crate) async fn revoke(write: &mut Write, id: GrantId) -> Result<(), Error> {
    let found = store::grants::find(&mut write.tx, id).await?;
    let grant = found.ok_or_else(|| Error::not_found("grant", id))?;
    manage::may_manage(write, &[grant.fact.target]).await?;
    store::grants::delete(&mut write.tx, id).await?;
    let record = Record::deleted(Thing::grant(id), grant.image()).called("revoked");
    write.record(record.with(Change::RemoveGrant(id)));
    Ok(())
}

pub(crate) async fn list(db: &Db, filter: &Filter, page: &Page) -> Result<Listed<Grant>, Error> {
    let rows = store::grants::list(db, filter, page.after_id()?, page.limit()).await?;
    Ok(page.cut(rows, |grant| grant.fact.id.to_string()))
}

impl NewGrant {
    fn made(self, origin: &Origin) -> Grant {
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

fn taken(error: store::StoreError) -> Error {
    if error.is_duplicate() {
        let with = "of the same grantee, model or set, action and effect";
        return Error::Exists { kind: "grant", with };
    }
    error.into()
}
