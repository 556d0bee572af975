//! Sessions: opened by whoever signs in, carried on by refresh tokens that work once, ended for good.
//!
//! Opening and refreshing raise no revision. Ending does, because every service has to hear of it: an access token is
//! verified without asking anybody. What a refresh token is exchanged for is kept with its being spent in one
//! transaction; a lost answer costs a new sign-in, and a copied token costs its thief the session.

mod client;
mod end;

pub(crate) use client::Client;
pub(crate) use end::{end, end_all, end_of, sign_out};

use crate::{
    attempts::{self, Attempt, Attempts, Wait},
    config::Config,
    error::{Error, Forbidden},
    list::{Listed, Page},
    passwords::Passwords,
    signing::Signing,
    store::{self, sessions::Spent},
    write::{Actor, Origin, Write, Writer},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use policy::{Role, SessionId, Time, UserId};
use secrecy::{ExposeSecret, SecretString};
use shared::{
    auth::{
        Person, Refusal,
        secret::Digest,
        token::{AUDIENCE, Claims, ISSUER},
    },
    limits::Ticket,
    security::{self, Kind},
};
use std::{net::IpAddr, time::Duration};
use uuid::Uuid;

/// Longest life that an access token can be given. Ends of sessions are told to every service for so long.
pub(crate) const LONGEST_ACCESS: Duration = Duration::from_secs(60 * 60);
/// Prefix of refresh tokens, by which scanners find lost ones.
const PREFIX: &str = "tgr_";
/// How those who signed in with a password did.
const PASSWORD: &str = "password";

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) method: String,
    pub(crate) sealed_client: Vec<u8>,
    pub(crate) created_at: Time,
    pub(crate) refreshed_at: Time,
    pub(crate) expires_at: Time,
    pub(crate) ended_at: Option<Time>,
}

/// A session with the tokens that carry it from now on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) access: SecretString,
    pub(crate) access_expires_at: Time,
    pub(crate) refresh: SecretString,
}

/// What was wrong with a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// Nobody's.
    #[error("the refresh token is not valid; sign in again")]
    Unknown,
    /// Spent before: it was copied, or the answer to its first use was lost.
    #[error("the refresh token was used before, so its session has been ended; sign in again")]
    Reused,
    /// Its session is past its time.
    #[error("the session has expired; sign in again")]
    Expired,
}

/// Opens and refreshes sessions.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    pub(crate) writer: Writer,
    signing: Signing,
    pub(crate) passwords: Passwords,
    pub(crate) attempts: Attempts,
    access_lifetime: Duration,
    lifetime: Duration,
}

impl Sessions {
    pub(crate) fn new(writer: Writer, signing: Signing, config: &Config) -> Self {
        Self {
            writer,
            signing,
            passwords: Passwords::default(),
            attempts: Attempts::default(),
            access_lifetime: config.access_token_lifetime,
            lifetime: config.session_lifetime,
        }
    }

    /// Opens a session for whoever knows the password. Whatever is wrong, the answer is the same and takes as long.
    pub(crate) async fn sign_in(
        &self,
        email: &str,
        password: SecretString,
        client: Client,
        now: Time,
    ) -> Result<Opened, Error> {
        let ticket = Ticket::current();
        let attempt = self
            .limit(ticket.as_ref(), email, client.peer, now)
            .inspect_err(|_| security::report(Kind::SignInFailed, "SIGN_IN_LIMITED"))?;
        let account = store::passwords::by_email(self.writer.db(), self.writer.sealer(), email).await?;
        let kept = account.as_ref().and_then(|account| account.password_hash.clone());
        let right = self.passwords.verify(password, kept).await?;
        let account = account.filter(|account| right && !account.disabled).ok_or_else(|| {
            security::report(Kind::SignInFailed, "SIGN_IN_REFUSED");
            Error::SignInRefused
        })?;
        let opened = self.open(account.user(), PASSWORD, client, now).await?;
        self.attempts.succeeded(attempt);
        if let Some(ticket) = ticket {
            ticket.take_back();
        }
        Ok(opened)
    }

    /// Counts a try: against the limit that all processes share, and against what this one knows of those that failed.
    fn limit(
        &self,
        ticket: Option<&Ticket>,
        email: &str,
        peer: Option<IpAddr>,
        now: Time,
    ) -> Result<Attempt, Error> {
        let account = email.to_lowercase();
        if let Some(ticket) = ticket {
            ticket.also(LOGIN, attempts::subject(&account, peer))?;
        }
        Ok(self.attempts.begin(&account, peer, now)?)
    }

    /// Opens a session for a user who has proved to be so; `method` says how.
    pub(crate) async fn open(
        &self,
        user: UserId,
        method: &str,
        client: Client,
        now: Time,
    ) -> Result<Opened, Error> {
        let id = SessionId(Uuid::now_v7());
        let session = Session {
            id,
            user,
            method: method.to_owned(),
            sealed_client: client.seal(self.writer.sealer(), id),
            created_at: now,
            refreshed_at: now,
            expires_at: now.plus(self.lifetime),
            ended_at: None,
        };
        let (refresh, digest) = refresh_token();
        let opened = self.carried(session, refresh, now).await?;
        if !store::sessions::open(self.writer.db(), &opened.session, &digest).await? {
            return Err(Refusal::OwnerDisabled.into());
        }
        Ok(opened)
    }

    /// Exchanges a refresh token for the next pair. One that was spent before ends its session.
    pub(crate) async fn refresh(&self, token: &SecretString, now: Time) -> Result<Opened, Error> {
        let (next, next_digest) = refresh_token();
        let shown = Digest::of(token.expose_secret());
        let session = match store::sessions::refresh(self.writer.db(), &shown, &next_digest, now).await? {
            Spent::Refreshed(session) => session,
            Spent::Unknown => return Err(RefreshError::Unknown.into()),
            Spent::Over(id) => return Err(self.over(id).await?),
            Spent::Again(id) => {
                security::report(Kind::RefreshTokenReused, "REFRESH_TOKEN_REUSED");
                self.end_copied(id, now).await?;
                return Err(RefreshError::Reused.into());
            }
        };
        if self.writer.tail().replica().policy().user(session.user).is_none_or(|user| user.disabled) {
            return Err(Refusal::OwnerDisabled.into());
        }
        self.carried(session, next, now).await
    }

    async fn over(&self, id: SessionId) -> Result<Error, Error> {
        let ended = store::sessions::get(self.writer.db(), id).await?;
        let ended = ended.is_some_and(|session| session.ended_at.is_some());
        Ok(if ended { Refusal::SessionEnded.into() } else { RefreshError::Expired.into() })
    }

    async fn end_copied(&self, id: SessionId, now: Time) -> Result<(), Error> {
        let origin = Origin::own(Actor::System, "a refresh token was used twice", now);
        let end = async |write: &mut Write| end::at_once(write, id).await;
        self.writer.make(origin, end).await.map(drop)
    }

    /// A session and the tokens that carry it.
    async fn carried(&self, session: Session, refresh: SecretString, now: Time) -> Result<Opened, Error> {
        let signer = self.signing.signer(now).await?;
        let end = now.plus(self.access_lifetime).min(session.expires_at);
        let claims = self.claims(&session, now, end)?;
        let access = signer.sign(&claims).ok_or(Error::NoSigningKey)?;
        let access_expires_at = Time(claims.exp.saturating_mul(SECOND));
        Ok(Opened { session, access: access.into(), access_expires_at, refresh })
    }

    fn claims(&self, session: &Session, now: Time, end: Time) -> Result<Claims, Error> {
        let replica = self.writer.tail().replica();
        Ok(Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: session.user,
            sid: session.id,
            jti: Uuid::new_v4(),
            iat: now.0.div_euclid(SECOND),
            exp: end.0.div_euclid(SECOND),
            epoch: replica.epoch().ok_or(Error::Stale)?,
            rev: replica.revision(),
        })
    }

    /// The sessions of a user that go on, for whoever may see them.
    pub(crate) async fn list(
        &self,
        person: &Person,
        user: UserId,
        page: &Page,
        now: Time,
    ) -> Result<Listed<(Session, Client)>, Error> {
        let any = matches!(person.role, Role::Owner | Role::Admin | Role::Auditor);
        if user != person.user && !any {
            return Err(Forbidden::NotYourself.into());
        }
        let rows = store::sessions::list(self.writer.db(), user, page.after_id()?, page.limit(), now).await?;
        let rows = rows.into_iter().map(|session| {
            let client = Client::open(self.writer.sealer(), &session)?;
            Ok((session, client))
        });
        Ok(page.cut(rows.collect::<Result<_, Error>>()?, |(session, _)| session.id.to_string()))
    }
}

/// The action of signing in with a password.
const LOGIN: &str = "login_attempt";
const SECOND: i64 = 1_000_000;

impl From<Wait> for Error {
    fn from(wait: Wait) -> Self {
        Self::SignInLimited { after: wait.0 }
    }
}

/// A new refresh token, and the digest that is kept of it.
fn refresh_token() -> (SecretString, Digest) {
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let digest = Digest::of(&token);
    (token.into(), digest)
}
