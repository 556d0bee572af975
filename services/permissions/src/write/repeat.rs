//! The same request again, because its answer was lost: it is answered as before and changes nothing.
//!
//! An answer is kept in the transaction that it is about, so it is there exactly when the change is.

use super::Write;
use crate::{error::Error, store::answers};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use sha2::{Digest, Sha256};
use shared::seal::Sealer;
use std::time::Duration;
use uuid::{Builder, Uuid};

/// How long an answer is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

const COLUMN: &str = "answers.body";

/// What makes a repetition of a request recognisable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Repeat {
    /// The caller's id for the request.
    pub(crate) id: Uuid,
    /// Digest of method and body: the same id with another body is a mistake.
    body: [u8; 32],
}

impl Repeat {
    /// Of a request to a method.
    pub(crate) fn new(id: Uuid, path: &str, request: &impl Message) -> Self {
        let body = Sha256::new().chain_update(path).chain_update(request.encode_to_vec()).finalize().into();
        Self { id, body }
    }

    /// The id of a request that was given a name instead, as HTTP callers do.
    pub(crate) fn named(name: &[u8]) -> Uuid {
        hashed(Sha256::digest(name).into())
    }

    /// Of one part of the request, when it is done in several.
    pub(crate) fn part(self, place: usize) -> Self {
        let digest = Sha256::new().chain_update(self.id).chain_update(place.to_be_bytes()).finalize();
        Self { id: hashed(digest.into()), ..self }
    }

    /// The digest as it is kept under a key of ours: what was asked may hold a password, which nobody is to guess
    /// from the table.
    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.body)
    }

    fn place(&self, actor: &str) -> String {
        format!("answers {actor} {}", self.id)
    }
}

fn hashed(digest: [u8; 32]) -> Uuid {
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(id).into_uuid()
}

/// What the request was answered before, within the time that answers are kept.
pub(super) async fn answered<R: Message + Default>(
    write: &mut Write,
    sealer: &Sealer,
) -> Result<Option<R>, Error> {
    let Some(repeat) = write.origin.repeat else { return Ok(None) };
    let (actor, since) = (write.origin.name(), write.now().minus(KEPT));
    let Some(kept) = answers::find(&mut write.tx, &actor, repeat.id, since).await? else { return Ok(None) };
    if !sealer.indexes(COLUMN, repeat.text()).contains(&kept.body) {
        return Err(Error::invalid("request_id", "was used for another request within the last 24 hours"));
    }
    let plain = sealer.open(&repeat.place(&actor), &kept.answer)?;
    R::decode(plain.as_slice()).map(Some).map_err(|_| Error::UnreadableAnswer)
}

/// Keeps an answer.
pub(super) async fn keep(write: &mut Write, answer: &impl Message, sealer: &Sealer) -> Result<(), Error> {
    let Some(repeat) = write.origin.repeat else { return Ok(()) };
    let actor = write.origin.name();
    let sealed = sealer.seal(&repeat.place(&actor), &answer.encode_to_vec());
    let now = write.now();
    let body = sealer.index(COLUMN, repeat.text());
    answers::put(&mut write.tx, (&actor, repeat.id), &body, &sealed, now).await?;
    Ok(())
}
