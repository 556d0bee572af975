//! One line of a batch: what it asks, and what is written of its answer. All in OpenAI's shapes.

use super::Fault;
use crate::{openai::error::said, prompt::Endpoint, store::batches::Line};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// Longest name of a line, in characters.
const NAME: usize = 512;

/// What a line asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// What its owner calls it.
    pub(crate) name: String,
    /// What is sent.
    pub(crate) body: Bytes,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow, default)]
    custom_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    url: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

/// Reads a line of a batch for this endpoint.
pub(crate) fn read(number: u32, line: &[u8], endpoint: Endpoint) -> Result<Ask, Fault> {
    let fault = |code: &str, param: Option<&str>, message: String| Fault {
        code: code.to_owned(),
        message,
        param: param.map(str::to_owned),
        line: Some(number),
    };
    // Serde would take an array for a struct, field by field.
    let read: Option<Read<'_>> =
        if line.first() == Some(&b'{') { serde_json::from_slice(line).ok() } else { None };
    let Some(read) = read else {
        return Err(fault(
            "invalid_json_line",
            None,
            "this line is not a JSON object with each field once".into(),
        ));
    };
    let missing =
        |param: &str| fault("missing_required_parameter", Some(param), format!("`{param}` is required"));
    let name = read.custom_id.filter(|name| !name.is_empty()).ok_or_else(|| missing("custom_id"))?;
    if name.chars().nth(NAME).is_some() {
        let message = format!("`custom_id` may have {NAME} characters");
        return Err(fault("invalid_custom_id", Some("custom_id"), message));
    }
    if read.method.as_deref() != Some("POST") {
        return Err(fault("invalid_method", Some("method"), "`method` must be POST".into()));
    }
    if read.url.as_deref() != Some(endpoint.path()) {
        let message = format!("`url` must be {}, the endpoint of the batch", endpoint.path());
        return Err(fault("mismatched_endpoint", Some("url"), message));
    }
    let body = read.body.ok_or_else(|| missing("body"))?;
    Ok(Ask { name: name.into_owned(), body: Bytes::copy_from_slice(body.get().as_bytes()) })
}

#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    custom_id: &'a str,
    response: Option<Response<'a>>,
    error: Option<Error<'a>>,
}

#[derive(Serialize)]
struct Response<'a> {
    status_code: u16,
    request_id: &'a str,
    body: &'a RawValue,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
}

/// The name of a line in the ledger, and in what is written of it.
pub(crate) fn id(batch: Uuid, number: u32) -> String {
    format!("batch_req_{}_{number}", batch.simple())
}

/// What is written of an answer, or of a refusal.
pub(crate) fn answered(
    batch: Uuid,
    number: u32,
    ask: &Ask,
    answer: Result<&[u8], crate::error::Error>,
) -> Line {
    let id = id(batch, number);
    let (failed, status_code, text) = match answer {
        Ok(body) => (false, 200, String::from_utf8_lossy(body).trim().to_owned()),
        Err(error) => {
            let (status, body) = said(error);
            (true, status, body)
        }
    };
    let written = serde_json::from_str::<&RawValue>(&text).map(|body| {
        let response = Some(Response { status_code, request_id: &id, body });
        write(&Written { id: &id, custom_id: &ask.name, response, error: None })
    });
    match written {
        Ok(body) => Line { number, failed, body },
        Err(_) => given_up(batch, number, ask, "invalid_answer", "the engine's answer was not understood"),
    }
}

/// What is written of a line that was not answered.
pub(crate) fn given_up(batch: Uuid, number: u32, ask: &Ask, code: &str, message: &str) -> Line {
    let error = Some(Error { code, message });
    let written = Written { id: &id(batch, number), custom_id: &ask.name, response: None, error };
    Line { number, failed: true, body: write(&written) }
}

/// As one line: an engine may have put its answer on several.
fn write(written: &Written<'_>) -> Vec<u8> {
    let mut line = serde_json::to_vec(written).unwrap_or_default();
    // Between values they are spaces, and within strings they are escaped.
    for byte in line.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> String {
        read(7, line.as_bytes(), Endpoint::Chat).map_or_else(|fault| fault.code, |ask| ask.name)
    }

    #[test]
    fn a_line_names_itself_and_what_it_asks() {
        let good =
            r#"{"custom_id":"a\"b","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}"#;
        let ask = read(1, good.as_bytes(), Endpoint::Chat).unwrap();
        assert_eq!((ask.name.as_str(), &ask.body[..]), ("a\"b", &br#"{"model":"m"}"#[..]));
        for (line, expected) in [
            ("nonsense", "invalid_json_line"),
            (r#"["a","POST","/v1/chat/completions",{}]"#, "invalid_json_line"),
            ("{}", "missing_required_parameter"),
            (r#"{"custom_id":"","method":"POST"}"#, "missing_required_parameter"),
            (r#"{"custom_id":"a","method":"GET"}"#, "invalid_method"),
            (r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings"}"#, "mismatched_endpoint"),
            (
                r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions"}"#,
                "missing_required_parameter",
            ),
            (r#"{"custom_id":"a","custom_id":"b","method":"POST"}"#, "invalid_json_line"),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
    }

    #[test]
    fn an_answer_on_several_lines_is_written_on_one() {
        let ask = Ask { name: "a".into(), body: Bytes::new() };
        let line = answered(Uuid::nil(), 3, &ask, Ok(b"{\n \"text\": \"one\\ntwo\"\r\n}\n"));
        assert!(!line.failed && !line.body.contains(&b'\n'));
        let read: serde_json::Value = serde_json::from_slice(&line.body).unwrap();
        assert_eq!(read["response"]["body"]["text"], "one\ntwo");
        assert_eq!((&read["custom_id"], &read["error"]), (&"a".into(), &serde_json::Value::Null));
    }

    #[test]
    fn a_refusal_is_written_as_its_caller_would_have_got_it() {
        let ask = Ask { name: "a".into(), body: Bytes::new() };
        let refusal = crate::error::Error::Invalid { param: "model", problem: "is required" };
        let line = answered(Uuid::nil(), 3, &ask, Err(refusal));
        let read: serde_json::Value = serde_json::from_slice(&line.body).unwrap();
        assert!(line.failed);
        assert_eq!(read["response"]["status_code"], 400);
        assert_eq!(read["response"]["body"]["error"]["param"], "model");
    }
}
