//! One way to write a request: fields in order, no spaces, each number and each string in one form.
//!
//! The text is read once and written once; no tree is built. Two bodies that engines take for the same have the same
//! canonical form, as far as JSON says so.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt, ops::Range};

/// Appends the canonical form of an object. `leave_out` is asked for each field of the outermost one, with the
/// canonical form of its value.
///
/// # Errors
/// When it is no JSON object.
pub(super) fn write(
    json: &[u8],
    out: &mut Vec<u8>,
    leave_out: impl Fn(&str, &[u8]) -> bool,
) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Object { out, leave_out: &leave_out }.deserialize(&mut reader)?;
    reader.end()
}

/// Appends the canonical form of any value.
pub(super) fn value(json: &[u8], out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Value(out).deserialize(&mut reader)?;
    reader.end()
}

struct Object<'o, F> {
    out: &'o mut Vec<u8>,
    leave_out: &'o F,
}

impl<'de, F: Fn(&str, &[u8]) -> bool> DeserializeSeed<'de> for Object<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, F: Fn(&str, &[u8]) -> bool> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        object(map, self.out, self.leave_out)
    }
}

/// A value of any kind.
struct Value<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        json(&value, self.0)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        json(&value, self.0)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // Below this, every whole number has its own place.
        if value.fract() == 0.0 && value.abs() < 9e15 {
            json(&(value as i64), self.0)
        } else {
            json(&value, self.0)
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        json(value, self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        let start = self.0.len();
        while seq.next_element_seed(Value(self.0))?.is_some() {
            self.0.push(b',');
        }
        close(self.0, start, b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        object(map, self.0, &|_, _| false)
    }
}

/// A field's name, without a copy where its text has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}

fn object<'de, A: MapAccess<'de>>(
    mut map: A,
    out: &mut Vec<u8>,
    leave_out: &impl Fn(&str, &[u8]) -> bool,
) -> Result<(), A::Error> {
    out.push(b'{');
    let start = out.len();
    let mut fields: Vec<(Name<'de>, Range<usize>)> = Vec::new();
    while let Some(name) = map.next_key::<Name<'de>>()? {
        let from = out.len();
        json(name.0.as_ref(), out)?;
        out.push(b':');
        let value = out.len();
        map.next_value_seed(Value(out))?;
        if leave_out(&name.0, &out[value..]) {
            out.truncate(from);
            continue;
        }
        out.push(b',');
        fields.push((name, from..out.len()));
    }
    if !fields.is_sorted_by(|(one, _), (other, _)| one.0 <= other.0) {
        // Stable: of two fields of one name, engines take the last.
        fields.sort_by(|(one, _), (other, _)| one.0.cmp(&other.0));
        let mut sorted = Vec::with_capacity(out.len() - start);
        for (_, range) in &fields {
            sorted.extend_from_slice(&out[range.clone()]);
        }
        out.truncate(start);
        out.append(&mut sorted);
    }
    close(out, start, b'}');
    Ok(())
}

/// Ends what began at `start`; of its parts, each has a comma behind it.
fn close(out: &mut Vec<u8>, start: usize, with: u8) {
    if out.len() > start {
        out.pop();
    }
    out.push(with);
}

fn json<T: serde::Serialize + ?Sized, E: Error>(value: &T, out: &mut Vec<u8>) -> Result<(), E> {
    serde_json::to_writer(out, value).map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value as Tree, json};

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        write(text.as_bytes(), &mut out, |_, _| false).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn order_spaces_escapes_and_ways_to_write_a_number_are_one() {
        let one = canonical(r#"{"b": [1.0, {"y": 2e0, "x": "\u0041"}], "a": null}"#);
        assert_eq!(one, canonical(r#"{"a":null,"b":[1,{"x":"A","y":2}]}"#));
        assert_eq!(one, r#"{"a":null,"b":[1,{"x":"A","y":2}]}"#);
        assert_ne!(canonical(r#"{"a":"1"}"#), canonical(r#"{"a":1}"#));
        assert_ne!(canonical(r#"{"a":0.1}"#), canonical(r#"{"a":0.2}"#));
        assert_ne!(canonical(r#"{"a":[1,2]}"#), canonical(r#"{"a":[2,1]}"#));
    }

    #[test]
    fn what_is_left_out_is_left_out_of_the_outermost_object_alone() {
        let mut out = Vec::new();
        let body = br#"{"user":"u","n":1,"messages":[{"user":"kept"}]}"#;
        write(body, &mut out, |name, value| name == "user" || (name, value) == ("n", b"1")).unwrap();
        assert_eq!(out, br#"{"messages":[{"user":"kept"}]}"#);
        assert!(write(b"[1]", &mut out, |_, _| false).is_err());
        assert!(write(br#"{"a":1} x"#, &mut out, |_, _| false).is_err());
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Null),
            any::<bool>().prop_map(Tree::from),
            any::<i64>().prop_map(Tree::from),
            ".{0,6}".prop_map(Tree::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::from),
                prop::collection::btree_map(".{0,3}", inner, 0..6)
                    .prop_map(|map| Tree::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same with the fields of every object the other way round.
    fn reversed(tree: &Tree) -> String {
        match tree {
            Tree::Object(map) => {
                let fields: Vec<_> = map
                    .iter()
                    .rev()
                    .map(|(name, value)| format!("{} : {}", json!(name), reversed(value)))
                    .collect();
                format!("{{ {} }}", fields.join(" ,"))
            }
            Tree::Array(items) => format!("[{}]", items.iter().map(reversed).collect::<Vec<_>>().join(", ")),
            leaf => leaf.to_string(),
        }
    }

    proptest! {
        #[test]
        fn equal_trees_and_no_others_have_equal_forms(one in trees(), other in trees()) {
            let wrap = |tree: &Tree| Tree::Object(Map::from_iter([("a".to_owned(), tree.clone())]));
            let (one, other) = (wrap(&one), wrap(&other));
            prop_assert_eq!(canonical(&one.to_string()), canonical(&reversed(&one)));
            prop_assert_eq!(one == other, canonical(&one.to_string()) == canonical(&other.to_string()));
        }
    }
}
