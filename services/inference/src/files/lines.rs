//! The lines of a file, one after the other; a piece of it at a time is in memory.

use crate::{error::Error, store};
use bytes::{Buf, Bytes, BytesMut};
use shared::seal::rows::Vault;
use uuid::Uuid;

/// Reads lines.
#[derive(Debug)]
pub struct Lines {
    vault: Vault,
    file: Uuid,
    pieces: u32,
    rest: BytesMut,
    number: u32,
    ended: bool,
}

impl Lines {
    /// Of this file, whoever owns it.
    #[must_use]
    pub fn of(vault: Vault, file: Uuid) -> Self {
        Self { vault, file, pieces: 0, rest: BytesMut::new(), number: 0, ended: false }
    }

    /// The next one that is not blank, without spaces around it, and its number from 1.
    ///
    /// # Errors
    /// When the store is away; it can be asked again.
    pub async fn next(&mut self) -> Result<Option<(u32, Bytes)>, Error> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.rest) {
                let line = self.rest.split_to(end).freeze();
                self.rest.advance(1);
                if let Some(line) = self.line(&line) {
                    return Ok(Some(line));
                }
            } else if self.ended {
                let line = self.rest.split().freeze();
                return Ok(if line.is_empty() { None } else { self.line(&line) });
            } else {
                match store::files::read(&self.vault, self.file, self.pieces).await? {
                    Some(piece) => {
                        self.pieces += 1;
                        self.rest.extend_from_slice(&piece);
                    }
                    None => self.ended = true,
                }
            }
        }
    }

    fn line(&mut self, line: &Bytes) -> Option<(u32, Bytes)> {
        self.number += 1;
        let text = line.trim_ascii();
        (!text.is_empty()).then(|| (self.number, line.slice_ref(text)))
    }
}
