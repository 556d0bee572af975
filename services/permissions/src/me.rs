//! Everything about the caller: from the policy what counts, from the tables what it is called.

use crate::{check, error::Error, store, tail::Tail, users::User};
use policy::{GroupId, Time};
use shared::{auth::Person, db::Db};

/// Most groups and most models that are named.
const MOST: usize = 1_000;

/// Who calls, with what, and what for.
#[derive(Debug)]
pub(crate) struct Me {
    pub(crate) user: User,
    pub(crate) person: Person,
    /// When the credential ends.
    pub(crate) expires_at: Option<Time>,
    pub(crate) groups: Vec<MyGroup>,
    pub(crate) more_groups: bool,
    pub(crate) models: Vec<String>,
    pub(crate) more_models: bool,
    pub(crate) token: String,
}

/// A group that counts for the caller.
#[derive(Debug)]
pub(crate) struct MyGroup {
    pub(crate) id: GroupId,
    pub(crate) name: String,
    /// A member itself, not only through another group.
    pub(crate) direct: bool,
}

pub(crate) async fn me(db: &Db, tail: &Tail, person: Person, now: Time) -> Result<Me, Error> {
    let seen = check::seen(tail, &person, MOST + 1, now)?;
    let user = store::users::get(db, person.user).await?;
    let user = user.ok_or_else(|| Error::not_found("user", person.user))?;
    let expires_at = match person.session {
        Some(session) => store::sessions::get(db, session).await?.map(|session| session.expires_at),
        None => seen.key_expires_at,
    };
    let direct = store::me::direct(db, person.user, now).await?;
    let (groups, more_groups) = cut(seen.groups);
    let named = store::me::names(db, &groups).await?;
    let groups = named.into_iter().map(|(id, name)| MyGroup { id, name, direct: direct.contains(&id) });
    let (models, more_models) = cut(seen.models);
    Ok(Me {
        user,
        person,
        expires_at,
        groups: groups.collect(),
        more_groups,
        models,
        more_models,
        token: seen.token,
    })
}

/// At most so many, and whether there were more.
fn cut<T>(mut rows: Vec<T>) -> (Vec<T>, bool) {
    let more = rows.len() > MOST;
    rows.truncate(MOST);
    (rows, more)
}
