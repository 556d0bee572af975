//! The guard against doing the same thing twice: whoever names a lock is alone with it while their work is under way.
//!
//! A lock is one of the installation, whoever holds it, in Redis. Without Redis calls go on without it and say so; jobs
//! have the claim table, which lets one in at a time all the same.

use crate::error::{Error, Kept};
use opentelemetry::metrics::Counter;
use shared::{
    redis::locks::{Asked, Lock, Locks},
    telemetry::meter,
};
use std::sync::LazyLock;
use uuid::Uuid;

/// The header, or metadata, that names a lock, and that says in the answer what became of it.
pub const LOCK: &str = "x-tollgate-lock";
/// The field that names a lock.
pub const FIELD: &str = "tollgate_lock";
/// Longest name of a lock, in bytes.
const LONGEST: usize = 200;

static WITHOUT: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = meter();
    let without = meter.u64_counter("tollgate.locks.without").with_unit("{request}");
    without.with_description("Requests and jobs that named a lock when Redis could not give one").build()
});
static REFUSED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = meter();
    let refused = meter.u64_counter("tollgate.locks.refused").with_unit("{request}");
    refused.with_description("Requests and jobs whose lock was held").build()
});

/// The name of a lock: `resource/kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockName(String);

/// What a call has of the lock that it named.
#[derive(Debug)]
pub enum Guard {
    /// It named none.
    Unasked,
    /// It is alone until this is dropped.
    Held(Lock),
    /// It goes on without: Redis is away.
    Without,
}

impl LockName {
    /// A name as a caller gives it.
    ///
    /// # Errors
    /// When it is not of the form `resource/kind`.
    pub fn read(name: &str) -> Result<Self, Error> {
        let parts = name.rsplit_once('/').is_some_and(|(what, kind)| !what.is_empty() && !kind.is_empty());
        let clean = name.bytes().all(|byte| byte.is_ascii_graphic());
        if parts && clean && name.len() <= LONGEST {
            return Ok(Self(name.to_owned()));
        }
        let problem = "must be `resource/kind`: at most 200 ASCII characters without spaces";
        Err(Error::Invalid { param: LOCK, problem })
    }

    /// The same as bytes, when there are any.
    ///
    /// # Errors
    /// When it is not of the form `resource/kind`.
    pub fn read_optional(name: Option<&[u8]>) -> Result<Option<Self>, Error> {
        let name = name.filter(|name| !name.is_empty());
        name.map(|name| Self::read(std::str::from_utf8(name).unwrap_or_default())).transpose()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Guard {
    /// Asks for the lock that a call names.
    ///
    /// # Errors
    /// [`Kept::Locked`] when somebody else holds it.
    pub async fn of(locks: &Locks, name: Option<&LockName>) -> Result<Self, Error> {
        let Some(name) = name else { return Ok(Self::Unasked) };
        match locks.ask(name.as_str(), &token_of(Uuid::now_v7())).await {
            Asked::Held(lock) => Ok(Self::Held(lock)),
            Asked::Taken => Err(locked(Some(name.as_str()))),
            Asked::Unknown => {
                missed();
                Ok(Self::Without)
            }
        }
    }

    /// What the answer says of it; nothing when nothing was asked.
    #[must_use]
    pub const fn said(&self) -> Option<&'static str> {
        match self {
            Self::Unasked => None,
            Self::Held(_) => Some("held"),
            Self::Without => Some("unavailable"),
        }
    }
}

/// What a lock is given back by.
#[must_use]
pub fn token_of(id: Uuid) -> String {
    id.simple().to_string()
}

/// A lock is held by somebody else.
pub(crate) fn locked(name: Option<&str>) -> Error {
    REFUSED.add(1, &[]);
    Kept::Locked { lock: name.unwrap_or_default().to_owned() }.into()
}

/// A lock was named, and there is no Redis to give it.
pub(crate) fn missed() {
    WITHOUT.add(1, &[]);
}
