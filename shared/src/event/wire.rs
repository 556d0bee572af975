//! Events as the contract says them, without what opens or names anything.

use super::{Event, Link};
use crate::time;
use prost_types::{ListValue, Struct, Value, value::Kind};
use proto::common::v1 as pb;
use serde_json::Value as Json;

/// What is left out at any depth: digests of secrets, and what names a person.
const HIDDEN: [&str; 4] = ["hash", "email", "display_name", "password"];
/// Whole numbers up to here survive as the floating point numbers that JSON has.
const EXACT: u64 = 1 << 53;

/// One event of a service's log, with its link when it has one.
#[must_use]
pub fn to_proto(service: &str, event: &Event, link: Option<Link>) -> pb::Event {
    pb::Event {
        revision: event.revision.get(),
        ordinal: event.ordinal,
        time: Some(time::to_proto(event.at)),
        actor: event.actor.clone(),
        key_id: event.key.clone().unwrap_or_default(),
        request_id: event.request_id.clone(),
        reason: event.reason.clone(),
        kind: event.kind.clone(),
        id: event.id.clone(),
        action: event.action.clone(),
        before: event.before.as_ref().map(object),
        after: event.after.as_ref().map(object),
        change: event.change.as_ref().map(object),
        link: link.map(|link| hex::encode(link.0)).unwrap_or_default(),
        service: service.to_owned(),
    }
}

/// What is no object stands under `value`.
fn object(json: &Json) -> Struct {
    match json {
        Json::Object(fields) => {
            let shown = fields.iter().filter(|(name, _)| !HIDDEN.contains(&name.as_str()));
            Struct { fields: shown.map(|(name, field)| (name.clone(), value(field))).collect() }
        }
        other => Struct { fields: [("value".to_owned(), value(other))].into() },
    }
}

fn value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => match number.as_f64().filter(|_| is_exact(number)) {
            Some(float) => Kind::NumberValue(float),
            None => Kind::StringValue(number.to_string()),
        },
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Json::Object(_) => Kind::StructValue(object(json)),
    };
    Value { kind: Some(kind) }
}

fn is_exact(number: &serde_json::Number) -> bool {
    let magnitude = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
    magnitude.is_none_or(|magnitude| magnitude <= EXACT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn digests_and_names_are_left_out_and_large_numbers_stay_exact() {
        let shown = object(&json!({
            "put_key": { "hash": "00", "id": "1", "previous": [{ "hash": "11", "until": 9_007_199_254_740_993_i64 }] },
            "email": "ana@example.org",
            "n": -5,
        }));
        let inner = object(&json!({ "id": "1", "previous": [{ "until": "9007199254740993" }] }));
        let expected = [
            ("n".to_owned(), Value { kind: Some(Kind::NumberValue(-5.0)) }),
            ("put_key".to_owned(), Value { kind: Some(Kind::StructValue(inner)) }),
        ];
        assert_eq!(shown.fields, expected.into());
        assert_eq!(object(&json!("a")).fields["value"].kind, Some(Kind::StringValue("a".to_owned())));
    }
}
