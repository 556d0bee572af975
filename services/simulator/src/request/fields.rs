//! Typed values out of a body, read as leniently as the real engine reads them ("5" is an integer, 2.0 too), and the
//! list of what is wrong with the others.

use serde_json::Value;

use super::body::Body;
use crate::errors::ApiError;

/// At most this many problems are spelt out.
const SHOWN: usize = 10;

/// Integers that must fit into 64 bits; others are only too large for what they are used for.
const BOUNDED: [&str; 2] = ["priority", "seed"];
/// Characters of a text that are quoted back.
const QUOTED: usize = 200;

/// One thing wrong with a body.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: &'static str,
    pub(crate) at: String,
    pub(crate) message: String,
    pub(crate) input: String,
    /// Further details, already in the notation of the answer.
    pub(crate) context: Option<String>,
}

/// Everything wrong with a body.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

/// Reads the fields of a body one after the other and remembers the problems.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    body: &'a Body,
    /// What the names of the fields begin with, such as `body.`.
    prefix: &'static str,
    pub(crate) problems: Problems,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(body: &'a Body, prefix: &'static str) -> Self {
        Self { body, prefix, problems: Problems::default() }
    }

    /// A value that is there and not null.
    pub(crate) fn given(&self, name: &str) -> Option<&'a Value> {
        self.body.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn report(&mut self, kind: &'static str, name: &str, message: &str, value: &Value) {
        let at = format!("{}{name}", self.prefix);
        self.problems.0.push(Problem::new(kind, &at, message, value));
    }

    pub(crate) fn missing(&mut self, name: &str) {
        let whole = Value::Object(self.body.clone());
        self.problems.0.push(Problem::missing(&format!("{}{name}", self.prefix), &whole));
    }

    /// An integer; null counts as absent.
    pub(crate) fn int(&mut self, name: &str) -> Option<i64> {
        let value = self.given(name)?;
        self.whole_number(name, value)
    }

    /// An integer that may be absent but not null.
    pub(crate) fn strict_int(&mut self, name: &str) -> Option<i64> {
        let value = self.body.get(name)?;
        self.whole_number(name, value)
    }

    fn whole_number(&mut self, name: &str, value: &Value) -> Option<i64> {
        match integer(value) {
            Ok(number) => return Some(number),
            Err(NotInteger::OutOfRange(nearest)) if !BOUNDED.contains(&name) => return Some(nearest),
            Err(NotInteger::OutOfRange(nearest)) => self.out_of_range(name, value, nearest),
            Err(NotInteger::Fraction) => {
                self.report(
                    "int_from_float",
                    name,
                    "Input should be a valid integer, got a number with a fractional part",
                    value,
                );
            }
            Err(NotInteger::Text) => {
                self.report(
                    "int_parsing",
                    name,
                    "Input should be a valid integer, unable to parse string as an integer",
                    value,
                );
            }
            Err(NotInteger::Other) => self.report("int_type", name, "Input should be a valid integer", value),
        }
        None
    }

    fn out_of_range(&mut self, name: &str, value: &Value, nearest: i64) {
        let (kind, sign, relation) = match nearest {
            i64::MAX => ("less_than_equal", "le", "less"),
            _ => ("greater_than_equal", "ge", "greater"),
        };
        self.report(kind, name, &format!("Input should be {relation} than or equal to {nearest}"), value);
        if let Some(problem) = self.problems.0.last_mut() {
            problem.context = Some(format!("{{'{sign}': {nearest}}}"));
        }
    }

    /// A number; null counts as absent.
    pub(crate) fn float(&mut self, name: &str) -> Option<f64> {
        let value = self.given(name)?;
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Value::String(text) => {
                let parsed = text.trim().parse().ok();
                if parsed.is_none() {
                    let message = "Input should be a valid number, unable to parse string as a number";
                    self.report("float_parsing", name, message, value);
                }
                return parsed;
            }
            _ => None,
        };
        if number.is_none() {
            self.report("float_type", name, "Input should be a valid number", value);
        }
        number
    }

    /// A flag; null counts as absent.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.given(name)?;
        self.truth(name, value)
    }

    /// A flag that may be absent but not null.
    pub(crate) fn strict_flag(&mut self, name: &str) -> Option<bool> {
        let value = self.body.get(name)?;
        self.truth(name, value)
    }

    fn truth(&mut self, name: &str, value: &Value) -> Option<bool> {
        let truth = match value {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
            Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
            Value::String(text) => spoken_truth(text),
            Value::Number(_) => None,
            _ => {
                self.report("bool_type", name, "Input should be a valid boolean", value);
                return None;
            }
        };
        if truth.is_none() {
            self.report(
                "bool_parsing",
                name,
                "Input should be a valid boolean, unable to interpret input",
                value,
            );
        }
        truth
    }

    /// A text; null counts as absent.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let value = self.given(name)?;
        if let Value::String(text) = value {
            return Some(text.clone());
        }
        self.report("string_type", name, "Input should be a valid string", value);
        None
    }

    /// Ends the reading: an error when anything was wrong.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.problems.0.is_empty() { Ok(()) } else { Err(self.problems.into_error()) }
    }
}

enum NotInteger {
    /// Beyond 64 bits; the nearest number within.
    OutOfRange(i64),
    Fraction,
    Text,
    Other,
}

fn integer(value: &Value) -> Result<i64, NotInteger> {
    match value {
        Value::Bool(flag) => Ok(i64::from(*flag)),
        Value::String(text) => text.trim().parse().map_err(|_| NotInteger::Text),
        Value::Number(number) => {
            if let Some(whole) = number.as_i64() {
                return Ok(whole);
            }
            let float = number.as_f64().unwrap_or(f64::NAN);
            match float.fract() == 0.0 {
                true if float.abs() < i64::MAX as f64 => Ok(float as i64),
                true if float > 0.0 => Err(NotInteger::OutOfRange(i64::MAX)),
                true => Err(NotInteger::OutOfRange(i64::MIN)),
                false => Err(NotInteger::Fraction),
            }
        }
        _ => Err(NotInteger::Other),
    }
}

fn spoken_truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

impl Problem {
    pub(crate) fn new(kind: &'static str, at: &str, message: &str, value: &Value) -> Self {
        Self { kind, at: at.to_owned(), message: message.to_owned(), input: shown(value), context: None }
    }

    pub(crate) fn missing(at: &str, whole: &Value) -> Self {
        Self::new("missing", at, "Field required", whole)
    }

    pub(crate) fn not_an_object(at: &str, value: &Value) -> Self {
        let message = "Input should be a valid dictionary or object to extract fields from";
        Self::new("model_attributes_type", at, message, value)
    }

    pub(crate) fn not_json(at: usize, problem: &str) -> Self {
        let nothing = Value::Object(Body::new());
        let context = Some(format!("{{'error': {}}}", quoted(problem)));
        Self { context, ..Self::new("json_invalid", &format!("body.{at}"), "JSON decode error", &nothing) }
    }

    fn describe(&self) -> String {
        let context = self.context.as_ref().map_or_else(String::new, |context| format!(", 'ctx': {context}"));
        let (at, message, input) = (quoted(&self.at), quoted(&self.message), quoted(&self.input));
        format!("\n  {{'type': '{}', 'loc': {at}, 'msg': {message}, 'input': {input}{context}}}", self.kind)
    }
}

impl Problems {
    pub(crate) fn into_error(self) -> ApiError {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        let mut message = format!("{} validation error{plural}:", self.0.len());
        for problem in self.0.iter().take(SHOWN) {
            message.push_str(&problem.describe());
        }
        if self.0.len() > SHOWN {
            message.push_str(&format!("\n  ...and {} more errors", self.0.len() - SHOWN));
        }
        ApiError::invalid_body(self.0.into_iter().next().map(|problem| problem.at), message)
    }
}

/// A value as the answer names it: short ones in full, lists and objects by their size.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => abridged(text),
        Value::Array(list) => format!("<list of {} items>", list.len()),
        Value::Object(object) => format!("<dict of {} items>", object.len()),
    }
}

fn abridged(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...[truncated]", &text[..end]),
        None => text.to_owned(),
    }
}

/// A string as Python writes it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter == quote => {
                out.push('\\');
                out.push(letter);
            }
            letter => out.push(letter),
        }
    }
    out.push(quote);
    out
}
