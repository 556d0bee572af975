//! Deleting so that it can be taken back: what a deletion took along comes back with it, until it is purged.

use crate::{
    error::Error,
    store::{self, deletion::Kind},
    write::{Actor, Origin, Record, Thing, Write, Writer},
};
use policy::{Change, GroupId, ModelId, ModelSetId, Time, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

/// Takes a deletion back in the tables and records it: the thing itself as `back`, then all that refers to it and is
/// not hidden by another deletion.
pub(crate) async fn restore(write: &mut Write, kind: Kind, id: Uuid, back: Record) -> Result<(), Error> {
    store::deletion::restore(&mut write.tx, kind, id).await?;
    write.record(back.called("undeleted"));
    for fact in store::facts::about(&mut write.tx, kind, id).await? {
        if let Some(record) = returned(fact) {
            write.record(record);
        }
    }
    Ok(())
}

fn returned(fact: Change) -> Option<Record> {
    let (thing, after): (Thing, Value) = match &fact {
        Change::PutMembership(membership) => (Thing::group(membership.group), json!(membership)),
        Change::PutModel(model) => (Thing::model(model.id), json!({ "model": model })),
        Change::PutAlias(alias) => (Thing::alias(&alias.name), json!(alias)),
        Change::PutSetItem { set, item } => (Thing::set(*set), json!({ "item": item })),
        Change::PutGrant(grant) => (Thing::grant(grant.id), json!({ "grant": grant })),
        Change::PutKey(key) => (Thing::key(key.id), json!({ "user": key.owner })),
        // Nothing else refers to a thing that can be deleted.
        _ => return None,
    };
    Some(Record::created(thing, after).called("restored").with(fact))
}

/// Forgets what was deleted before `until`: it cannot be taken back any more.
pub(crate) async fn purge(writer: &Writer, until: Time, now: Time) -> Result<(), Error> {
    for kind in Kind::ALL {
        for id in store::deletion::due(writer.db(), kind, until).await? {
            let origin = Origin::own(Actor::System, "deleted long ago", now);
            let forget = async |write: &mut Write| {
                store::deletion::purge(&mut write.tx, kind, id).await?;
                write.record(Record::deleted(thing(kind, id), Value::Null).called("purged"));
                Ok(())
            };
            // One that something else still refers to must not keep the others.
            if let Err(error) = writer.make(origin, forget).await {
                tracing::warn!(%error, ?kind, "something deleted could not be forgotten; it is tried again");
            }
        }
    }
    Ok(())
}

fn thing(kind: Kind, id: Uuid) -> Thing {
    match kind {
        Kind::User => Thing::user(UserId(id)),
        Kind::Group => Thing::group(GroupId(id)),
        Kind::Model => Thing::model(ModelId(id)),
        Kind::Set => Thing::set(ModelSetId(id)),
    }
}
