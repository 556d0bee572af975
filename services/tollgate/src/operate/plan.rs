//! What a command does: the method, what it is sent, and how the answer is shown.

use serde_json::{Map, Value};

/// One call to make and how to show what it answers.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Service and method, as `GrantService/CreateGrant`.
    pub(crate) method: &'static str,
    /// The request, by field names.
    pub(crate) request: Value,
    pub(crate) shape: Shape,
}

/// What of an answer is shown.
#[derive(Debug)]
pub(crate) enum Shape {
    /// The rows of a paged list.
    List { rows: &'static str, columns: &'static [Column] },
    /// One thing, field by field; the whole answer when it has no name.
    Thing { field: &'static str },
    /// The messages of a stream, as rows; of each, the field that holds the row.
    Stream { row: &'static str, columns: &'static [Column] },
    /// A page of lines, made of the answer.
    Page { lines: fn(&Value) -> Vec<String> },
    /// Nothing but that it was done.
    Done { said: &'static str },
    /// The bytes of a stream as they are; of each message, the field that holds them.
    Bytes { field: &'static str },
}

/// A column: its title and where its value is in a row.
pub(crate) type Column = (&'static str, &'static str);

impl Plan {
    pub(crate) const fn new(method: &'static str, request: Value, shape: Shape) -> Self {
        Self { method, request, shape }
    }

    /// A paged list.
    pub(crate) const fn list(
        method: &'static str,
        request: Value,
        rows: &'static str,
        columns: &'static [Column],
    ) -> Self {
        Self::new(method, request, Shape::List { rows, columns })
    }

    /// A call that answers one thing.
    pub(crate) const fn thing(method: &'static str, request: Value, field: &'static str) -> Self {
        Self::new(method, request, Shape::Thing { field })
    }

    /// The messages of a stream, as rows.
    pub(crate) const fn stream(
        method: &'static str,
        request: Value,
        row: &'static str,
        columns: &'static [Column],
    ) -> Self {
        Self::new(method, request, Shape::Stream { row, columns })
    }

    /// The bytes of a stream.
    pub(crate) const fn bytes(method: &'static str, request: Value, field: &'static str) -> Self {
        Self::new(method, request, Shape::Bytes { field })
    }

    /// A call of which only matters that it was done.
    pub(crate) const fn done(method: &'static str, request: Value, said: &'static str) -> Self {
        Self::new(method, request, Shape::Done { said })
    }
}

/// A request of the fields that are given; what is left out stays out.
pub(crate) fn request(fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<String, Value>>())
}
