//! Expressions of rules: a part of PromQL, with PromQL's meaning but for what is said here.
//!
//! Series are matched by all their labels. A series without a sample for [`LOOKBACK`] is gone. Rates are the growth of the
//! window's samples over the window's length: nothing is guessed before the first and after the last of them.

mod parse;

use crate::{duration::format_duration, signals::Selector};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, time::Duration};

/// How old the latest sample of a series may be. What another replica heard is known by the minute, and within twenty seconds
/// after that; Prometheus looks back for five minutes.
pub const LOOKBACK: Duration = Duration::from_secs(150);

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A number.
    Number(f64),
    /// `time()`: seconds since 1970.
    Time,
    /// `vector(…)`: a number as the value of a series without labels.
    Vector(Box<Expression>),
    /// The latest sample of each series.
    Latest(Selector),
    /// Something over the samples of a window.
    Over(Over, Selector, Duration),
    /// Series put together.
    Aggregate(Aggregation, Grouping, Box<Expression>),
    /// `histogram_quantile(…)` of series with the label `le`.
    Quantile(f64, Box<Expression>),
    /// `absent(…)`: 1 when there is nothing.
    Absent(Box<Expression>),
    /// Two expressions and what is between them.
    Binary(Operator, Box<Expression>, Box<Expression>),
}

/// Functions of the samples of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// `rate`: growth of a counter per second.
    Rate,
    /// `increase`: growth of a counter.
    Increase,
    /// `avg_over_time`
    Mean,
    /// `min_over_time`
    Least,
    /// `max_over_time`
    Most,
    /// `last_over_time`
    Last,
    /// `sum_over_time`
    Sum,
    /// `count_over_time`
    Count,
}

impl Over {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Rate, "rate"),
        (Self::Increase, "increase"),
        (Self::Mean, "avg_over_time"),
        (Self::Least, "min_over_time"),
        (Self::Most, "max_over_time"),
        (Self::Last, "last_over_time"),
        (Self::Sum, "sum_over_time"),
        (Self::Count, "count_over_time"),
    ];
}

/// How series are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The least of them.
    Least,
    /// The most of them.
    Most,
    /// How many there are.
    Count,
}

impl Aggregation {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Sum, "sum"),
        (Self::Mean, "avg"),
        (Self::Least, "min"),
        (Self::Most, "max"),
        (Self::Count, "count"),
    ];
}

/// Which series are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// Those with the same values of these labels, which stay.
    By(Vec<String>),
    /// Those with the same values of all other labels, which stay.
    Without(Vec<String>),
}

/// What stands between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `or`: all on the left, and those on the right that are not there.
    Or,
    /// `and`: those on the left that are on the right, too.
    And,
    /// `unless`: those on the left that are not on the right.
    Unless,
    /// `==`: comparisons keep what is on the left where they hold.
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `<`
    Below,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

impl Operator {
    /// As it is written, and how tightly it binds; those of two characters before those that they begin with.
    const ALL: [(Self, &'static str, u8); 13] = [
        (Self::Or, "or", 1),
        (Self::And, "and", 2),
        (Self::Unless, "unless", 2),
        (Self::Equal, "==", 3),
        (Self::NotEqual, "!=", 3),
        (Self::AtLeast, ">=", 3),
        (Self::AtMost, "<=", 3),
        (Self::Above, ">", 3),
        (Self::Below, "<", 3),
        (Self::Add, "+", 4),
        (Self::Subtract, "-", 4),
        (Self::Multiply, "*", 5),
        (Self::Divide, "/", 5),
    ];

    fn written(self) -> (&'static str, u8) {
        let row = Self::ALL.into_iter().find(|(operator, ..)| *operator == self);
        row.map_or(("", 0), |(_, text, binds)| (text, binds))
    }

    /// Whether it keeps or drops what is on the left.
    pub(crate) const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::AtLeast | Self::AtMost | Self::Above | Self::Below
        )
    }

    /// Whether it is about which series there are.
    pub(crate) const fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }
}

impl Expression {
    /// Whether it is a number rather than series.
    pub(crate) fn is_number(&self) -> bool {
        match self {
            Self::Number(_) | Self::Time => true,
            Self::Binary(operator, left, right) => {
                !operator.is_set() && left.is_number() && right.is_number()
            }
            _ => false,
        }
    }

    /// How far back it looks.
    #[must_use]
    pub fn reach(&self) -> Duration {
        match self {
            Self::Number(_) | Self::Time => Duration::ZERO,
            Self::Latest(_) => LOOKBACK,
            Self::Over(_, _, window) => *window,
            Self::Vector(of) | Self::Aggregate(_, _, of) | Self::Quantile(_, of) | Self::Absent(of) => {
                of.reach()
            }
            Self::Binary(_, left, right) => left.reach().max(right.reach()),
        }
    }

    /// The series that it looks at over windows, and how long these are.
    pub fn windows<'a>(&'a self, found: &mut Vec<(&'a Selector, Duration)>) {
        match self {
            Self::Number(_) | Self::Time | Self::Latest(_) => {}
            Self::Over(_, selector, window) => found.push((selector, *window)),
            Self::Vector(of) | Self::Aggregate(_, _, of) | Self::Quantile(_, of) | Self::Absent(of) => {
                of.windows(found);
            }
            Self::Binary(_, left, right) => {
                left.windows(found);
                right.windows(found);
            }
        }
    }

    /// The names of all series that it looks at.
    pub fn names(&self, found: &mut Vec<String>) {
        match self {
            Self::Number(_) | Self::Time => {}
            Self::Latest(selector) | Self::Over(_, selector, _) => found.push(selector.name.clone()),
            Self::Vector(of) | Self::Aggregate(_, _, of) | Self::Quantile(_, of) | Self::Absent(of) => {
                of.names(found)
            }
            Self::Binary(_, left, right) => {
                left.names(found);
                right.names(found);
            }
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Time => formatter.write_str("time()"),
            Self::Vector(of) => write!(formatter, "vector({of})"),
            Self::Latest(selector) => write!(formatter, "{selector}"),
            Self::Over(over, selector, window) => {
                let name =
                    Over::ALL.into_iter().find(|(known, _)| known == over).map_or("", |(_, name)| name);
                write!(formatter, "{name}({selector}[{}])", format_duration(*window))
            }
            Self::Aggregate(how, grouping, of) => {
                let known = Aggregation::ALL.into_iter().find(|(known, _)| known == how);
                let name = known.map_or("", |(_, name)| name);
                match grouping {
                    Grouping::By(labels) if labels.is_empty() => write!(formatter, "{name}({of})"),
                    Grouping::By(labels) => write!(formatter, "{name} by ({}) ({of})", labels.join(", ")),
                    Grouping::Without(labels) => {
                        write!(formatter, "{name} without ({}) ({of})", labels.join(", "))
                    }
                }
            }
            Self::Quantile(share, of) => write!(formatter, "histogram_quantile({share}, {of})"),
            Self::Absent(of) => write!(formatter, "absent({of})"),
            Self::Binary(operator, left, right) => {
                let (text, binds) = operator.written();
                let side = |of: &Self, right: bool| match of {
                    Self::Binary(inner, ..) if inner.written().1 < binds + u8::from(right) => {
                        format!("({of})")
                    }
                    of => of.to_string(),
                };
                write!(formatter, "{} {text} {}", side(left, false), side(right, true))
            }
        }
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
