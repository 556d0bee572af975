//! Reading expressions. What PromQL has and this does not is named, so that an import says what it lacks.

use super::{Aggregation, Expression, Grouping, Operator, Over};
use crate::{
    duration::parse_duration,
    fault::Fault,
    matcher::{Matcher, Matching, unescape},
    signals::Selector,
};
use std::{str::FromStr, time::Duration};

/// Deeper expressions are nobody's, and would need a deep stack.
const DEEPEST: usize = 50;

const NESTED: &str = "a window over anything but the samples of series";

/// Words of PromQL that change what an expression means, and that are not understood.
const UNSUPPORTED: [&str; 7] = ["offset", "bool", "on", "ignoring", "group_left", "group_right", "atan2"];

impl FromStr for Expression {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        let expression = reader.binary(0)?;
        reader.blank();
        if reader.at < text.len() {
            return Err(reader.unexpected("the end"));
        }
        Ok(expression)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips blanks and comments.
    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            let text = rest.trim_start();
            self.at += rest.len() - text.len();
            if !text.starts_with('#') {
                return;
            }
            self.at += text.find('\n').unwrap_or(text.len());
        }
    }

    fn unexpected(&self, expected: &str) -> Fault {
        let word = self.peek_word();
        if UNSUPPORTED.contains(&word) {
            return Fault::Unsupported(format!("`{word}`"));
        }
        match self.rest().chars().next() {
            Some('@') => Fault::Unsupported("`@`".to_owned()),
            Some(sign @ ('%' | '^')) => Fault::Unsupported(format!("the operator `{sign}`")),
            Some('[') => Fault::Unsupported(NESTED.to_owned()),
            _ => Fault::Syntax { at: self.at, problem: format!("{expected} was expected") },
        }
    }

    fn take(&mut self, token: &str) -> bool {
        self.blank();
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    fn need(&mut self, token: &str) -> Result<(), Fault> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected(&format!("`{token}`"))) }
    }

    fn peek_word(&self) -> &'a str {
        let rest = self.rest();
        let inside = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
        let end = rest.find(|character| !inside(character)).unwrap_or(rest.len());
        let word = &rest[..end];
        if word.starts_with(|first: char| first.is_ascii_digit()) { "" } else { word }
    }

    fn word(&mut self) -> &'a str {
        self.blank();
        let word = self.peek_word();
        self.at += word.len();
        word
    }

    /// What binds at least as tightly as `least`.
    fn binary(&mut self, least: u8) -> Result<Expression, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::invalid("the expression", "is nested too deeply"));
        }
        let mut left = self.atom()?;
        while let Some((operator, binds)) = self.operator().filter(|(_, binds)| *binds >= least) {
            self.at += operator.written().0.len();
            self.blank();
            if UNSUPPORTED.contains(&self.peek_word()) {
                return Err(self.unexpected("an expression"));
            }
            let right = self.binary(binds + 1)?;
            if operator.is_set() && (left.is_number() || right.is_number()) {
                return Err(Fault::invalid(
                    "the expression",
                    "has a number where `and`, `or` and `unless` need series",
                ));
            }
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&mut self) -> Option<(Operator, u8)> {
        self.blank();
        let word = self.peek_word().to_ascii_lowercase();
        let rest = self.rest();
        Operator::ALL.into_iter().find_map(|(operator, text, binds)| {
            let there = if operator.is_set() { word == text } else { rest.starts_with(text) };
            there.then_some((operator, binds))
        })
    }

    fn atom(&mut self) -> Result<Expression, Fault> {
        self.blank();
        match self.rest().chars().next() {
            Some('(') => {
                self.at += 1;
                let inner = self.binary(0)?;
                self.need(")")?;
                Ok(inner)
            }
            Some('-') => {
                self.at += 1;
                match self.atom()? {
                    Expression::Number(number) => Ok(Expression::Number(-number)),
                    of => Ok(Expression::Binary(
                        Operator::Multiply,
                        Box::new(Expression::Number(-1.0)),
                        Box::new(of),
                    )),
                }
            }
            Some('{') => Err(Fault::Unsupported("a selector without a name".to_owned())),
            Some(digit) if digit.is_ascii_digit() || digit == '.' => self.number().map(Expression::Number),
            _ => self.named(),
        }
    }

    fn number(&mut self) -> Result<f64, Fault> {
        self.blank();
        let rest = self.rest();
        let mut end = rest
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(rest.len());
        if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let digits = exponent[sign..].find(|digit: char| !digit.is_ascii_digit());
            end += 1 + sign + digits.unwrap_or(exponent.len() - sign);
        }
        let number = rest[..end].parse().map_err(|_| self.unexpected("a number"))?;
        self.at += end;
        Ok(number)
    }

    /// Whatever begins with a name.
    fn named(&mut self) -> Result<Expression, Fault> {
        let begin = self.at;
        let name = self.word();
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "" => return Err(self.unexpected("an expression")),
            "inf" => return Ok(Expression::Number(f64::INFINITY)),
            _ => {}
        }
        if let Some((how, _)) = Aggregation::ALL.into_iter().find(|(_, known)| *known == lower) {
            return self.aggregate(how);
        }
        if !self.take("(") {
            self.at = begin;
            let selector = self.selector()?;
            self.blank();
            return match self.rest().starts_with('[') {
                true => Err(Fault::invalid("the expression", "has a window outside of a function")),
                false => Ok(Expression::Latest(selector)),
            };
        }
        let called = if let Some((over, _)) = Over::ALL.into_iter().find(|(_, known)| *known == name) {
            // A call or a parenthesis, where only the name of series can stand.
            let selector = match self.take("(") {
                true => Err(Fault::Unsupported(NESTED.to_owned())),
                false => self.selector(),
            }?;
            if self.take("(") {
                return Err(Fault::Unsupported(NESTED.to_owned()));
            }
            Expression::Over(over, selector, self.window()?)
        } else {
            match name {
                "time" => Expression::Time,
                "vector" => Expression::Vector(Box::new(self.scalar()?)),
                "absent" => Expression::Absent(Box::new(self.series()?)),
                "histogram_quantile" => {
                    let share = self.number()?;
                    self.need(",")?;
                    Expression::Quantile(share, Box::new(self.series()?))
                }
                other => return Err(Fault::Unsupported(format!("the function `{other}`"))),
            }
        };
        self.need(")")?;
        Ok(called)
    }

    fn scalar(&mut self) -> Result<Expression, Fault> {
        let of = self.binary(0)?;
        if of.is_number() {
            Ok(of)
        } else {
            Err(Fault::invalid("the expression", "has series where a number is needed"))
        }
    }

    fn series(&mut self) -> Result<Expression, Fault> {
        let of = self.binary(0)?;
        if of.is_number() {
            Err(Fault::invalid("the expression", "has a number where series are needed"))
        } else {
            Ok(of)
        }
    }

    fn aggregate(&mut self, how: Aggregation) -> Result<Expression, Fault> {
        let before = self.grouping()?;
        self.need("(")?;
        let of = self.series()?;
        self.need(")")?;
        let grouping = match before {
            Some(grouping) => grouping,
            None => self.grouping()?.unwrap_or(Grouping::By(Vec::new())),
        };
        Ok(Expression::Aggregate(how, grouping, Box::new(of)))
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, Fault> {
        self.blank();
        let kind: fn(Vec<String>) -> Grouping = match self.peek_word().to_ascii_lowercase().as_str() {
            "by" => Grouping::By,
            "without" => Grouping::Without,
            _ => return Ok(None),
        };
        self.word();
        self.need("(")?;
        let mut labels = Vec::new();
        while !self.take(")") {
            let label = self.word();
            if label.is_empty() {
                return Err(self.unexpected("the name of a label"));
            }
            labels.push(label.to_owned());
            self.take(",");
        }
        Ok(Some(kind(labels)))
    }

    fn selector(&mut self) -> Result<Selector, Fault> {
        let name = self.word();
        if name.is_empty() {
            return Err(self.unexpected("the name of series"));
        }
        let mut matchers = Vec::new();
        if self.take("{") {
            while !self.take("}") {
                let label = self.word();
                let signs = [Matching::Regex, Matching::NotRegex, Matching::NotEqual, Matching::Equal];
                let how = signs.into_iter().find(|how| self.take(how.text()));
                let how = how.ok_or_else(|| self.unexpected("`=`, `!=`, `=~` or `!~`"))?;
                matchers.push(Matcher::new(label, how, self.quoted()?)?);
                self.take(",");
            }
        }
        Ok(Selector { name: name.to_owned(), matchers })
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        self.blank();
        let quote = self.rest().chars().next().filter(|quote| matches!(quote, '"' | '\''));
        let quote = quote.ok_or_else(|| self.unexpected("a value in quotes"))?;
        let inside = &self.rest()[1..];
        let mut escaped = false;
        let end = inside.find(|character| {
            let is_end = character == quote && !escaped;
            escaped = character == '\\' && !escaped;
            is_end
        });
        let end = end.ok_or_else(|| self.unexpected("a value that ends"))?;
        let value =
            unescape(&inside[..end]).ok_or_else(|| self.unexpected("a value without unknown escapes"))?;
        self.at += end + 2;
        Ok(value)
    }

    fn window(&mut self) -> Result<Duration, Fault> {
        self.need("[")?;
        let end = self.rest().find(']').ok_or_else(|| self.unexpected("`]`"))?;
        let text = self.rest()[..end].trim();
        if text.contains(':') {
            return Err(Fault::Unsupported("a subquery".to_owned()));
        }
        let window = parse_duration(text)?;
        if window.is_zero() {
            return Err(Fault::invalid("the expression", "has an empty window"));
        }
        self.at += end + 1;
        Ok(window)
    }
}
