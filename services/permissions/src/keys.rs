//! API keys. The secret leaves once, in the answer that creates it; what stays is its hash.

use crate::{
    check,
    error::{Error, Forbidden},
    list::{Listed, Page},
    store,
    tail::Tail,
    write::{Record, Thing, Write},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use policy::{Change, KeyHash, KeyId, ModelId, Role, Time, UserId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use shared::{
    auth::{self, Person},
    db::Db,
};
use std::time::Duration;
use uuid::Uuid;

/// Prefix of API keys, by which scanners find lost ones.
const PREFIX: &str = "tgk_";
/// Characters of a secret that are shown later, to recognise it by.
const HINT: usize = 8;

/// A key without its secret.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) hash: KeyHash,
    pub(crate) hint: String,
    pub(crate) models: Option<Vec<ModelId>>,
    pub(crate) expires_at: Option<Time>,
    pub(crate) revoked_at: Option<Time>,
    pub(crate) created_at: Time,
}

/// What a new key is made of.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) models: Option<Vec<ModelId>>,
    pub(crate) expires_at: Option<Time>,
}

impl Key {
    /// A key that does not exist yet, and its secret.
    pub(crate) fn new(new: NewKey, now: Time) -> (Self, SecretString) {
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let key = Self {
            id: KeyId(Uuid::now_v7()),
            user: new.user,
            name: new.name,
            hash: auth::hash(&secret),
            hint: secret.chars().take(HINT).collect(),
            models: new.models,
            expires_at: new.expires_at,
            revoked_at: None,
            created_at: now,
        };
        (key, secret.into())
    }

    /// The key as events show it: nothing that opens anything.
    pub(crate) fn image(&self) -> Value {
        json!({
            "user": self.user,
            "name": self.name,
            "models": self.models,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
        })
    }

    /// What the policy knows of the key.
    pub(crate) fn fact(&self) -> policy::Key {
        policy::Key {
            id: self.id,
            hash: self.hash,
            owner: self.user,
            models: self.models.clone(),
            expires_at: self.expires_at,
            disabled: self.revoked_at.is_some(),
            scopes: policy::Scopes::ALL,
            networks: Vec::new(),
            previous: Vec::new(),
        }
    }
}

/// Creates a key that ends after `lifetime` unless it says otherwise. Returns it and its secret.
pub(crate) async fn create(
    write: &mut Write,
    new: NewKey,
    lifetime: Duration,
) -> Result<(Key, SecretString), Error> {
    let person = *write.origin.person().ok_or(Forbidden::NotYourself)?;
    not_beyond_own_key(write.policy()?, &person, new.models.as_deref())?;
    may_act_for(write, &person, new.user).await?;
    let models = new.models.as_deref().unwrap_or_default();
    if let Some(missing) = store::models::missing(&mut write.tx, models).await? {
        return Err(Error::not_found("model", missing));
    }
    let expires_at = new.expires_at.unwrap_or_else(|| write.origin.now.plus(lifetime));
    let (key, secret) = Key::new(NewKey { expires_at: Some(expires_at), ..new }, write.origin.now);
    store::keys::insert(&mut write.tx, &key).await?;
    write.record(Record::created(Thing::key(key.id), key.image()).with(Change::PutKey(key.fact())));
    Ok((key, secret))
}

pub(crate) async fn list(db: &Db, person: &Person, user: UserId, page: &Page) -> Result<Listed<Key>, Error> {
    let any = matches!(person.role, Role::Owner | Role::Admin | Role::Auditor);
    if user != person.user && !any {
        return Err(Forbidden::NotYourself.into());
    }
    let rows = store::keys::list(db, user, page.after_id()?, page.limit()).await?;
    Ok(page.cut(rows, |key| key.id.to_string()))
}

pub(crate) async fn revoke(write: &mut Write, id: KeyId) -> Result<(), Error> {
    let person = *write.origin.person().ok_or(Forbidden::NotYourself)?;
    let found = store::keys::find(&mut write.tx, id).await?;
    let any = matches!(person.role, Role::Owner | Role::Admin);
    // To the others a key of somebody else does not exist.
    let mut key =
        found.filter(|key| any || key.user == person.user).ok_or_else(|| Error::not_found("key", id))?;
    if key.revoked_at.is_none() {
        let before = key.image();
        key.revoked_at = Some(write.now());
        store::keys::revoke(&mut write.tx, id, write.origin.now).await?;
        let record = Record::updated(Thing::key(id), before, key.image()).called("revoked");
        write.record(record.with(Change::PutKey(key.fact())));
    }
    Ok(())
}

/// Keys are made for oneself; by owners and admins for others too, but an owner's key by owners only, for who holds
/// it is an owner.
async fn may_act_for(write: &mut Write, person: &Person, user: UserId) -> Result<(), Error> {
    if user == person.user {
        return Ok(());
    }
    if !matches!(person.role, Role::Owner | Role::Admin) {
        return Err(Forbidden::NotYourself.into());
    }
    let target = store::users::find(&mut write.tx, user).await?;
    let target = target.ok_or_else(|| Error::not_found("user", user))?;
    if target.role == Role::Owner && person.role != Role::Owner {
        return Err(Forbidden::OwnerRequired.into());
    }
    Ok(())
}

/// A key for some models cannot make one for more.
fn not_beyond_own_key(tail: &Tail, person: &Person, models: Option<&[ModelId]>) -> Result<(), Forbidden> {
    let replica = tail.replica();
    let Some(only) = check::key_models(replica.policy(), person) else { return Ok(()) };
    let within = models.is_some_and(|models| models.iter().all(|model| only.contains(model)));
    if within { Ok(()) } else { Err(Forbidden::KeyNarrowed) }
}

/// The secret as it leaves, this once.
pub(crate) fn reveal(secret: &SecretString) -> String {
    secret.expose_secret().to_owned()
}
