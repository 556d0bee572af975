//! Revision tokens: what a write hands out and a read may ask to be at least as new as. Opaque to callers.

use crate::error::Error;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use policy::{Epoch, Revision};
use uuid::Uuid;

/// One revision of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
}

impl Token {
    /// The token as callers carry it.
    pub(crate) fn encode(self) -> String {
        let mut bytes = [0; 24];
        let (epoch, revision) = bytes.split_at_mut(16);
        epoch.copy_from_slice(self.epoch.uuid().as_bytes());
        revision.copy_from_slice(&self.revision.get().to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The token in a request, or `None` when it carries none.
    pub(crate) fn decode(field: &'static str, text: &str) -> Result<Option<Self>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let malformed = || Error::invalid(field, "is not a revision token; send one as a write returned it");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())?;
        let (epoch, revision) = bytes.split_at_checked(16).ok_or_else(malformed)?;
        let epoch = Uuid::from_slice(epoch).map_err(|_| malformed())?;
        let revision: [u8; 8] = revision.try_into().map_err(|_| malformed())?;
        Ok(Some(Self { epoch: Epoch(epoch), revision: Revision(u64::from_be_bytes(revision)) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_way_out_and_back_and_nonsense_is_refused() {
        let token = Token { epoch: Epoch(Uuid::from_u128(7)), revision: Revision(1 << 40) };
        assert_eq!(Token::decode("token", &token.encode()).unwrap(), Some(token));
        assert_eq!(Token::decode("token", "").unwrap(), None);
        let long = format!("{}AAAA", token.encode());
        for nonsense in ["x", "AAAA", "%%%", "AAAAAAAAAAAAAAAAAAAAAA", &long] {
            assert!(
                matches!(Token::decode("token", nonsense), Err(Error::Invalid { field, .. }) if field == "token")
            );
        }
    }
}
