//! The first run: a store without any user gets an owner and an API key, told to whoever started it, once.

use crate::{
    error::Error,
    keys::{Key, NewKey},
    passwords, store,
    users::{NewUser, User},
    write::{Actor, Origin, Record, Thing, Write},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use policy::{Change, Role, Time, UserId};
use secrecy::SecretString;
use shared::{api_key, db::Db};

/// E-mail address of the first owner.
const EMAIL: &str = "owner@localhost";

/// What the first run made. The secrets are in no store.
#[derive(Debug)]
pub struct FirstRun {
    /// The owner.
    pub user_id: UserId,
    /// What the owner signs in as.
    pub owner_email: String,
    /// What the owner signs in with.
    pub owner_password: SecretString,
    /// A key of the owner, for every model and without an end.
    pub api_key: SecretString,
}

/// Makes an owner and an API key when there is no user at all; else does nothing and returns `None`.
///
/// # Errors
/// When the store fails. Nothing is made then.
pub async fn bootstrap(db: &Db, now: Time) -> Result<Option<FirstRun>, Error> {
    let mut write = Write::begin(db, Origin::own(Actor::FirstRun, "first run", now)).await?;
    if store::users::any(&mut write.tx).await? {
        return Ok(None);
    }
    let owner_password: SecretString = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>()).into();
    let (display_name, role) = ("Owner".to_owned(), Role::Owner);
    let user = User::new(NewUser { email: EMAIL.to_owned(), display_name, role }, now);
    let (mut key, secret) = Key::new(NewKey::of(user.id, "First run".to_owned()), now);
    key.id = api_key::of_first_run(user.id);
    // Clear until the service starts, which encrypts it: this address is nobody's.
    store::users::insert(&mut write.tx, None, &user, Some(&passwords::hash(&owner_password)?)).await?;
    store::keys::insert(&mut write.tx, &key).await?;
    write.record(Record::created(Thing::user(user.id), user.image()).with(Change::PutUser(user.fact())));
    write.record(Record::created(Thing::key(key.id), key.image()).with(Change::PutKey(key.fact())));
    write.commit().await?;
    Ok(Some(FirstRun { user_id: user.id, owner_email: user.email, owner_password, api_key: secret }))
}
