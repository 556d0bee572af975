//! Labels, and the number by which an alert is known.

use crate::matcher::Matcher;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Names and values, in the order of names. A label with an empty value is one that is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// The value of a label, empty when it is not there.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Sets a label; an empty value takes it away.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        if value.is_empty() {
            self.0.remove(&name);
        } else {
            self.0.insert(name, value);
        }
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those with these names.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Self {
        let named = names.iter().filter_map(|name| self.0.get_key_value(name));
        Self(named.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Those without these names.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Self {
        let others = self.0.iter().filter(|(name, _)| !names.contains(name));
        Self(others.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Those that are the same in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let same = self.0.iter().filter(|(name, value)| other.0.get(*name) == Some(value));
        Self(same.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Whether all matchers take them.
    #[must_use]
    pub fn matched_by(&self, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|matcher| matcher.takes(self.get(matcher.name())))
    }

    /// The number of these labels: FNV-1a, 64 bits, over names and values that each end with 0xff, a byte that no text
    /// has.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let parts = self.0.iter().flat_map(|(name, value)| [name, value]);
        parts.fold(Fingerprint(0xcbf2_9ce4_8422_2325), |fingerprint, part| fingerprint.with(part))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(all: I) -> Self {
        let mut labels = Self::default();
        all.into_iter().for_each(|(name, value)| labels.set(name, value));
        labels
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (at, (name, value)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(formatter, "{comma}{name}={value:?}")?;
        }
        formatter.write_str("}")
    }
}

/// What an alert is known by, wherever it is spoken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The number of the same with one text more.
    #[must_use]
    pub fn with(self, text: &str) -> Self {
        let bytes = text.bytes().chain([0xff]);
        Self(bytes.fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_labels_does_not_matter_and_their_borders_do() {
        let one = Labels::from_iter([("a", "1"), ("b", "2")]);
        assert_eq!(one.fingerprint(), Labels::from_iter([("b", "2"), ("a", "1")]).fingerprint());
        assert_ne!(one.fingerprint(), Labels::from_iter([("a", "1b"), ("", "2")]).fingerprint());
        assert_ne!(
            Labels::from_iter([("ab", "c")]).fingerprint(),
            Labels::from_iter([("a", "bc")]).fingerprint()
        );
        let text = one.fingerprint().to_string();
        assert_eq!((text.len(), text.parse()), (16, Ok(one.fingerprint())));
    }

    #[test]
    fn an_empty_value_is_no_label() {
        assert_eq!(Labels::from_iter([("a", ""), ("b", "2")]), Labels::from_iter([("b", "2")]));
        let (one, other) =
            (Labels::from_iter([("a", "1"), ("b", "2")]), Labels::from_iter([("a", "1"), ("b", "3")]));
        assert_eq!(one.common(&other), Labels::from_iter([("a", "1")]));
        assert_eq!(one.to_string(), r#"{a="1", b="2"}"#);
    }
}
