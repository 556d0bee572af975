//! Pages of lists: sizes within bounds, and opaque tokens that say where the next page starts.
//!
//! A token is bound to the list's filter, so one taken to another list is refused instead of skipping rows.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// A page was asked for that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The size is negative or above the maximum.
    #[error("must be between 0 and {0}")]
    Size(u32),
    /// The token is not one of ours, or belongs to another list or filter.
    #[error("is not a token of this list with this filter")]
    Token,
}

/// The number of rows to read: `default` when `size` is 0.
///
/// # Errors
/// [`PageError::Size`] when `size` is negative or above `max`.
pub fn size(size: i32, default: u32, max: u32) -> Result<u32, PageError> {
    match u32::try_from(size) {
        Ok(0) => Ok(default),
        Ok(size) if size <= max => Ok(size),
        _ => Err(PageError::Size(max)),
    }
}

/// The token of the page that starts after `last`, in the list described by `filter`.
#[must_use]
pub fn token(filter: &str, last: &str) -> String {
    let mut bytes = check(filter, last).to_vec();
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Where the page starts: after which row, or `None` at the beginning.
///
/// # Errors
/// [`PageError::Token`] when the token was not made by [`token`] for the same filter.
pub fn start(filter: &str, token: &str) -> Result<Option<String>, PageError> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| PageError::Token)?;
    let (given, last) = bytes.split_at_checked(8).ok_or(PageError::Token)?;
    let last = std::str::from_utf8(last).map_err(|_| PageError::Token)?;
    // Anybody can make a token. No row is named like this, and PostgreSQL does not take every such character.
    if last.chars().any(char::is_control) {
        return Err(PageError::Token);
    }
    (given == check(filter, last)).then(|| Some(last.to_owned())).ok_or(PageError::Token)
}

fn check(filter: &str, last: &str) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update((filter.len() as u64).to_le_bytes());
    hash.update(filter);
    hash.update(last);
    let digest = hash.finalize();
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_row_and_to_no_other_list() {
        let made = token("users", "018f");
        assert_eq!(start("users", &made), Ok(Some("018f".to_owned())));
        assert_eq!(start("users", ""), Ok(None));
        assert_eq!(start("groups", &made), Err(PageError::Token));
        for broken in ["x", "AAAA", "AAAAAAAAAAAA", "%%%"] {
            assert_eq!(start("users", broken), Err(PageError::Token));
        }
    }

    #[test]
    fn sizes_have_bounds() {
        assert_eq!(size(0, 50, 100), Ok(50));
        assert_eq!(size(100, 50, 100), Ok(100));
        assert_eq!(size(101, 50, 100), Err(PageError::Size(100)));
        assert_eq!(size(-1, 50, 100), Err(PageError::Size(100)));
    }
}
