//! Many users at once, as rows of a table. A row is done wholly or not at all; the others do not mind.
//!
//! Everything is looked up and decided first, so that what is written needs no savepoints and few statements.

use super::{NewUser, User, only_owners_touch};
use crate::{
    error::Error,
    imports::{self, Kind, Progress, Taken},
    store,
    write::{Record, Thing, Write},
};
use policy::{Change, GroupId, Member, Membership};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// One user to create.
#[derive(Debug)]
pub(crate) struct NewRow {
    pub(crate) user: NewUser,
    /// Names of groups.
    pub(crate) groups: Vec<String>,
}

/// Takes one part of an import in, in the transaction that keeps its progress. What was taken in before is passed over;
/// rows may be refused already.
pub(crate) async fn import(
    write: &mut Write,
    id: Uuid,
    offset: u64,
    rows: Vec<Result<NewRow, Error>>,
    before: Option<Progress>,
) -> Result<Progress, Error> {
    let progress = imports::stand(write, Kind::Users, id, before).await?;
    let left: Vec<_> = rows.into_iter().skip(progress.over(offset)?).collect();
    let taken = if left.is_empty() { Vec::new() } else { take(write, left).await? };
    progress.advance(write, taken).await
}

async fn take(
    write: &mut Write,
    rows: Vec<Result<NewRow, Error>>,
) -> Result<Vec<Result<Taken, Error>>, Error> {
    let good: Vec<&NewRow> = rows.iter().flatten().collect();
    let names: Vec<&str> = good.iter().flat_map(|row| &row.groups).map(String::as_str).collect();
    let groups = store::groups::by_names(&mut write.tx, &names).await?;
    let emails: Vec<&str> = good.iter().map(|row| row.user.email.as_str()).collect();
    let mut there = store::users::by_emails(&mut write.tx, write.sealer.as_ref(), &emails).await?.into_iter();
    let (mut users, mut memberships, mut new) = (Vec::new(), Vec::new(), HashSet::new());
    let mut results = Vec::with_capacity(rows.len());
    for row in rows {
        results.push(row.and_then(|row| {
            let there = there.next().flatten().is_some();
            if there || new.contains(&row.user.email.to_lowercase()) {
                return Ok(Taken::Existing);
            }
            only_owners_touch(row.user.role, &write.origin)?;
            let groups = found(&groups, &row.groups)?;
            let user = User::new(row.user, write.now());
            new.insert(user.email.to_lowercase());
            let member = Member::User(user.id);
            memberships.extend(groups.into_iter().map(|group| Membership {
                group,
                member,
                expires_at: None,
            }));
            users.push(user);
            Ok(Taken::Created)
        }));
    }
    keep(write, &users, &memberships).await?;
    Ok(results)
}

fn found(known: &HashMap<String, GroupId>, names: &[String]) -> Result<Vec<GroupId>, Error> {
    let mut groups = Vec::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        let missing = || Error::invalid(format!("groups[{place}]"), "is the name of no group");
        let group = known.get(name).ok_or_else(missing)?;
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
