//! Who is in a group, and in which groups somebody is.

use super::ways::{Edge, Way, Ways};
use crate::{
    error::Error,
    list::{Listed, Page},
    store,
    write::{Record, Thing, Write},
};
use policy::{Change, GroupId, Member, Membership, Time};
use serde_json::json;
use shared::{
    db::{Db, Tx},
    page::PageError,
};
use uuid::Uuid;

/// Adds members, or changes when they end. All are of one group.
pub(crate) async fn add_members(
    write: &mut Write,
    group: GroupId,
    memberships: &[Membership],
) -> Result<(), Error> {
    must_exist(&mut write.tx, Member::Group(group)).await?;
    let members: Vec<Member> = memberships.iter().map(|membership| membership.member).collect();
    must_all_exist(&mut write.tx, &members).await?;
    let mut circle = store::groups::above(&mut write.tx, group).await?;
    circle.push(group);
    if members.iter().any(|member| matches!(member, Member::Group(child) if circle.contains(child))) {
        return Err(Error::GroupCycle);
    }
    let known = store::groups::find_members(&mut write.tx, group, &members).await?;
    store::groups::put_members(&mut write.tx, memberships).await?;
    for membership in memberships {
        let before = known.iter().find(|known| known.member == membership.member);
        if before == Some(membership) {
            continue;
        }
        write.record(Record {
            thing: Thing::group(group),
            action: if before.is_some() { "member_updated" } else { "member_added" },
            before: before.map(|before| json!(before)),
            after: Some(json!(membership)),
            change: Some(Change::PutMembership(*membership)),
        });
    }
    Ok(())
}

pub(crate) async fn remove_members(
    write: &mut Write,
    group: GroupId,
    members: &[Member],
) -> Result<(), Error> {
    must_exist(&mut write.tx, Member::Group(group)).await?;
    let known = store::groups::find_members(&mut write.tx, group, members).await?;
    for member in members.iter().copied() {
        let found = known.iter().find(|known| known.member == member);
        let before = found.ok_or_else(|| Error::not_found("member", id(member)))?;
        let record = Record::deleted(Thing::group(group), json!(before)).called("member_removed");
        write.record(record.with(Change::RemoveMembership { group, member }));
    }
    store::groups::remove_members(&mut write.tx, group, members).await?;
    Ok(())
}

/// A page of the members of a group: groups before users. With `now` those at any depth that count then.
pub(crate) async fn members(
    db: &Db,
    group: GroupId,
    page: &Page,
    now: Option<Time>,
) -> Result<Listed<(Membership, Way)>, Error> {
    let after = place(page)?;
    let rows = match now {
        Some(now) => inside(db, group, after, page.limit(), now).await?,
        None => direct(store::groups::members(db, group, after, page.limit()).await?),
    };
    if rows.is_empty() {
        super::get(db, group).await?;
    }
    Ok(page.cut(rows, |(row, _)| match row.member {
        Member::User(id) => format!("user {id}"),
        Member::Group(id) => format!("group {id}"),
    }))
}

/// A page of the groups that somebody is in. With `now` those at any height that count then.
pub(crate) async fn memberships(
    db: &Db,
    member: Member,
    page: &Page,
    now: Option<Time>,
) -> Result<Listed<(Membership, Way)>, Error> {
    let after = page.after_id()?;
    let rows = match now {
        Some(now) => above(db, member, after, page.limit(), now).await?,
        None => direct(store::groups::memberships(db, member, after, page.limit()).await?),
    };
    if rows.is_empty() {
        must_be_there(db, member).await?;
    }
    Ok(page.cut(rows, |(row, _)| row.group.to_string()))
}

fn direct(rows: Vec<Membership>) -> Vec<(Membership, Way)> {
    rows.into_iter().map(|row| (row, Way { until: row.expires_at, between: Vec::new() })).collect()
}

async fn inside(
    db: &Db,
    group: GroupId,
    after: Option<Member>,
    limit: i64,
    now: Time,
) -> Result<Vec<(Membership, Way)>, Error> {
    let edges = store::groups::edges_below(db, group, now).await?;
    let ways = Ways::down(group.uuid(), &edges);
    let found = |member: Member, way: Way| (Membership { group, member, expires_at: way.until }, way);
    let limit_rows = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    let user_after = match after {
        Some(Member::User(user)) => user.uuid(),
        Some(Member::Group(_)) | None => {
            let last = after.map_or_else(Uuid::nil, id);
            let groups = ways.all().filter(|(id, _)| *id > last).take(limit_rows);
            rows.extend(groups.map(|(id, way)| found(Member::Group(GroupId(id)), way)));
            Uuid::nil()
        }
    };
    let left = limit - i64::try_from(rows.len()).unwrap_or(limit);
    if left > 0 {
        let mut groups: Vec<Uuid> = ways.all().map(|(id, _)| id).collect();
        groups.push(group.uuid());
        let edges = store::groups::users_inside(db, &groups, user_after, left, now).await?;
        for edges in edges.chunk_by(|one, other| one.member == other.member) {
            let best = edges.iter().filter_map(|edge| ways.through(edge)).reduce(Way::better);
            let user = edges.first().map(|edge| Member::User(edge.member.into()));
            rows.extend(user.zip(best).map(|(user, way)| found(user, way)));
        }
    }
    Ok(rows)
}

async fn above(
    db: &Db,
    member: Member,
    after: Uuid,
    limit: i64,
    now: Time,
) -> Result<Vec<(Membership, Way)>, Error> {
    let edges: Vec<Edge> = store::groups::edges_above(db, member, now).await?;
    let ways = Ways::up(id(member), &edges);
    let groups = ways.all().filter(|(id, _)| *id > after).take(usize::try_from(limit).unwrap_or(usize::MAX));
    let rows =
        groups.map(|(group, way)| (Membership { group: GroupId(group), member, expires_at: way.until }, way));
    Ok(rows.collect())
}

/// The member after which a page starts.
pub(crate) fn place(page: &Page) -> Result<Option<Member>, Error> {
    let Some((kind, id)) = page.after().split_once(' ') else { return Ok(None) };
    let id = Uuid::try_parse(id).map_err(|_| Error::page(PageError::Token))?;
    Ok(Some(if kind == "user" { Member::User(id.into()) } else { Member::Group(id.into()) }))
}

/// Finds the user or group, or answers that it is not there.
pub(crate) async fn must_exist(tx: &mut Tx, member: Member) -> Result<(), Error> {
    must_all_exist(tx, &[member]).await
}

async fn must_all_exist(tx: &mut Tx, members: &[Member]) -> Result<(), Error> {
    let ids = |user: bool| {
        let some = members.iter().filter(move |member| matches!(member, Member::User(_)) == user);
        some.map(|member| id(*member)).collect::<Vec<_>>()
    };
    let (users, groups) = (ids(true), ids(false));
    let found = store::known("users", tx, &users).await?;
    if let Some(missing) = users.iter().find(|id| !found.contains(id)) {
        return Err(Error::not_found("user", missing));
    }
    let found = store::known("groups", tx, &groups).await?;
    match groups.iter().find(|id| !found.contains(id)) {
        Some(missing) => Err(Error::not_found("group", missing)),
        None => Ok(()),
    }
}

async fn must_be_there(db: &Db, member: Member) -> Result<(), Error> {
    match member {
        Member::User(id) if store::users::is_there(db, id).await? => Ok(()),
        Member::User(id) => Err(Error::not_found("user", id)),
        Member::Group(id) => super::get(db, id).await.map(drop),
    }
}

fn id(member: Member) -> Uuid {
    match member {
        Member::User(id) => id.uuid(),
        Member::Group(id) => id.uuid(),
    }
}
