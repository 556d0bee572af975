//! Engines that an operator takes out and puts back. What was said is kept in a file, so that it holds after a start.

use super::{Engine, Fleet, engine::Cordon};
use crate::error::Error;
use shared::event::Origin;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What operators said, by the engines' URLs.
#[derive(Debug)]
pub(super) struct Cordons {
    file: PathBuf,
    by_url: Mutex<BTreeMap<String, Cordon>>,
}

impl Cordons {
    /// What was said before.
    pub(super) fn open(file: &Path) -> Self {
        let read = fs::read(file).and_then(|text| Ok(serde_json::from_slice(&text)?));
        let by_url = read.unwrap_or_else(|error: io::Error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, file = %file.display(), "cordons of before could not be read");
            }
            BTreeMap::new()
        });
        Self { file: file.to_owned(), by_url: Mutex::new(by_url) }
    }

    pub(super) fn of(&self, url: &str) -> Option<Cordon> {
        self.by_url.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }

    /// Of engines that have left: one that comes to the same address later is another.
    pub(super) fn forget(&self, urls: &[String]) {
        let known = |url: &&String| self.of(url).is_some();
        for url in urls.iter().filter(known) {
            if let Err(error) = self.set(url, None) {
                tracing::warn!(%error, "a cordon could not be forgotten");
            }
        }
    }

    fn set(&self, url: &str, cordon: Option<Cordon>) -> io::Result<()> {
        let mut by_url = self.by_url.lock().unwrap_or_else(PoisonError::into_inner);
        match cordon {
            Some(cordon) => by_url.insert(url.to_owned(), cordon),
            None => by_url.remove(url),
        };
        let new = self.file.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(&*by_url)?)?;
        fs::rename(new, &self.file)
    }
}

/// How an engine is to be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// When it should be empty.
    pub limit: Duration,
    /// Whether its cloud takes it away.
    pub preempted: bool,
}

impl Fleet {
    /// Gives an engine nothing new from now on. With `drain` it is also to be empty after that time.
    ///
    /// # Errors
    /// [`Error::UnknownEngine`], or [`Error::NotKept`] when this would not outlast a start.
    pub async fn cordon(
        &self,
        name: &str,
        origin: &Origin,
        drain: Option<Drain>,
    ) -> Result<Arc<Engine>, Error> {
        let (at, actor, reason) = (origin.at.0, origin.actor.clone(), origin.reason.clone());
        let until = |limit: Duration| at.saturating_add(i64::try_from(limit.as_micros()).unwrap_or(i64::MAX));
        let drain_until = drain.map(|drain| until(drain.limit));
        let preempted = drain.is_some_and(|drain| drain.preempted);
        self.said(name, Some(Cordon { actor, reason, at, drain_until, preempted })).await
    }

    /// Lets an engine have new requests again.
    ///
    /// # Errors
    /// [`Error::UnknownEngine`], or [`Error::NotKept`] when this would not outlast a start.
    pub async fn uncordon(&self, name: &str) -> Result<Arc<Engine>, Error> {
        self.said(name, None).await
    }

    async fn said(&self, name: &str, cordon: Option<Cordon>) -> Result<Arc<Engine>, Error> {
        let engine = self.named(name).ok_or_else(|| Error::UnknownEngine { name: name.to_owned() })?;
        let (fleet, url, kept) = (self.clone(), engine.url.clone(), cordon.clone());
        let written = tokio::task::spawn_blocking(move || fleet.0.cordons.set(&url, kept)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "cordons could not be kept");
                return Err(Error::NotKept);
            }
            Err(_) => return Err(Error::Stopping),
        }
        engine.update(|state, _| state.cordon = cordon);
        Ok(engine)
    }
}
