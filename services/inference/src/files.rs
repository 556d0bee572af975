//! Files: what batches read and write. They are kept in the database, so that every gateway has them.
//!
//! What is uploaded is looked at as it comes ([`check`]): its size, its lines, whether it is text. A file that does not
//! become whole is dropped.

mod check;
pub mod lines;

use crate::{
    config,
    error::{Error, Kept, Thing},
    store::{self, Store},
};
use check::Check;
use policy::UserId;
use shared::{seal::rows::Vault, time};
use std::{sync::Arc, time::Duration};
pub(crate) use store::files::{File, Filter};
use uuid::Uuid;

/// The purpose of what is uploaded.
pub const BATCH: &str = "batch";
/// The purpose of what batches write.
pub const BATCH_OUTPUT: &str = "batch_output";
/// Bytes of a piece in the table.
const PIECE: usize = 1024 * 1024;
/// How long a file may be under way.
const UNDER_WAY: Duration = Duration::from_secs(60 * 60);
/// How long its owner may have a file kept.
const KEEP: (u64, u64) = (60 * 60, 30 * 24 * 60 * 60);

/// The files of an installation.
#[derive(Debug, Clone)]
pub struct Files {
    store: Store,
    settings: Arc<config::Files>,
    /// Bytes of a line, and lines.
    limits: (usize, u32),
}

/// A file that is being written.
#[derive(Debug)]
pub struct Upload {
    vault: Vault,
    file: File,
    keep: Duration,
    /// Most bytes that it may have.
    limit: u64,
    /// Most bytes that its owner's files may have, when it is theirs.
    room: Option<(u64, u64)>,
    check: Option<Check>,
    pieces: u32,
    piece: Vec<u8>,
}

/// The id of a file as callers write it.
#[must_use]
pub fn name(id: Uuid) -> String {
    format!("file-{}", id.simple())
}

/// An id as callers write it.
///
/// # Errors
/// When there can be no such file.
pub fn id(name: &str) -> Result<Uuid, Error> {
    let id = name.strip_prefix("file-").unwrap_or_default().parse();
    Ok(id.map_err(|_| Kept::missing(Thing::File, name))?)
}

/// How long a file is kept, as its owner says it, in seconds.
///
/// # Errors
/// When that is shorter or longer than may be.
pub fn keep(seconds: u64) -> Result<Duration, Error> {
    if !(KEEP.0..=KEEP.1).contains(&seconds) {
        let problem = "must be from 3600 to 2592000 seconds";
        return Err(Error::Invalid { param: "expires_after", problem });
    }
    Ok(Duration::from_secs(seconds))
}

impl Files {
    /// Files of a store.
    #[must_use]
    pub fn new(store: Store, config: &config::Config) -> Self {
        let limits = (config.max_body_bytes, config.batches.max_lines);
        Self { store, settings: Arc::new(config.files.clone()), limits }
    }

    /// Begins to take a file in.
    ///
    /// # Errors
    /// When its name cannot be kept, its owner's files are too many, or the store is away.
    pub async fn upload(&self, owner: UserId, name: String) -> Result<Upload, Error> {
        let vault = self.store.vault()?;
        let used = store::files::used(vault, owner.uuid()).await?;
        let check = Check::new(self.limits.0, self.limits.1);
        let (limit, room) = (self.settings.max_bytes, Some((used, self.settings.max_bytes_per_user)));
        let owner = owner.uuid();
        Upload::begin(vault, (owner, BATCH), clean(name)?, self.settings.keep_for, limit, room, Some(check))
            .await
    }

    /// One of somebody's.
    ///
    /// # Errors
    /// When there is none, or the store is away.
    pub(crate) async fn get(&self, id: Uuid, owner: UserId) -> Result<File, Error> {
        let found = store::files::get(self.store.vault()?, id, owner.uuid(), time::now()).await?;
        Ok(found.ok_or_else(|| Kept::missing(Thing::File, name(id)))?)
    }

    /// Somebody's.
    ///
    /// # Errors
    /// When the store is away.
    pub(crate) async fn page(
        &self,
        owner: UserId,
        filter: Filter<'_>,
        limit: u32,
    ) -> Result<Vec<File>, Error> {
        store::files::page(self.store.vault()?, owner.uuid(), filter, limit, time::now()).await
    }

    /// Deletes one of somebody's.
    ///
    /// # Errors
    /// When there is none, or the store is away.
    pub async fn delete(&self, id: Uuid, owner: UserId) -> Result<(), Error> {
        store::files::delete(self.store.vault()?, id, owner.uuid()).await
    }

    /// A piece of a file that was found, counted from 0; nothing after the last one.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn piece(&self, file: Uuid, number: u32) -> Result<Option<Vec<u8>>, Error> {
        store::files::read(self.store.vault()?, file, number).await
    }
}

impl Upload {
    async fn begin(
        vault: &Vault,
        (owner, purpose): (Uuid, &str),
        name: String,
        keep: Duration,
        limit: u64,
        room: Option<(u64, u64)>,
        check: Option<Check>,
    ) -> Result<Self, Error> {
        let now = time::now();
        let (id, purpose) = (Uuid::now_v7(), purpose.to_owned());
        let file = File { id, owner, purpose, name, bytes: 0, created: now, expires: now.plus(keep) };
        store::files::begin(vault, &file, now.plus(UNDER_WAY)).await?;
        Ok(Self { vault: vault.clone(), file, keep, limit, room, check, pieces: 0, piece: Vec::new() })
    }

    /// Begins a file that a batch writes.
    pub(crate) async fn output(
        vault: &Vault,
        owner: Uuid,
        name: String,
        keep: Duration,
    ) -> Result<Self, Error> {
        Self::begin(vault, (owner, BATCH_OUTPUT), name, keep, u64::MAX, None, None).await
    }

    /// Keeps it for so long.
    pub const fn keep_for(&mut self, keep: Duration) {
        self.keep = keep;
    }

    /// Takes more of it in.
    ///
    /// # Errors
    /// When it is too large or not what it should be; it is of no use then.
    pub async fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.file.bytes += bytes.len() as u64;
        if self.file.bytes > self.limit {
            return Err(Kept::LargeFile { limit: self.limit }.into());
        }
        if let Some((_, limit)) = self.room.filter(|(used, limit)| used + self.file.bytes > *limit) {
            return Err(Kept::NoRoom { limit }.into());
        }
        if let Some(check) = &mut self.check {
            check.feed(bytes)?;
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        store::files::piece(&self.vault, self.file.id, self.pieces, &self.piece).await?;
        self.pieces += 1;
        self.piece.clear();
        Ok(())
    }

    /// All of it is there. It is to be made ready together with what it belongs to.
    pub(crate) async fn written(mut self) -> Result<File, Error> {
        if !self.piece.is_empty() {
            self.flush().await?;
        }
        self.file.expires = time::now().plus(self.keep);
        Ok(self.file)
    }

    /// All of it is there.
    ///
    /// # Errors
    /// When it is not what it should be.
    pub(crate) async fn end(mut self) -> Result<File, Error> {
        if let Some(check) = self.check.take() {
            check.end()?;
        }
        let vault = self.vault.clone();
        let file = self.written().await?;
        let mut tx = vault.begin().await?;
        store::files::ready(&mut tx, &file).await?;
        tx.commit().await?;
        Ok(file)
    }
}

/// A name without its folders, of characters that can be shown.
fn clean(name: String) -> Result<String, Error> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    if last.is_empty() || last.chars().any(char::is_control) || last.chars().nth(255).is_some() {
        let problem = "must have a name of 1 to 255 characters without control characters";
        return Err(Error::Invalid { param: "file", problem });
    }
    Ok(last.to_owned())
}
