//! Fuzz targets: what of this service reads text that anybody may send. `shared::fuzz` says how they are run.
//!
//! `lists` asks the whole service, with its store; what is here asks single readers, with what a caller could make up
//! of a token whose form they know.

mod lists;

pub use lists::lists;

use crate::{
    changes::ResumeToken,
    error::Error,
    field, groups,
    history::{self, Cursor},
    incidents,
    list::Page,
    sets,
    token::{Token, Tokens},
};
use policy::{Action, Epoch, Revision};
use shared::{page, seal::Sealer};
use uuid::Uuid;

/// Revision tokens: every token is read back, and nothing is read that was not made.
pub fn revision_token(input: &[u8]) {
    let key = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
    let Ok(sealer) = Sealer::new(&[key.into()]) else { return };
    let tokens = Tokens::new(Uuid::from_u128(7 << 100), &sealer);
    let text = String::from_utf8_lossy(input);
    match tokens.decode("token", &text) {
        Ok(token) => assert_eq!(tokens.encode(token), text, "one place has one token"),
        Err(error) => names("token", &error),
    }
    if let Some((numbers, rest)) = input.split_first_chunk::<24>() {
        let token = place(numbers);
        let made = tokens.encode(token);
        assert_eq!(tokens.decode("token", &made).ok(), Some(token));
        let mut changed = made.clone().into_bytes();
        for pair in rest.chunks_exact(2).take(8) {
            let at = usize::from(pair[0]) % changed.len();
            changed[at] ^= pair[1] & 0x7f;
        }
        let changed = String::from_utf8_lossy(&changed);
        assert!(changed == made || tokens.decode("token", &changed).is_err(), "{changed} for {made}");
    }
}

fn place(numbers: &[u8; 24]) -> Token {
    let (mut epoch, mut revision) = ([0; 16], [0; 8]);
    epoch.copy_from_slice(&numbers[..16]);
    revision.copy_from_slice(&numbers[16..]);
    Token { epoch: Epoch(Uuid::from_bytes(epoch)), revision: Revision(u64::from_le_bytes(revision)) }
}

/// Tokens to resume a watch with: one position has one token, and a refusal names the field.
pub fn resume_token(input: &[u8]) {
    for text in [String::from_utf8_lossy(input).into_owned(), hex::encode(input)] {
        match ResumeToken::decode(&text) {
            Ok(Some(token)) => assert_eq!(token.encode(), text),
            Ok(None) => assert!(text.is_empty()),
            Err(error) => names("resume_token", &error),
        }
    }
}

/// Where a page starts, by a token that was made up: what is read of it can be looked for, and the rest is refused.
pub fn page_place(input: &[u8]) {
    let last = String::from_utf8_lossy(input);
    let token = page::token("list", &last);
    let page = match Page::new("list".to_owned(), 0, &token) {
        Ok(page) => page,
        Err(error) => return names("page_token", &error),
    };
    let fits = |text: &str| assert!(!text.contains('\0'), "no store takes {text:?}");
    let refused = |error: Error| names("page_token", &error);
    page.after_name().map_or_else(&refused, |(name, _)| fits(name));
    fits(page.after());
    page.after_id().map_or_else(&refused, drop);
    page.before_id().map_or_else(&refused, drop);
    sets::place(&page).map_or_else(&refused, drop);
    groups::place(&page).map_or_else(&refused, drop);
    history::start(&last).map_or_else(&refused, drop);
    incidents::position(&last).map_or_else(&refused, |(time, _)| {
        assert!(field::instant("page_token", Some(time)).is_ok(), "stores know no such time");
    });
    Cursor::read(&last).map_or_else(&refused, |cursor| assert_eq!(cursor.actions(), Action::ALL.len()));
}

/// A refusal that names this field, and is no longer than a person reads.
fn names(expected: &str, error: &Error) {
    let text = error.to_string();
    assert!(text.len() < 500, "{text}");
    match error {
        Error::Invalid { field, .. } => assert_eq!(field, expected),
        Error::OtherCluster { field } => assert_eq!(*field, expected),
        _ => assert_eq!(text, expected, "another refusal"),
    }
}

#[cfg(test)]
mod tests {
    use ::tests::fuzz::bounded;

    #[test]
    fn revision_token() {
        bounded("revision_token", super::revision_token);
    }

    #[test]
    fn resume_token() {
        bounded("resume_token", super::resume_token);
    }

    #[test]
    fn page_place() {
        bounded("page_place", super::page_place);
    }

    #[test]
    fn lists() {
        bounded("lists", super::lists);
    }
}
