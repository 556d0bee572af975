//! Messages and enums as JSON Schema, collected while the operations ask for them.

use super::comments::Comments;
use crate::rest::parameters::is_well_known;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// The schemas that are in use so far.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    pub(crate) comments: Comments,
    known: Map<String, Value>,
}

impl Schemas {
    /// A reference to a message's schema, which is written when it is new.
    pub(crate) fn of_message(&mut self, message: &MessageDescriptor) -> Value {
        if is_well_known(message) {
            return well_known(message.name());
        }
        let name = message.full_name().to_owned();
        if !self.known.contains_key(&name) {
            // Taken before it is written: messages may contain themselves.
            self.known.insert(name.clone(), Value::Null);
            let schema = self.object(message, &[]);
            self.known.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// A message written out, without some of its fields.
    pub(crate) fn object(&mut self, message: &MessageDescriptor, without: &[&str]) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields().filter(|field| !without.contains(&field.name())) {
            let mut schema = self.of_field(&field);
            let description = self.describe(&field);
            if !description.is_empty() {
                schema["description"] = Value::from(description);
            }
            if behaves(&field, "OUTPUT_ONLY") {
                schema["readOnly"] = Value::from(true);
            }
            if behaves(&field, "REQUIRED") {
                required.push(field.name().to_owned());
            }
            properties.insert(field.name().to_owned(), schema);
        }
        let mut object = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            object["required"] = Value::from(required);
        }
        let description = self.comments.of(&message.parent_file(), message.path());
        if !description.is_empty() {
            object["description"] = Value::from(description);
        }
        object
    }

    /// The schema of a field's value.
    pub(crate) fn of_field(&mut self, field: &FieldDescriptor) -> Value {
        let kind = field.kind();
        if let Some(entry) = kind.as_message().filter(|_| field.is_map()) {
            let value = self.of_kind(&entry.map_entry_value_field().kind());
            return json!({"type": "object", "additionalProperties": value});
        }
        let value = self.of_kind(&kind);
        if field.is_list() { json!({"type": "array", "items": value}) } else { value }
    }

    fn of_kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({"type": "integer", "format": "int64"}),
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "format": "uint32", "minimum": 0}),
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "integer", "format": "uint64", "minimum": 0}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Message(message) => self.of_message(message),
            Kind::Enum(values) => self.of_enum(values),
        }
    }

    fn of_enum(&mut self, values: &EnumDescriptor) -> Value {
        let name = values.full_name().to_owned();
        if !self.known.contains_key(&name) {
            let file = values.parent_file();
            let mut lines = vec![self.comments.of(&file, values.path())];
            for value in values.values() {
                let comment = self.comments.of(&file, value.path());
                if !comment.is_empty() {
                    lines.push(format!("- `{}`: {comment}", value.name()));
                }
            }
            let names: Vec<_> = values.values().map(|value| value.name().to_owned()).collect();
            let schema = json!({"type": "string", "enum": names, "description": lines.join("\n").trim()});
            self.known.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn describe(&mut self, field: &FieldDescriptor) -> String {
        let mut text = self.comments.of(&field.parent_file(), field.path());
        if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
            let names: Vec<_> = oneof.fields().map(|field| format!("`{}`", field.name())).collect();
            text = format!("{text} At most one of {} is given.", names.join(", ")).trim_start().to_owned();
        }
        text
    }

    /// All schemas, with those of the envelope.
    pub(crate) fn finish(mut self) -> Value {
        self.known.insert("Success".to_owned(), success());
        self.known.insert("Failure".to_owned(), failure());
        Value::Object(self.known)
    }
}

/// Whether a field carries one of `google.api.field_behavior`.
pub(crate) fn behaves(field: &FieldDescriptor, behavior: &str) -> bool {
    let Some(option) =
        field.parent_message().parent_pool().get_extension_by_name("google.api.field_behavior")
    else {
        return false;
    };
    let Some(behaviors) = option.kind().as_enum().cloned() else { return false };
    let options = field.options();
    let given = options.get_extension(&option);
    given.as_list().unwrap_or_default().iter().any(|value| {
        let value = value.as_enum_number().and_then(|number| behaviors.get_value(number));
        value.is_some_and(|value| value.name() == behavior)
    })
}

/// Messages that are one JSON value.
fn well_known(name: &str) -> Value {
    match name {
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => {
            json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$", "examples": ["1.5s"]})
        }
        "FieldMask" | "StringValue" => json!({"type": "string"}),
        "BytesValue" => json!({"type": "string", "contentEncoding": "base64"}),
        "BoolValue" => json!({"type": "boolean"}),
        "DoubleValue" | "FloatValue" => json!({"type": "number"}),
        "Int32Value" | "Int64Value" | "UInt32Value" | "UInt64Value" => json!({"type": "integer"}),
        "ListValue" => json!({"type": "array", "items": {}}),
        "Value" => json!({}),
        _ => json!({"type": "object"}),
    }
}

fn success() -> Value {
    json!({
        "type": "object",
        "description": "The envelope of every answer.",
        "required": ["success", "data", "error", "error_code", "message", "request_id", "timestamp", "pagination"],
        "properties": {
            "success": {"const": true},
            "data": {},
            "error": {"type": "null"},
            "error_code": {"type": "null"},
            "message": {"type": "null"},
            "request_id": {"type": "string"},
            "timestamp": {"type": "string", "format": "date-time"},
            "pagination": {
                "description": "Null on the last page, and where there are no pages.",
                "oneOf": [
                    {"type": "null"},
                    {
                        "type": "object",
                        "required": ["next_page_token"],
                        "properties": {"next_page_token": {"type": "string"}},
                    },
                ],
            },
        },
    })
}

fn failure() -> Value {
    let violation = |name: &str| {
        json!({"type": "array", "items": {
            "type": "object",
            "properties": {name: {"type": "string"}, "description": {"type": "string"}},
        }})
    };
    json!({
        "type": "object",
        "description": "The envelope of every failure. `message` says the same as `error`.",
        "required": ["success", "data", "error", "error_code", "message", "request_id", "timestamp", "pagination"],
        "properties": {
            "success": {"const": false},
            "data": {"type": "null"},
            "error": {"type": "string", "description": "What happened and what to do."},
            "error_code": {"type": "string", "description": "Stable reason in SCREAMING_CASE."},
            "message": {"type": "string"},
            "details": {"type": "object", "properties": {
                "field_violations": violation("field"),
                "preconditions": violation("subject"),
                "quotas": violation("subject"),
                "resource": {"type": "object", "properties": {
                    "type": {"type": "string"},
                    "name": {"type": "string"},
                    "description": {"type": "string"},
                }},
                "retry_after": {"type": "number", "description": "Seconds."},
                "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
            "request_id": {"type": "string"},
            "timestamp": {"type": "string", "format": "date-time"},
            "pagination": {"type": "null"},
        },
    })
}
