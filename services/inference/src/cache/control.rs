//! What a caller wants of the cache: the directives of `cache-control` and `x-tollgate-cache`, and the field `tollgate`.
//!
//! `cache-control` may hold what was meant for others, so what is not known there is passed over; our own header and
//! field are refused when they are not understood.

use crate::error::Error;
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc, time::Duration};

/// The header, or metadata, of our own.
pub const HEADER: &str = "x-tollgate-cache";
/// Tags of one request, and characters of each.
const TAGS: (usize, usize) = (16, 64);

/// What a caller wants of the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Neither look nor keep.
    pub no_store: bool,
    /// Do not look, but keep what comes.
    pub no_cache: bool,
    /// Look, and refuse when there is nothing.
    pub only_if_cached: bool,
    /// Look and keep, though the same may be answered otherwise.
    pub store: bool,
    /// Nothing older than this.
    pub max_age: Option<Duration>,
    /// Whose data it is about, sorted.
    pub tags: Arc<[Box<str>]>,
    /// What the prompt was made from; empty when nothing was said.
    pub template: Arc<str>,
}

#[derive(Deserialize)]
struct Field<'a> {
    #[serde(borrow, default)]
    cache: Option<Cow<'a, str>>,
    #[serde(default)]
    tags: Vec<Box<str>>,
    #[serde(default)]
    template: Option<Box<str>>,
}

/// Whether this can be a tag, or the name of a template.
pub(crate) fn is_tag(tag: &str) -> bool {
    (1..=TAGS.1).contains(&tag.len()) && !tag.contains(char::is_control)
}

impl Wish {
    /// What the field `tollgate` says.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the part that is not understood.
    pub fn field(json: &str) -> Result<Self, Error> {
        let invalid = |problem| Error::Invalid { param: "tollgate", problem };
        let Field { cache, mut tags, template } = serde_json::from_str(json).map_err(|_| {
            invalid("must be an object with `cache` and `template`, texts, and `tags`, a list of texts")
        })?;
        let long = |tag: &str| !is_tag(tag);
        if template.as_deref().is_some_and(long) {
            return Err(invalid("takes a `template` of 1 to 64 characters"));
        }
        if tags.len() > TAGS.0 || tags.iter().any(|tag| long(tag)) {
            return Err(invalid("takes at most 16 `tags` of 1 to 64 characters"));
        }
        tags.sort_unstable();
        tags.dedup();
        let template = template.map(Arc::from).unwrap_or_default();
        let mut wish = Self { tags: tags.into(), template, ..Self::default() };
        match cache {
            Some(cache) if !wish.hear(cache.as_bytes()) => Err(invalid(DIRECTIVES)),
            _ => Ok(wish),
        }
    }

    /// The same with what the headers say.
    ///
    /// # Errors
    /// [`Error::Invalid`] when our own is not understood.
    pub fn and_headers(mut self, standard: Option<&[u8]>, own: Option<&[u8]>) -> Result<Self, Error> {
        if let Some(standard) = standard {
            self.hear(standard);
        }
        match own {
            Some(own) if !self.hear(own) => Err(Error::Invalid { param: HEADER, problem: DIRECTIVES }),
            _ => Ok(self),
        }
    }

    /// Takes directives in. Returns whether all of them are known.
    fn hear(&mut self, said: &[u8]) -> bool {
        let Ok(said) = std::str::from_utf8(said) else { return false };
        let mut known = true;
        for directive in said.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            let (name, value) = match directive.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"'))),
                None => (directive, None),
            };
            known &= self.obey(name, value);
        }
        known
    }

    fn obey(&mut self, name: &str, value: Option<&str>) -> bool {
        let flag = if name.eq_ignore_ascii_case("no-store") {
            &mut self.no_store
        } else if name.eq_ignore_ascii_case("no-cache") {
            &mut self.no_cache
        } else if name.eq_ignore_ascii_case("only-if-cached") {
            &mut self.only_if_cached
        } else if name.eq_ignore_ascii_case("store") {
            &mut self.store
        } else if name.eq_ignore_ascii_case("max-age") {
            let Some(seconds) = value.and_then(|value| value.parse::<u32>().ok()) else { return false };
            let said = Duration::from_secs(seconds.into());
            self.max_age = Some(self.max_age.map_or(said, |before| before.min(said)));
            return true;
        } else {
            return false;
        };
        *flag = true;
        value.is_none()
    }
}

const DIRECTIVES: &str =
    "knows no-store, no-cache, only-if-cached, store and max-age=SECONDS, with commas between them";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard(own: &str) -> Result<Wish, Error> {
        Wish::default().and_headers(None, Some(own.as_bytes()))
    }

    #[test]
    fn directives_are_heard_in_both_places_and_the_stricter_age_counts() {
        let wish = Wish::field(r#"{"cache":"max-age=60","tags":["b","a","b"]}"#).unwrap();
        assert_eq!(wish.tags.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["a", "b"]);
        let wish = wish.and_headers(Some(b"No-Cache, max-age=90, x=1"), Some(b"store")).unwrap();
        assert!(wish.no_cache && wish.store && !wish.no_store && !wish.only_if_cached);
        assert_eq!(wish.max_age, Some(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_not_understood_is_refused_where_it_was_meant_for_us() {
        for wrong in ["nostore", "max-age", "max-age=-1", "max-age=x", "no-store=1", "no-cache, hm"] {
            assert!(heard(wrong).is_err(), "{wrong}");
            assert!(Wish::default().and_headers(Some(wrong.as_bytes()), None).is_ok(), "{wrong}");
            assert!(Wish::field(&serde_json::json!({ "cache": wrong }).to_string()).is_err(), "{wrong}");
        }
        for wrong in
            [r#""x""#, "[1]", r#"{"tags":[""]}"#, r#"{"tags":[1]}"#, r#"{"cache":1}"#, r#"{"template":""}"#]
        {
            assert!(Wish::field(wrong).is_err(), "{wrong}");
        }
        let many: Vec<String> = (0..17).map(|tag| tag.to_string()).collect();
        assert!(Wish::field(&serde_json::json!({ "tags": many }).to_string()).is_err());
        assert_eq!(heard(" , ").unwrap(), Wish::default());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail(text in ".{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Wish::field(&text);
            let _ = Wish::default().and_headers(Some(&bytes), Some(text.as_bytes()));
        }
    }
}
