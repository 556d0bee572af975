//! Answers that are to go, or to be made anew: chosen by what they depend on.
//!
//! An answer depends on its model and its revision, its prompt template and the tags that its caller gave it; tags depend
//! on those above them and on those that an operator named. Without `cascade` only what is named is chosen.

use super::{kept::Origin, key::Key};
use serde::{Deserialize, Serialize};

/// A choice of answers. What is left out chooses all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chosen {
    /// This one.
    pub key: Option<Key>,
    /// Of models whose names match: `*` is any text, `?` any character.
    pub model: String,
    /// Of revisions of models that match.
    pub revision: String,
    /// Of routes that match.
    pub endpoint: String,
    /// Of templates that match.
    pub template: String,
    /// With a tag that matches.
    pub tag: String,
    /// Whether a tag or a template stands for those below it as well: `a` for `a/b`.
    pub cascade: bool,
    /// Tags that depend on the chosen one, for whoever says `cascade`.
    pub dependents: Vec<String>,
}

impl Chosen {
    /// Whether an answer is one of them.
    #[must_use]
    pub fn matches(&self, key: &Key, of: &Origin) -> bool {
        self.key.is_none_or(|chosen| chosen == *key)
            && (self.model.is_empty() || matches(&self.model, &of.model))
            && (self.revision.is_empty() || matches(&self.revision, &of.revision))
            && (self.endpoint.is_empty() || matches(&self.endpoint, of.endpoint))
            && (self.template.is_empty() || self.takes(&self.template, &of.template))
            && (self.tag.is_empty() || of.tags.iter().any(|tag| self.takes_tag(tag)))
    }

    /// Whether nothing is said of what is chosen.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self { cascade: self.cascade, ..Self::default() }
    }

    /// Adds whatever depends on the chosen tag: `edges` are tags, each with one on which it depends.
    pub fn follow<'a>(&mut self, edges: impl Iterator<Item = (&'a str, &'a str)> + Clone) {
        if !self.cascade || self.tag.is_empty() {
            return;
        }
        // Each round takes what depends on something that was taken before, so circles end by themselves.
        loop {
            let further = edges
                .clone()
                .filter(|(tag, depends_on)| {
                    self.is_about(depends_on) && !self.dependents.iter().any(|known| known == tag)
                })
                .map(|(tag, _)| tag.to_owned());
            let mut further: Vec<String> = further.collect();
            if further.is_empty() {
                return;
            }
            self.dependents.append(&mut further);
            self.dependents.sort_unstable();
            self.dependents.dedup();
        }
    }

    /// Whether a tag is taken, or one below it is.
    fn is_about(&self, tag: &str) -> bool {
        self.takes_tag(tag)
            || is_below(&self.tag, tag)
            || self.dependents.iter().any(|known| is_below(known, tag))
    }

    fn takes_tag(&self, tag: &str) -> bool {
        self.takes(&self.tag, tag) || self.dependents.iter().any(|known| known == tag || is_below(tag, known))
    }

    fn takes(&self, pattern: &str, name: &str) -> bool {
        let above = |name: &str| name.match_indices('/').any(|(at, _)| matches(pattern, &name[..at]));
        matches(pattern, name) || self.cascade && above(name)
    }
}

/// Whether a name is below another: `a/b` below `a`.
fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a text matches a pattern of `*` and `?`.
fn matches(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return pattern == text;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(tags: &[&str]) -> Origin {
        let tags: Vec<Box<str>> = tags.iter().map(|tag| (*tag).into()).collect();
        let (model, endpoint) = ("meta/llama-8b".into(), "completions");
        Origin { model, revision: "2".into(), endpoint, template: "greeting/3".into(), tags: tags.into() }
    }

    #[test]
    fn answers_are_chosen_by_all_that_is_said() {
        let (key, answer) = (Key([1; 32]), of(&["customer/7/mail", "x"]));
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
            let [model, endpoint, tag] = [model, endpoint, tag].map(str::to_owned);
            let chosen = Chosen { model, endpoint, tag, cascade, ..Chosen::default() };
            assert_eq!(chosen.matches(&key, &answer), good, "{chosen:?}");
        }
        assert!(!Chosen { key: Some(Key([2; 32])), ..Chosen::default() }.matches(&key, &answer));
    }

    #[test]
    fn answers_depend_on_their_template_and_on_the_revision_of_their_model() {
        let (key, answer) = (Key([1; 32]), of(&[]));
        for (template, revision, cascade, good) in [
            ("greeting/3", "", false, true),
            ("greeting", "", false, false),
            ("greeting", "", true, true),
            ("greet", "", true, false),
            ("", "2", false, true),
            ("", "1", true, false),
            ("greeting/*", "?", false, true),
        ] {
            let (template, revision) = (template.to_owned(), revision.to_owned());
            let chosen = Chosen { template, revision, cascade, ..Chosen::default() };
            assert_eq!(chosen.matches(&key, &answer), good, "{chosen:?}");
        }
    }

    #[test]
    fn what_depends_on_a_tag_goes_with_it_and_circles_end() {
        let edges = [
            ("report", "customer/7/mail"),
            ("digest", "report/monthly"),
            ("customer/7", "digest"),
            ("other", "customer/8"),
        ];
        let follow = |tag: &str, cascade| {
            let mut chosen = Chosen { tag: tag.to_owned(), cascade, ..Chosen::default() };
            chosen.follow(edges.into_iter());
            chosen
        };
        // A tag above the one that something depends on stands for it, and one below it is part of it.
        for tag in ["customer/7", "customer/7/mail", "customer/7/mail/3", "customer/?"] {
            let chosen = follow(tag, true);
            let both = tag == "customer/?";
            let all: &[&str] = if both {
                &["customer/7", "digest", "other", "report"]
            } else {
                &["customer/7", "digest", "report"]
            };
            assert_eq!(chosen.dependents, all, "{tag}");
        }
        let chosen = follow("report", true);
        let takes = |tag| chosen.matches(&Key([0; 32]), &of(&[tag]));
        assert!(takes("report") && takes("digest/1") && takes("customer/7/calendar") && !takes("customer/8"));
        assert_eq!(follow("customer/7", false).dependents, [""; 0]);
        assert_eq!(follow("customer/9", true).dependents, [""; 0]);
    }

    #[test]
    fn what_is_written_of_a_choice_is_read_again() {
        let mut chosen =
            Chosen { key: Some(Key([7; 32])), tag: "a".to_owned(), cascade: true, ..Chosen::default() };
        chosen.follow([("b", "a")].into_iter());
        let written = serde_json::to_string(&chosen).unwrap();
        assert_eq!(serde_json::from_str::<Chosen>(&written).unwrap(), chosen);
        assert!(Chosen { cascade: true, ..Chosen::default() }.is_all() && !chosen.is_all());
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
