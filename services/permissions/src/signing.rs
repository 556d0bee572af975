//! The keys that sign access tokens: made here, published through the policy, rotated while nobody notices.
//!
//! A key is published some minutes before it signs, so that every service can verify what it signs from the first
//! token on; when the next one takes over, its signatures count until the last token it signed has run out. Several
//! processes on one store agree, because what is made is decided while the head is locked.

use crate::{
    config::Config,
    error::Error,
    sessions::LONGEST_ACCESS,
    store,
    write::{Actor, Origin, Record, Thing, Write, Writer},
};
use policy::{Change, Time};
use serde_json::{Value, json};
use shared::{auth::token::TokenSigner, seal::Sealer, server::Tasks, time};
use std::time::Duration;
use uuid::Uuid;

/// How long after its last token a key's signatures count: the longest life of a token, and clocks that differ.
const OVERLAP: Duration = LONGEST_ACCESS.saturating_add(Duration::from_secs(5 * 60));
/// Between two looks at what is due.
const EVERY: Duration = Duration::from_secs(60);
/// Longest wait for a look at the log when the service starts.
const PATIENCE: Duration = Duration::from_secs(10);

/// One key, its private half encrypted.
#[derive(Debug, Clone)]
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pub(crate) public: [u8; 32],
    pub(crate) sealed_seed: Vec<u8>,
    pub(crate) active_at: Time,
    pub(crate) retired_at: Option<Time>,
    pub(crate) until: Option<Time>,
}

impl SigningKey {
    /// A key that does not exist yet.
    fn new(sealer: &Sealer, active_at: Time) -> Result<Self, Error> {
        let (kid, seed) = (Uuid::now_v7().simple().to_string(), rand::random::<[u8; 32]>());
        let sealed_seed = sealer.seal(&place(&kid), &seed);
        let signer = TokenSigner::new(kid.clone(), &seed).ok_or(Error::NoSigningKey)?;
        Ok(Self { kid, public: signer.public(), sealed_seed, active_at, retired_at: None, until: None })
    }

    fn open(self, sealer: &Sealer) -> Result<TokenSigner, Error> {
        let seed = sealer.open(&place(&self.kid), &self.sealed_seed)?;
        TokenSigner::new(self.kid, &seed).ok_or(Error::NoSigningKey)
    }

    fn signs_at(&self, now: Time) -> bool {
        self.active_at <= now && self.retired_at.is_none_or(|retired| now < retired)
    }

    fn retire(&mut self, at: Time, until: Time) {
        self.retired_at = Some(self.retired_at.map_or(at, |before| before.min(at)));
        self.until = Some(self.until.map_or(until, |before| before.min(until)));
    }

    fn thing(&self) -> Thing {
        Thing { kind: "signing_key", id: self.kid.clone() }
    }

    /// The key as events show it: nothing that signs.
    fn image(&self) -> Value {
        json!({ "active_at": self.active_at, "retired_at": self.retired_at, "until": self.until })
    }

    fn fact(&self) -> policy::SigningKey {
        policy::SigningKey { id: self.kid.clone(), public: self.public, until: self.until }
    }
}

/// Where the sealed half of a key belongs.
pub(crate) fn place(kid: &str) -> String {
    format!("signing_keys.seed {kid}")
}

/// Makes, keeps and uses the keys.
#[derive(Debug, Clone)]
pub(crate) struct Signing {
    writer: Writer,
    times: Times,
}

/// How long a key signs, and how long before that it is published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    lifetime: Duration,
    lead: Duration,
}

impl Times {
    /// Whether the next key is to be published.
    fn due(self, keys: &[SigningKey], now: Time) -> bool {
        let last = keys.iter().filter(|key| key.retired_at.is_none()).map(|key| key.active_at).max();
        last.is_none_or(|active| now >= active.plus(self.lifetime.saturating_sub(self.lead)))
    }
}

impl Signing {
    pub(crate) fn new(writer: Writer, config: &Config) -> Self {
        let times = Times { lifetime: config.signing_key_lifetime, lead: config.signing_key_lead };
        Self { writer, times }
    }

    /// Makes the first key where there is none, and from then on does what is due.
    pub(crate) async fn start(&self, tasks: &Tasks) -> Result<(), Error> {
        self.tend(time::now()).await?;
        // Another process may have made it since ours read the log; what it signs must be known before we answer.
        self.writer.tail().current(PATIENCE).await?;
        let signing = self.clone();
        tasks.repeat(EVERY.min(self.times.lead), move || {
            let signing = signing.clone();
            async move {
                if let Err(error) = signing.tend(time::now()).await {
                    tracing::warn!(%error, "the signing keys could not be tended; it is tried again");
                }
            }
        });
        Ok(())
    }

    /// Makes the next key when it is due, and forgets those whose signatures count no more.
    pub(crate) async fn tend(&self, now: Time) -> Result<(), Error> {
        let keys = store::signing::all(self.writer.db()).await?;
        if !self.times.due(&keys, now) && !keys.iter().any(|key| is_over(key, now)) {
            return Ok(());
        }
        let origin = Origin::own(Actor::System, "signing keys are rotated", now);
        let tend = async |write: &mut Write| {
            let keys = store::signing::all_in(&mut write.tx).await?;
            for key in keys.iter().filter(|key| is_over(key, now)) {
                store::signing::delete(&mut write.tx, &key.kid).await?;
                let record = Record::deleted(key.thing(), key.image());
                write.record(record.with(Change::RemoveSigningKey(key.kid.clone())));
            }
            // Another process may have been first.
            if self.times.due(&keys, now) {
                self.rotate(write, false).await?;
            }
            Ok(())
        };
        self.writer.make(origin, tend).await.map(drop)
    }

    /// Makes the next key. When the ones before are compromised it signs at once, and theirs count for nothing.
    pub(crate) async fn rotate(&self, write: &mut Write, compromised: bool) -> Result<SigningKey, Error> {
        let now = write.now();
        let keys = store::signing::all_in(&mut write.tx).await?;
        let at_once = compromised || !keys.iter().any(|key| key.signs_at(now));
        let active_at = if at_once { now } else { now.plus(self.times.lead) };
        let until = if compromised { now } else { active_at.plus(OVERLAP) };
        for mut key in keys.into_iter().filter(|key| compromised || key.retired_at.is_none()) {
            let before = key.image();
            key.retire(active_at, until);
            store::signing::put(&mut write.tx, &key, now).await?;
            let record = Record::updated(key.thing(), before, key.image()).called("retired");
            write.record(record.with(Change::PutSigningKey(key.fact())));
        }
        let key = SigningKey::new(self.writer.sealer(), active_at)?;
        store::signing::put(&mut write.tx, &key, now).await?;
        write.record(Record::created(key.thing(), key.image()).with(Change::PutSigningKey(key.fact())));
        Ok(key)
    }

    /// What signs at `now`.
    pub(crate) async fn signer(&self, now: Time) -> Result<TokenSigner, Error> {
        let keys = store::signing::all(self.writer.db()).await?;
        let current = keys.iter().rev().find(|key| key.signs_at(now));
        // The clock of whoever made the first key may be ahead of ours.
        let next = || keys.iter().find(|key| key.retired_at.is_none());
        let key = current.or_else(next).ok_or(Error::NoSigningKey)?;
        key.clone().open(self.writer.sealer())
    }
}

fn is_over(key: &SigningKey, now: Time) -> bool {
    key.until.is_some_and(|until| until <= now)
}

#[cfg(test)]
mod tests;
