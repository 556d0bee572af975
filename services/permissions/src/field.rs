//! The rules of single fields. What passes here may be stored and shown; what does not is refused by its name.

use crate::error::Error;
use policy::Time;
use shared::time;
use std::{ops::RangeInclusive, str::FromStr, time::Duration};

/// Longest reason of a change, in characters.
const REASON: usize = 500;
/// Longest e-mail address, in bytes (RFC 5321 leaves 254 for it).
const EMAIL: usize = 254;
/// Longest part of an e-mail address before the `@`.
const LOCAL_PART: usize = 64;
/// Longest name of a model.
const MODEL_NAME: usize = 200;
/// First and last instant that the wire format defines: the years 1 to 9999.
const INSTANTS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// An id.
pub(crate) fn id<T: FromStr>(field: &'static str, text: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        return Err(Error::invalid(field, "is needed: a UUID"));
    }
    text.parse().map_err(|error: T::Err| Error::invalid(field, error.to_string()))
}

/// An id that may be left out.
pub(crate) fn optional_id<T: FromStr>(field: &'static str, text: &str) -> Result<Option<T>, Error>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

/// A name for people to read: one line, 1 to 100 characters.
pub(crate) fn name(field: &'static str, text: String) -> Result<String, Error> {
    if text.trim().is_empty() {
        return Err(Error::invalid(field, "is needed: 1 to 100 characters"));
    }
    if text.trim().len() != text.len() {
        return Err(Error::invalid(field, "must not begin or end with white space"));
    }
    if text.contains(['\n', '\t']) {
        return Err(Error::invalid(field, "must be one line without tabs"));
    }
    self::text(field, text, 100)
}

/// Free text of at most so many characters.
pub(crate) fn text(field: &'static str, text: String, most: usize) -> Result<String, Error> {
    if text.chars().count() > most {
        return Err(Error::invalid(field, format!("must have at most {most} characters")));
    }
    if text.chars().any(is_hidden) {
        return Err(Error::invalid(field, "must not contain control characters"));
    }
    Ok(text)
}

/// Free text that must not be empty, of at most so many characters.
pub(crate) fn needed_text(field: &'static str, text: String, most: usize) -> Result<String, Error> {
    if text.trim().is_empty() {
        return Err(Error::invalid(field, format!("is needed: 1 to {most} characters")));
    }
    self::text(field, text, most)
}

/// A duration within bounds, or none.
pub(crate) fn duration(
    field: &'static str,
    duration: Option<&prost_types::Duration>,
    within: &RangeInclusive<Duration>,
) -> Result<Option<Duration>, Error> {
    let Some(duration) = duration else { return Ok(None) };
    let read = time::duration_from_proto(duration).filter(|duration| within.contains(duration));
    read.map(Some).ok_or_else(|| {
        let (least, most) = (within.start().as_secs(), within.end().as_secs());
        Error::invalid(field, format!("must be between {least} and {most} seconds"))
    })
}

/// Why something is changed.
pub(crate) fn reason(text: String) -> Result<String, Error> {
    self::text("reason", text, REASON)
}

/// What a list is searched for.
pub(crate) fn search(text: String) -> Result<String, Error> {
    self::text("search", text, MODEL_NAME)
}

/// Characters that change how the text around them is shown, or are not shown at all.
fn is_hidden(letter: char) -> bool {
    let turns_direction = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns_direction || (letter.is_control() && !matches!(letter, '\n' | '\t'))
}

/// The name of a model, as requests say it.
pub(crate) fn model_name(field: &'static str, text: String) -> Result<String, Error> {
    if text.is_empty() || text.len() > MODEL_NAME {
        return Err(Error::invalid(field, "must have 1 to 200 characters"));
    }
    if !text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.:/@".contains(letter)) {
        return Err(Error::invalid(field, "must consist of letters, digits and -_.:/@"));
    }
    Ok(text)
}

/// An e-mail address: `local@domain`, in ASCII. Whether somebody reads it is not known here.
pub(crate) fn email(field: &'static str, text: String) -> Result<String, Error> {
    if text.len() > EMAIL {
        return Err(Error::invalid(field, format!("must have at most {EMAIL} characters")));
    }
    let valid = text.rsplit_once('@').is_some_and(|(local, domain)| is_local(local) && is_domain(domain));
    if valid {
        Ok(text)
    } else {
        Err(Error::invalid(field, "must be an e-mail address, like ana@example.org"))
    }
}

fn is_local(text: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(letter);
    text.len() <= LOCAL_PART && text.split('.').all(|part| !part.is_empty() && part.chars().all(letter))
}

fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| {
        let fits = (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
        fits && label.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    })
}

/// An instant within what can be stored and sent.
pub(crate) fn instant(field: &'static str, time: Option<Time>) -> Result<Time, Error> {
    time.filter(|time| INSTANTS.contains(&time.micros()))
        .ok_or_else(|| Error::invalid(field, "must be an instant of the years 1 to 9999"))
}

/// The end of something: it lies ahead.
pub(crate) fn end(field: &'static str, end: Option<Time>, now: Time) -> Result<Option<Time>, Error> {
    if end.is_some_and(|end| end <= now) {
        return Err(Error::invalid(field, "must lie in the future"));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_shape() {
        for good in ["owner@localhost", "Ana.B+x@example.org", "a@b-c.d"] {
            assert_eq!(email("email", good.to_owned()).unwrap(), good);
        }
        let long = format!("{}@example.org", "a".repeat(65));
        let bad = [
            "", "a", "@b", "a@", "a b@c", "a@b@c", ".a@b", "a..b@c", "a@-b", "a@b_c", "a@b.", "a\n@b", &long,
        ];
        for bad in bad {
            assert!(email("email", bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_is_counted_in_characters_and_hides_nothing() {
        assert!(name("name", "가".repeat(100)).is_ok() && name("name", "가".repeat(101)).is_err());
        for bad in ["", " ", " a", "a ", "a\nb", "a\u{0}b", "a\u{7f}", "a\u{202e}b", "a\u{2066}b"] {
            assert!(name("name", bad.to_owned()).is_err(), "{bad:?}");
        }
        assert!(text("description", "two\nlines".to_owned(), 10).is_ok());
        assert!(reason("x".repeat(501)).is_err());
        for bad in ["", "a b", "ä", "a;b", "a\n", &"x".repeat(201)] {
            assert!(model_name("name", (*bad).to_owned()).is_err(), "{bad:?}");
        }
        assert!(model_name("name", "org/Model-1.5:q4@main_x".to_owned()).is_ok());
    }
}
