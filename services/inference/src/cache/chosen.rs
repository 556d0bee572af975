//! Answers that are to go: chosen by key, model, route or tag.
//!
//! What was chosen once stays chosen for all that was made until then, so that an answer in Redis, or in a process
//! that was not reached, is not served again.

use super::{kept::Kept, key::Key};
use std::sync::{PoisonError, RwLock};

/// A choice of answers. What is left out chooses all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// This one.
    pub key: Option<Key>,
    /// Of models whose names match: `*` is any text, `?` any character.
    pub model: String,
    /// Of routes that match.
    pub endpoint: String,
    /// With a tag that matches.
    pub tag: String,
    /// Whether a tag stands for those below it as well: `a` for `a/b`.
    pub cascade: bool,
}

impl Chosen {
    /// Whether an answer is one of them.
    #[must_use]
    pub fn matches(&self, key: &Key, kept: &Kept) -> bool {
        let of = &kept.of;
        self.key.is_none_or(|chosen| chosen == *key)
            && (self.model.is_empty() || matches(&self.model, &of.model))
            && (self.endpoint.is_empty() || matches(&self.endpoint, of.endpoint))
            && (self.tag.is_empty() || of.tags.iter().any(|tag| self.takes(tag)))
    }

    fn takes(&self, tag: &str) -> bool {
        let above = |tag: &str| tag.match_indices('/').any(|(at, _)| matches(&self.tag, &tag[..at]));
        matches(&self.tag, tag) || self.cascade && above(tag)
    }
}

/// Whether a text matches a pattern of `*` and `?`.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut in_text, mut star) = (0, 0, None);
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(&one) if one == '?' || one == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => {
                // The last star takes one character more.
                let Some((starred, taken)) = star else { return false };
                star = Some((starred, taken + 1));
                (at, in_text) = (starred + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|&rest| rest == '*')
}

/// What was chosen, and until when.
#[derive(Debug, Default)]
pub(super) struct Gone(RwLock<Vec<(Chosen, policy::Time)>>);

/// Choices that are remembered; of more, the oldest is held to have chosen everything.
const REMEMBERED: usize = 1_000;

impl Gone {
    pub(super) fn add(&self, chosen: Chosen, until: policy::Time) {
        let mut gone = self.0.write().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|(known, _)| *known != chosen);
        gone.push((chosen, until));
        if gone.len() > REMEMBERED {
            let (_, oldest) = gone.remove(0);
            gone[0] = (Chosen::default(), oldest.max(gone[0].1));
        }
    }

    pub(super) fn has(&self, key: &Key, kept: &Kept) -> bool {
        let gone = self.0.read().unwrap_or_else(PoisonError::into_inner);
        gone.iter().any(|(chosen, until)| kept.made <= *until && chosen.matches(key, kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Origin;
    use proptest::prelude::*;

    fn kept(model: &str, endpoint: &'static str, tags: &[&str], made: i64) -> Kept {
        let tags: Vec<Box<str>> = tags.iter().map(|tag| (*tag).into()).collect();
        let of = Origin { model: model.into(), endpoint, tags: tags.into() };
        Kept { made: policy::Time(made), ..Kept::vector("".into(), 0, of) }
    }

    fn chosen(model: &str, endpoint: &str, tag: &str, cascade: bool) -> Chosen {
        let [model, endpoint, tag] = [model, endpoint, tag].map(str::to_owned);
        Chosen { key: None, model, endpoint, tag, cascade }
    }

    #[test]
    fn answers_are_chosen_by_all_that_is_said() {
        let key = Key([1; 32]);
        let answer = kept("meta/llama-8b", "completions", &["customer/7/mail", "x"], 5);
        for (model, endpoint, tag, cascade, good) in [
            ("", "", "", false, true),
            ("meta/*", "comp*", "", false, true),
            ("*-8b", "chat*", "", false, false),
            ("meta", "", "", false, false),
            ("", "", "customer/7", false, false),
            ("", "", "customer/7", true, true),
            ("", "", "customer/?", true, true),
            ("", "", "customer", true, true),
            ("", "", "custom", true, false),
            ("", "", "customer/*", false, true),
            ("", "", "y", true, false),
        ] {
            let chosen = chosen(model, endpoint, tag, cascade);
            assert_eq!(chosen.matches(&key, &answer), good, "{chosen:?}");
        }
        assert!(!Chosen { key: Some(Key([2; 32])), ..Chosen::default() }.matches(&key, &answer));
    }

    #[test]
    fn what_was_made_later_is_not_gone() {
        let gone = Gone::default();
        gone.add(chosen("m", "", "", false), policy::Time(5));
        let has = |model, made| gone.has(&Key([0; 32]), &kept(model, "completions", &[], made));
        assert!(has("m", 5) && !has("m", 6) && !has("n", 5));
        for number in 0..=1_000 {
            gone.add(chosen(&number.to_string(), "", "", false), policy::Time(6));
        }
        assert!(has("m", 6) && has("n", 5) && !has("n", 7), "what is forgotten is held to have chosen all");
    }

    proptest! {
        #[test]
        fn patterns_match_as_they_would_letter_by_letter(pattern in "[ab*?]{0,7}", text in "[ab]{0,8}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), None) => slow(rest, text),
                    (Some((b'*', rest)), Some((_, less))) => slow(rest, text) || slow(pattern, less),
                    (Some((b'?', rest)), Some((_, less))) => slow(rest, less),
                    (Some((one, rest)), Some((other, less))) => one == other && slow(rest, less),
                    _ => false,
                }
            }
            prop_assert_eq!(matches(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
