//! What is there at once goes on in one piece.

use bytes::{Bytes, BytesMut};

/// Events on their way to the client in one piece.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    bytes: BytesMut,
    one: Bytes,
}

/// A piece is not gathered beyond this many bytes.
const PIECE: usize = 16 * 1024;

impl Gathered {
    pub(super) fn add(&mut self, bytes: Bytes) {
        if self.is_empty() {
            self.one = bytes;
        } else {
            self.bytes.extend_from_slice(&std::mem::take(&mut self.one));
            self.bytes.extend_from_slice(&bytes);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.one.is_empty() && self.bytes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.one.len() + self.bytes.len() >= PIECE
    }

    pub(super) fn take(&mut self) -> Bytes {
        if self.bytes.is_empty() { std::mem::take(&mut self.one) } else { self.bytes.split().freeze() }
    }
}
