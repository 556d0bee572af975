//! Signing in with a provider outside: begin, complete, and who that is here.
//!
//! Somebody seen for the first time is linked to the account with the same verified address, or gets one. Then the
//! groups that the provider names are held against the memberships it made before: new ones are added, withdrawn ones
//! taken away, and those made by hand are left alone. When nothing differs, nothing is written but the time.

mod admit;
mod enter;
mod sync;

pub(crate) use enter::{unlink, unlink_all};

use crate::{
    attempts::Attempts,
    error::{Error, SignInError},
    provider::{self, ExternalIdentity, Proof, Provider, ProviderError, Providers},
    store::identities as store,
    write::Writer,
};
use admit::Admitted;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use policy::{GroupId, Role, Time, UserId};
use secrecy::{ExposeSecret, SecretString};
use shared::{auth, db::Db, security, status::IntoStatus};
use std::{collections::BTreeSet, net::IpAddr, time::Duration};
use uuid::Uuid;

/// How long a person may take at the provider.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// A sign-in under way.
#[derive(Debug)]
pub(crate) struct SignIn {
    pub(crate) provider: String,
    pub(crate) sealed_proof: Vec<u8>,
    pub(crate) redirect_uri: String,
    pub(crate) expires_at: Time,
}

/// What whoever begins a sign-in is told.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) url: String,
    pub(crate) token: SecretString,
    pub(crate) expires_at: Time,
}

/// What a browser came back with, and what stayed with whoever began.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) token: SecretString,
    pub(crate) state: SecretString,
    pub(crate) code: SecretString,
    pub(crate) issuer: String,
    pub(crate) error: String,
}

/// Somebody has signed in.
#[derive(Debug)]
pub(crate) struct Entered {
    /// Whoever said who it is.
    pub(crate) provider: String,
    pub(crate) user: UserId,
    pub(crate) created: bool,
    pub(crate) revision: String,
}

/// By what a provider knows a user.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) id: Uuid,
    pub(crate) provider: String,
    pub(crate) subject: String,
    pub(crate) user: UserId,
    pub(crate) created_at: Time,
    pub(crate) last_used_at: Time,
}

/// What a sign-in needs to know of a user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) user: UserId,
    pub(crate) role: Role,
    pub(crate) disabled: bool,
}

/// In which groups a user is, and which identities put him there.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) groups: BTreeSet<GroupId>,
    pub(crate) made: BTreeSet<(Uuid, GroupId)>,
}

/// Where people come in who sign in with a provider.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrance<'a> {
    pub(crate) writer: &'a Writer,
    pub(crate) providers: &'a Providers,
    pub(crate) attempts: &'a Attempts,
    /// Where from.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) now: Time,
}

impl Entrance<'_> {
    /// Begins a sign-in.
    pub(crate) async fn start(&self, provider: &str, redirect_uri: String) -> Result<Started, Error> {
        let found = self.providers.find(provider);
        let provider = found.ok_or_else(|| Error::not_found("identity_provider", provider))?;
        if !provider.allows(&redirect_uri) {
            let problem = "must be one of the provider's redirect_uris in the configuration, to the letter";
            return Err(Error::invalid("redirect_uri", problem));
        }
        let limited = self.attempts.set_out(provider.id(), self.peer, self.now).map_err(Error::from);
        let begun = match limited {
            Ok(()) => self.begin(provider, redirect_uri).await,
            Err(limited) => Err(limited),
        };
        begun.inspect_err(|error| note(Some(provider), error))
    }

    async fn begin(&self, provider: &Provider, redirect_uri: String) -> Result<Started, Error> {
        let Self { writer, now, .. } = *self;
        let (state, token, proof) = (provider::secret(), provider::secret(), Proof::random());
        let url = provider.start(&redirect_uri, state.expose_secret(), &proof, now).await?;
        let (expires_at, state) = (now.plus(PATIENCE), digest(&state));
        let sealed_proof = writer.sealer().seal(&place(&state), proof.to_text().expose_secret().as_bytes());
        let sign_in = SignIn { provider: provider.id().to_owned(), sealed_proof, redirect_uri, expires_at };
        store::forget(writer.db(), now).await?;
        store::begin(writer.db(), &sign_in, &state, &digest(&token)).await?;
        Ok(Started { url, token, expires_at })
    }

    /// Completes a sign-in: asks the provider who came back, and finds or makes the user.
    pub(crate) async fn complete(&self, returned: Returned, request_id: String) -> Result<Entered, Error> {
        let state = digest(&returned.state);
        let taken = store::take(self.writer.db(), &state, &digest(&returned.token), self.now).await?;
        let begun = taken.and_then(|sign_in| Some((self.providers.find(&sign_in.provider)?, sign_in)));
        let Some((provider, sign_in)) = begun else {
            let error = SignInError::Unknown.into();
            note(None, &error);
            return Err(error);
        };
        let proof = self.writer.sealer().open_text(&place(&state), &sign_in.sealed_proof)?;
        let entered = self.enter(provider, &sign_in, proof.into(), &returned, request_id).await;
        let entered = entered.inspect_err(|error| note(Some(provider), error))?;
        self.attempts.arrived(provider.id(), self.peer);
        Ok(entered)
    }

    async fn enter(
        &self,
        provider: &Provider,
        sign_in: &SignIn,
        proof: SecretString,
        returned: &Returned,
        request_id: String,
    ) -> Result<Entered, Error> {
        let proof = Proof::from_text(&proof).ok_or(SignInError::Unknown)?;
        let person = ask(provider, sign_in, &proof, returned, self.now).await?;
        let admitted = Admitted::new(person, provider.rules())?;
        enter::enter(self.writer, admitted, provider.rules(), request_id, self.now).await
    }
}

/// Reports that somebody was not signed in. What the provider said of the person is not kept.
fn note(provider: Option<&Provider>, error: &Error) {
    let user = match error {
        Error::SignIn(refused) => refused.user(),
        Error::SignInLimited { .. } => None,
        _ => return,
    };
    let reason = error.fault().reason;
    let detail =
        provider.map_or_else(|| reason.to_owned(), |provider| format!("{reason} at {}", provider.id()));
    security::report_sign_in(user, detail);
}

async fn ask(
    provider: &Provider,
    sign_in: &SignIn,
    proof: &Proof,
    returned: &Returned,
    now: Time,
) -> Result<ExternalIdentity, ProviderError> {
    if !returned.error.is_empty() {
        return Err(provider::refusal(&returned.error));
    }
    provider.complete(&returned.code, &returned.issuer, &sign_in.redirect_uri, proof, now).await
}

/// The identities of a user, with the groups that each of them made.
pub(crate) async fn list(db: &Db, user: UserId, now: Time) -> Result<Vec<(Identity, Vec<GroupId>)>, Error> {
    let mut tx = db.begin_read().await?;
    let identities = store::of_user(&mut tx, user).await?;
    if identities.is_empty() && store::account(&mut tx, user).await?.is_none() {
        return Err(Error::not_found("user", user));
    }
    let standing = store::standing(&mut tx, user, now).await?;
    Ok(identities
        .into_iter()
        .map(|identity| {
            let made = standing.made_by(identity.id);
            (identity, made.into_iter().collect())
        })
        .collect())
}

/// Where the proof of a sign-in belongs; sealed for another one it does not open.
fn place(state: &[u8; 32]) -> String {
    format!("sign_ins.proof {}", URL_SAFE_NO_PAD.encode(state))
}

fn digest(secret: &SecretString) -> [u8; 32] {
    *auth::hash(secret.expose_secret()).as_bytes()
}
