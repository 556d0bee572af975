//! Many users at once, as rows of a table. A row is done wholly or not at all; the others do not mind.
//!
//! Everything is looked up and decided first, so that what is written needs no savepoints and few statements.

use super::{NewUser, User, only_owners_touch};
use crate::{
    error::Error,
    store,
    write::{Record, Thing, Write},
};
use policy::{Change, GroupId, Member, Membership, UserId};
use serde_json::json;
use std::collections::HashMap;

/// One user to create.
#[derive(Debug)]
pub(crate) struct NewRow {
    pub(crate) user: NewUser,
    /// Names of groups.
    pub(crate) groups: Vec<String>,
}

/// What became of a row.
#[derive(Debug)]
pub(crate) enum Imported {
    Created(UserId),
    /// The e-mail address is there already; nothing of its user was changed.
    Existing(UserId),
    Failed(Error),
}

/// Imports rows, of which some may be refused already.
pub(crate) async fn import(
    write: &mut Write,
    rows: Vec<Result<NewRow, Error>>,
) -> Result<Vec<Imported>, Error> {
    let good: Vec<&NewRow> = rows.iter().flatten().collect();
    let names: Vec<&str> = good.iter().flat_map(|row| &row.groups).map(String::as_str).collect();
    let groups = store::groups::by_names(&mut write.tx, &names).await?;
    let emails: Vec<&str> = good.iter().map(|row| row.user.email.as_str()).collect();
    let mut there = store::users::by_emails(&mut write.tx, write.sealer.as_ref(), &emails).await?.into_iter();
    let (mut users, mut memberships, mut new) = (Vec::new(), Vec::new(), HashMap::new());
    let mut results = Vec::with_capacity(rows.len());
    for row in rows {
        let decided = row.and_then(|row| {
            let there = there.next().flatten();
            let there = there.or_else(|| new.get(&row.user.email.to_lowercase()).copied());
            if let Some(user) = there {
                return Ok(Imported::Existing(user));
            }
            only_owners_touch(row.user.role, &write.origin)?;
            let groups = found(&groups, &row.groups)?;
            let user = User::new(row.user, write.now());
            new.insert(user.email.to_lowercase(), user.id);
            let id = user.id;
            memberships.extend(groups.into_iter().map(|group| Membership {
                group,
                member: Member::User(id),
                expires_at: None,
            }));
            users.push(user);
            Ok(Imported::Created(id))
        });
        results.push(decided.unwrap_or_else(Imported::Failed));
    }
    keep(write, &users, &memberships).await?;
    Ok(results)
}

fn found(known: &HashMap<String, GroupId>, names: &[String]) -> Result<Vec<GroupId>, Error> {
    let mut groups = Vec::with_capacity(names.len());
    for name in names {
        let group = known.get(name).ok_or_else(|| Error::not_found("group", name))?;
        if !groups.contains(group) {
            groups.push(*group);
        }
    }
    Ok(groups)
}

async fn keep(write: &mut Write, users: &[User], memberships: &[Membership]) -> Result<(), Error> {
    store::users::insert_all(&mut write.tx, write.sealer.as_ref(), users).await?;
    store::groups::put_members(&mut write.tx, memberships).await?;
    for user in users {
        let record = Record::created(Thing::user(user.id), user.image()).called("imported");
        write.record(record.with(Change::PutUser(user.fact())));
    }
    for membership in memberships {
        let record =
            Record::created(Thing::group(membership.group), json!(membership)).called("member_added");
        write.record(record.with(Change::PutMembership(*membership)));
    }
    Ok(())
}
