//! People and machine accounts: create, read, change. Who may do what to whom is decided here, by object.

use crate::{
    error::{Error, Forbidden},
    list::{Listed, Page},
    sessions, store,
    write::{Origin, Record, Thing, Write},
};
use policy::{Change, Role, Time, UserId};
use serde_json::{Value, json};
use shared::db::Db;
use uuid::Uuid;

/// A person or machine account.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) role: Role,
    pub(crate) disabled: bool,
    pub(crate) created_at: Time,
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
    pub(crate) display_name: Option<String>,
    pub(crate) role: Option<Role>,
    pub(crate) disabled: Option<bool>,
}

impl User {
    /// A user who does not exist yet.
    pub(crate) fn new(new: NewUser, now: Time) -> Self {
        let NewUser { email, display_name, role } = new;
        Self { id: UserId(Uuid::now_v7()), email, display_name, role, disabled: false, created_at: now }
    }

    /// What the policy knows of the user.
    pub(crate) const fn fact(&self) -> policy::User {
        policy::User { id: self.id, role: self.role, disabled: self.disabled }
    }

    /// The user as events show it: what can be erased is not in it.
    pub(crate) fn image(&self) -> Value {
        json!({ "role": self.role, "disabled": self.disabled })
    }

    fn is_active_owner(&self) -> bool {
        self.role == Role::Owner && !self.disabled
    }
}

pub(crate) async fn create(write: &mut Write, new: NewUser) -> Result<User, Error> {
    only_owners_touch(new.role, &write.origin)?;
    let user = User::new(new, write.now());
    store::users::insert(&mut write.tx, &user, None).await.map_err(taken)?;
    write.record(Record::created(Thing::user(user.id), user.image()).with(Change::PutUser(user.fact())));
    Ok(user)
}

pub(crate) async fn get(db: &Db, id: UserId) -> Result<User, Error> {
    store::users::get(db, id).await?.ok_or_else(|| Error::not_found("user", id))
}

pub(crate) async fn list(db: &Db, page: &Page) -> Result<Listed<User>, Error> {
    let rows = store::users::list(db, page.after_id()?, page.limit()).await?;
    Ok(page.cut(rows, |user| user.id.to_string()))
}

pub(crate) async fn update(write: &mut Write, patch: UserPatch) -> Result<User, Error> {
    let found = store::users::find(&mut write.tx, patch.id).await?;
    let before = found.ok_or_else(|| Error::not_found("user", patch.id))?;
    only_owners_touch(before.role, &write.origin)?;
    let after = before.clone().patched(patch);
    only_owners_touch(after.role, &write.origin)?;
    let lost = before.is_active_owner() && !after.is_active_owner();
    if lost && !store::users::another_owner(&mut write.tx, after.id).await? {
        return Err(Error::LastOwner);
    }
    if after.disabled && !before.disabled {
        sessions::end_all(write, after.id, None).await?;
    }
    if after.fact() != before.fact() || after.display_name != before.display_name {
        store::users::update(&mut write.tx, &after).await?;
        let record = Record::updated(Thing::user(after.id), before.image(), after.image());
        write.record(record.with(Change::PutUser(after.fact())));
    }
    Ok(after)
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

fn taken(error: store::StoreError) -> Error {
    if error.is_duplicate() {
        return Error::Exists { kind: "user", with: "with this e-mail address" };
    }
    error.into()
}
