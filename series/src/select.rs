//! Picking series by name and labels.

use crate::Labels;
use regex::Regex;

/// How a label is compared.
#[derive(Debug, Clone)]
pub enum Comparison {
    /// Is this. A label that is not there is empty.
    Is(Box<str>),
    /// Is anything but this.
    IsNot(Box<str>),
    /// Matches as a whole.
    Like(Regex),
    /// Does not match as a whole.
    Unlike(Regex),
}

/// What one label must be.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label.
    pub label: Box<str>,
    /// What it must be.
    pub comparison: Comparison,
}

/// A pattern is none, or too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadMatcher(pub String);

/// A compiled pattern may take this many bytes.
const MAX_PATTERN: usize = 64 * 1024;

impl Matcher {
    /// The label has this value.
    pub fn is(label: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        Self { label: label.into(), comparison: Comparison::Is(value.into()) }
    }

    /// Reads an operator of Prometheus: `=`, `!=`, `=~` or `!~`.
    ///
    /// # Errors
    /// When the operator is another, or the pattern is none.
    pub fn read(label: &str, operator: &str, value: &str) -> Result<Self, BadMatcher> {
        let comparison = match operator {
            "=" => Comparison::Is(value.into()),
            "!=" => Comparison::IsNot(value.into()),
            "=~" => Comparison::Like(pattern(value)?),
            "!~" => Comparison::Unlike(pattern(value)?),
            _ => return Err(BadMatcher("must be =, !=, =~ or !~".into())),
        };
        Ok(Self { label: label.into(), comparison })
    }

    /// Whether these labels are as it wants.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label).unwrap_or_default();
        match &self.comparison {
            Comparison::Is(wanted) => **wanted == *value,
            Comparison::IsNot(unwanted) => **unwanted != *value,
            Comparison::Like(pattern) => pattern.is_match(value),
            Comparison::Unlike(pattern) => !pattern.is_match(value),
        }
    }
}

/// A pattern that has to match as a whole, as in Prometheus.
fn pattern(text: &str) -> Result<Regex, BadMatcher> {
    let compile = |text: &str| regex::RegexBuilder::new(text).size_limit(MAX_PATTERN).build();
    // What is a pattern only between our parentheses is none.
    compile(text).and_then(|_| compile(&format!("^(?s:{text})$"))).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => BadMatcher("is too large a pattern".into()),
        _ => BadMatcher("is no regular expression".into()),
    })
}

/// Series of one name whose labels are as wanted.
#[derive(Debug, Clone)]
pub struct Selector {
    /// The name.
    pub name: Box<str>,
    /// What labels must be, all of it.
    pub matchers: Vec<Matcher>,
}

impl Selector {
    /// All series of this name.
    pub fn named(name: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), matchers: Vec::new() }
    }

    /// Those among them of which the label has this value.
    #[must_use]
    pub fn and(mut self, matcher: Matcher) -> Self {
        self.matchers.push(matcher);
        self
    }

    /// Whether a series of its name with these labels is meant.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }
}
