//! Passwords: the rules of new ones, how they are kept, and changing them.
//!
//! Hashing is meant to cost memory and time, so few are hashed at once and the rest wait; and it costs the same for
//! somebody who does not exist.

use crate::{
    error::{Error, Forbidden},
    sessions::{self, Sessions},
    store,
    users::only_owners_touch,
    write::{Record, Thing, Write},
};
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use policy::{Time, UserId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use shared::security::{self, Kind};
use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Fewest and most characters of a password.
const LENGTH: std::ops::RangeInclusive<usize> = 12..=128;
/// Passwords hashed at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 4;
/// Longest wait for one's turn.
const TURN: Duration = Duration::from_secs(5);

/// Hashes passwords, a few at once.
#[derive(Debug, Clone)]
pub(crate) struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Passwords {
    /// The password as it is kept.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, Error> {
        self.run(move || hash(&password)).await?
    }

    /// Whether this is the password that was kept so. Where none was kept the answer is no, and takes as long.
    pub(crate) async fn verify(&self, password: SecretString, kept: Option<String>) -> Result<bool, Error> {
        self.run(move || {
            let hash = kept.as_deref().unwrap_or(&NOBODY);
            let right = Argon2::default().verify_password(password.expose_secret().as_bytes(), hash).is_ok();
            right && kept.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.0).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Error::SignInLimited { after: TURN }) };
        let work = move || {
            let result = work();
            drop(turn);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopping)
    }
}

/// The hash of a password that nobody has.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    let password: SecretString = hex(&rand::random::<[u8; 16]>()).into();
    hash(&password).unwrap_or_default()
});

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The password as it is kept: argon2id with the library's parameters and a salt of its own.
pub(crate) fn hash(password: &SecretString) -> Result<String, Error> {
    let hash = Argon2::default().hash_password(password.expose_secret().as_bytes()).map_err(Error::Hash)?;
    Ok(hash.to_string())
}

/// A new password keeps the rules: 12 to 128 characters, and not the e-mail address.
pub(crate) fn check(field: &'static str, password: &SecretString, email: &str) -> Result<(), Error> {
    let text = password.expose_secret();
    if !LENGTH.contains(&text.chars().count()) {
        return Err(Error::invalid(field, "must have 12 to 128 characters"));
    }
    if text.trim().eq_ignore_ascii_case(email) {
        return Err(Error::invalid(field, "must not be the e-mail address"));
    }
    Ok(())
}

/// A password that is to replace the caller's own, worked out before anything is locked.
#[derive(Debug)]
pub(crate) struct NewPassword {
    user: UserId,
    old_hash: Option<String>,
    hash: String,
}

impl Sessions {
    /// Holds the current password against the one kept, and the new one against the rules.
    pub(crate) async fn replacement(
        &self,
        user: UserId,
        (current, new): (SecretString, SecretString),
        peer: Option<IpAddr>,
        now: Time,
    ) -> Result<NewPassword, Error> {
        let account = store::passwords::of(self.writer.db(), user).await?;
        let account = account.ok_or_else(|| Error::not_found("user", user))?;
        check("new_password", &new, &account.email(self.writer.sealer())?)?;
        let attempt = self
            .attempts
            .begin(&user.to_string(), peer, now)
            .inspect_err(|_| security::report(Kind::SignInFailed, "SIGN_IN_LIMITED"))?;
        let right = self.passwords.verify(current, account.password_hash.clone()).await?;
        let old_hash = account.password_hash.filter(|_| right);
        if right {
            self.attempts.succeeded(attempt);
        } else {
            security::report(Kind::SignInFailed, "PASSWORD_WRONG");
        }
        Ok(NewPassword { user, old_hash, hash: self.passwords.hash(new).await? })
    }
}

/// Replaces the caller's own password and ends the caller's other sessions.
pub(crate) async fn change(write: &mut Write, new: NewPassword) -> Result<(), Error> {
    let old = new.old_hash.ok_or(Forbidden::PasswordWrong)?;
    // Somebody else may have changed it in the meantime; then the current one was not the current one.
    if !store::passwords::change(&mut write.tx, new.user, &old, &new.hash).await? {
        return Err(Forbidden::PasswordWrong.into());
    }
    let current = write.origin.person().and_then(|person| person.session);
    changed(write, new.user);
    sessions::end_all(write, new.user, current).await?;
    Ok(())
}

/// Gives another user a password and ends that user's sessions.
pub(crate) async fn set(
    write: &mut Write,
    user: UserId,
    password: &SecretString,
    hash: &str,
) -> Result<(), Error> {
    if write.origin.person().is_some_and(|person| person.user == user) {
        return Err(Error::invalid("user_id", "is the caller's own: change it with the current password"));
    }
    let target = store::users::find(&mut write.tx, write.sealer.as_ref(), user).await?;
    let target = target.ok_or_else(|| Error::not_found("user", user))?;
    only_owners_touch(target.role, &write.origin)?;
    check("new_password", password, &target.email)?;
    store::passwords::set(&mut write.tx, user, hash).await?;
    changed(write, user);
    sessions::end_all(write, user, None).await?;
    Ok(())
}

fn changed(write: &mut Write, user: UserId) {
    let record = Record::updated(Thing::user(user), json!({}), json!({}));
    write.record(record.called("password_changed"));
}
