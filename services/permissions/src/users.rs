//! People and machine accounts: create, read, change. Who may do what to whom is decided here, by object.

mod import;

use crate::{
    deletion,
    error::{Error, Forbidden},
    etag,
    list::{Listed, Page},
    sessions,
    store::{self, deletion::Kind},
    write::{Origin, Record, Thing, Write},
};
pub(crate) use import::{NewRow, import};
use policy::{Change, Role, Time, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use shared::{db::Db, seal::Sealer};
use uuid::Uuid;

/// A person or machine account.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) role: Role,
    pub(crate) disabled: bool,
    pub(crate) created_at: Time,
    pub(crate) deleted_at: Option<Time>,
}

/// What a new user is made of.
#[derive(Debug)]
pub(crate) struct NewUser {
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) role: Role,
}

/// What to change; `None` stays as it is.
#[derive(Debug)]
pub(crate) struct UserPatch {
    pub(crate) id: UserId,
    pub(crate) etag: String,
    pub(crate) display_name: Option<String>,
    pub(crate) role: Option<Role>,
    pub(crate) disabled: Option<bool>,
}

/// Which users to list.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// Only who has this e-mail address, in any case.
    pub(crate) email: Option<String>,
    /// Deleted ones too.
    pub(crate) deleted: bool,
}

impl User {
    /// A user who does not exist yet.
    pub(crate) fn new(new: NewUser, now: Time) -> Self {
        let NewUser { email, display_name, role } = new;
        let id = UserId(Uuid::now_v7());
        Self { id, email, display_name, role, disabled: false, created_at: now, deleted_at: None }
    }

    /// What the policy knows of the user.
    pub(crate) const fn fact(&self) -> policy::User {
        policy::User { id: self.id, role: self.role, disabled: self.disabled }
    }

    /// The user as events show it: what can be erased is not in it.
    pub(crate) fn image(&self) -> Value {
        json!({ "role": self.role, "disabled": self.disabled })
    }

    pub(crate) fn etag(&self) -> String {
        etag::of(self)
    }

    fn is_active_owner(&self) -> bool {
        self.role == Role::Owner && !self.disabled
    }
}

pub(crate) async fn create(write: &mut Write, new: NewUser) -> Result<User, Error> {
    only_owners_touch(new.role, &write.origin)?;
    let user = User::new(new, write.now());
    if store::users::has_email(&mut write.tx, write.sealer.as_ref(), &user.email).await? {
        return Err(taken());
    }
    store::users::insert(&mut write.tx, write.sealer.as_ref(), &user, None).await?;
    write.record(Record::created(Thing::user(user.id), user.image()).with(Change::PutUser(user.fact())));
    Ok(user)
}

pub(crate) async fn get(db: &Db, sealer: &Sealer, id: UserId) -> Result<User, Error> {
    store::users::get(db, Some(sealer), id).await?.ok_or_else(|| Error::not_found("user", id))
}

pub(crate) async fn list(
    db: &Db,
    sealer: &Sealer,
    filter: &Filter,
    page: &Page,
) -> Result<Listed<User>, Error> {
    let rows = store::users::list(db, Some(sealer), filter, page.after_id()?, page.limit()).await?;
    Ok(page.cut(rows, |user| user.id.to_string()))
}

/// The user, whom the caller may change and knows as it is.
async fn known(write: &mut Write, id: UserId, sent: &str) -> Result<User, Error> {
    let found = store::users::find(&mut write.tx, write.sealer.as_ref(), id).await?;
    // Who was erased stays as that.
    let user = found.filter(|user| !user.email.is_empty()).ok_or_else(|| Error::not_found("user", id))?;
    only_owners_touch(user.role, &write.origin)?;
    etag::matches(sent, &user.etag())?;
    Ok(user)
}

/// Somebody else must be left who may do everything.
async fn not_the_last_owner(write: &mut Write, user: &User) -> Result<(), Error> {
    if user.is_active_owner() && !store::users::another_owner(&mut write.tx, user.id).await? {
        return Err(Error::LastOwner);
    }
    Ok(())
}

pub(crate) async fn update(write: &mut Write, patch: UserPatch) -> Result<User, Error> {
    let before = known(write, patch.id, &patch.etag).await?;
    let after = before.clone().patched(patch);
    only_owners_touch(after.role, &write.origin)?;
    if !after.is_active_owner() {
        not_the_last_owner(write, &before).await?;
    }
    if after.disabled && !before.disabled {
        sessions::end_all(write, after.id, None).await?;
    }
    if after != before {
        store::users::update(&mut write.tx, write.sealer.as_ref(), &after).await?;
        let record = Record::updated(Thing::user(after.id), before.image(), after.image());
        write.record(record.with(Change::PutUser(after.fact())));
    }
    Ok(after)
}

pub(crate) async fn delete(write: &mut Write, id: UserId, etag: &str) -> Result<(), Error> {
    let user = known(write, id, etag).await?;
    not_the_last_owner(write, &user).await?;
    let now = write.now();
    store::deletion::delete(&mut write.tx, Kind::User, id.uuid(), now).await?;
    store::users::release_email(&mut write.tx, id).await?;
    sessions::end_all(write, id, None).await?;
    write.record(Record::deleted(Thing::user(id), user.image()).with(Change::RemoveUser(id)));
    Ok(())
}

pub(crate) async fn undelete(write: &mut Write, id: UserId) -> Result<User, Error> {
    let found = store::users::find_deleted(&mut write.tx, write.sealer.as_ref(), id).await?;
    // Who was erased stays as that.
    let deleted = found.filter(|user| !user.email.is_empty()).ok_or_else(|| Error::not_found("user", id))?;
    only_owners_touch(deleted.role, &write.origin)?;
    let user = User { deleted_at: None, ..deleted };
    if store::users::has_email(&mut write.tx, write.sealer.as_ref(), &user.email).await? {
        return Err(taken());
    }
    store::users::reclaim_email(&mut write.tx, write.sealer.as_ref(), &user).await?;
    let back = Record::created(Thing::user(id), user.image()).with(Change::PutUser(user.fact()));
    deletion::restore(write, Kind::User, id.uuid(), back).await?;
    Ok(user)
}

impl User {
    fn patched(self, patch: UserPatch) -> Self {
        Self {
            display_name: patch.display_name.unwrap_or(self.display_name),
            role: patch.role.unwrap_or(self.role),
            disabled: patch.disabled.unwrap_or(self.disabled),
            ..self
        }
    }
}

/// An admin may do anything to anybody but owners: not make one, not change one.
pub(crate) fn only_owners_touch(role: Role, origin: &Origin) -> Result<(), Forbidden> {
    let owner = origin.person().is_some_and(|person| person.role == Role::Owner);
    if role == Role::Owner && !owner { Err(Forbidden::OwnerRequired) } else { Ok(()) }
}

fn taken() -> Error {
    Error::Exists { kind: "user", with: "with this e-mail address" }
}
