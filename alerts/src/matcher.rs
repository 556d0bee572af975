//! Matchers: which labels are meant. A label that is not there has an empty value.

use crate::fault::Fault;
use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// How a value is held against a matcher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matching {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`: the whole value is of the expression's language.
    Regex,
    /// `!~`
    NotRegex,
}

impl Matching {
    /// As it is written; those of two characters first, because they begin like others.
    const ALL: [(Self, &'static str); 4] =
        [(Self::Regex, "=~"), (Self::NotRegex, "!~"), (Self::NotEqual, "!="), (Self::Equal, "=")];

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    how: Matching,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A matcher. Regular expressions are those of the crate `regex`, which are RE2's but for some classes, and always
    /// mean the whole value.
    ///
    /// # Errors
    /// When the name is no name of a label, or the value no regular expression where one is needed.
    pub fn new(name: impl Into<String>, how: Matching, value: impl Into<String>) -> Result<Self, Fault> {
        let (name, value) = (name.into(), value.into());
        if !is_label_name(&name) {
            return Err(Fault::invalid("matcher", format!("has no name of a label: `{name}`")));
        }
        let regex = match how {
            Matching::Equal | Matching::NotEqual => None,
            Matching::Regex | Matching::NotRegex => Some(
                regex::RegexBuilder::new(&format!("^(?s:{value})$")).size_limit(1 << 20).build().map_err(
                    |_| Fault::invalid("matcher", format!("has no regular expression: `{value}`")),
                )?,
            ),
        };
        Ok(Self { name, how, value, regex })
    }

    /// The label that is looked at.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is looked at.
    #[must_use]
    pub const fn how(&self) -> Matching {
        self.how
    }

    /// What it is held against.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a value is meant.
    #[must_use]
    pub fn takes(&self, value: &str) -> bool {
        match (self.how, &self.regex) {
            (Matching::Equal, _) => self.value == value,
            (Matching::NotEqual, _) => self.value != value,
            (Matching::Regex, regex) => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
            (Matching::NotRegex, regex) => !regex.as_ref().is_some_and(|regex| regex.is_match(value)),
        }
    }
}

/// Letters, digits and underscores, no digit first.
pub(crate) fn is_label_name(name: &str) -> bool {
    let first = |character: char| character.is_ascii_alphabetic() || character == '_';
    name.chars().next().is_some_and(first)
        && name.chars().all(|character| first(character) || character.is_ascii_digit())
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.how, &self.value) == (&other.name, other.how, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
        write!(formatter, "{}{}\"{value}\"", self.name, self.how.text())
    }
}

/// `name="value"`; the quotes may be left out.
impl FromStr for Matcher {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let fault = || Fault::Syntax {
            at: 0,
            problem: format!("`{text}` is no matcher, like severity=\"critical\" or model=~\"llama.*\""),
        };
        let end = text.find(['=', '!']).ok_or_else(fault)?;
        let (name, rest) = text.split_at(end);
        let found = Matching::ALL.into_iter().find_map(|(how, sign)| Some((how, rest.strip_prefix(sign)?)));
        let (how, value) = found.ok_or_else(fault)?;
        let value = value.trim();
        let value = match value.strip_prefix('"') {
            Some(quoted) => unescape(quoted.strip_suffix('"').ok_or_else(fault)?).ok_or_else(fault)?,
            None => value.to_owned(),
        };
        Self::new(name.trim(), how, value)
    }
}

/// What stands between quotes.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let (mut plain, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                same @ ('\\' | '"' | '\'') => same,
                _ => return None,
            },
            '"' => return None,
            other => other,
        });
    }
    Some(plain)
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_matching_means_the_whole_value() {
        for (text, value, taken) in [
            ("a=\"x\"", "x", true),
            ("a=x", "xy", false),
            ("a!=x", "", true),
            ("a=~x.*", "xy", true),
            ("a=~x", "xy", false),
            ("a=~x|y", "wy", false),
            ("a!~x.*", "xy", false),
            ("a!~x", "", true),
            ("a=", "", true),
            (r#"a="q\"\\""#, r#"q"\"#, true),
        ] {
            let matcher: Matcher = text.parse().unwrap();
            assert_eq!(matcher.takes(value), taken, "{text} {value}");
            assert_eq!(matcher.to_string().parse(), Ok(matcher), "{text}");
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused() {
        for text in ["", "a", "=x", "1a=x", "a~x", "a=~(", "a=\"x", r#"a="\q""#] {
            assert!(text.parse::<Matcher>().is_err(), "{text}");
        }
    }
}
