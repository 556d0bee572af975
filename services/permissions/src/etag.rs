//! Etags: what somebody read, so that a change meant for that is not made to something else.
//!
//! An etag is a digest of all that can be read of a thing, so it needs no column and changes exactly when the thing
//! does, whatever changed it.

use crate::error::Error;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The etag of a thing with this content.
pub(crate) fn of(content: &impl Serialize) -> String {
    // What cannot be written has no keys or floats in it here; should it ever, every etag of it would be refused.
    let written = serde_json::to_vec(content).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(&Sha256::digest(written)[..12])
}

/// Refuses a change of what is no longer as the caller read it. A caller who sends no etag means it as it is.
pub(crate) fn matches(sent: &str, current: &str) -> Result<(), Error> {
    if sent.is_empty() || sent == current { Ok(()) } else { Err(Error::EtagMismatch) }
}
