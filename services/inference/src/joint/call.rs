//! One call for the texts of several callers: its body, and each caller's part of the answer.

use super::{Failed, Part, Waiter};
use crate::{
    engines::{Engine, Fleet},
    prompt::Endpoint,
    vectors::{Answer, Around},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::Serialize;

/// Why a shared call gave its callers nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// Something is wrong with one of them, or with all of them together; each is to go by itself.
    Refused,
    /// The tokens are not those that were known.
    Miscounted,
    /// The engine failed it.
    Engine(Failed),
}

/// What one caller has in a call.
#[derive(Debug)]
pub(super) struct Share {
    usage_id: String,
    texts: usize,
    tokens: u64,
}

impl Share {
    pub(super) fn of(caller: &Waiter) -> Self {
        let (usage_id, texts) = (caller.usage_id.clone(), caller.part.texts.len());
        Self { usage_id, texts, tokens: caller.tokens }
    }
}

#[derive(Serialize)]
struct Head<'a> {
    model: &'a str,
}

/// The request for the texts of all of them.
pub(super) fn request(engine: &Engine, callers: &[Waiter]) -> Request<Full<Bytes>> {
    let parts: Vec<&Part> = callers.iter().map(|caller| &*caller.part).collect();
    let body = body(&parts);
    let mut request = engine.request(Method::POST, Endpoint::Embeddings.path(), body.into());
    let id = callers.first().and_then(|first| HeaderValue::from_str(&first.usage_id).ok());
    if let Some(id) = id {
        request.headers_mut().insert(shared::request_id::HEADER, id);
    }
    shared::telemetry::inject(request.headers_mut());
    request
}

/// The body for parts that have all in common but their texts: nothing that only says who asks is in it.
pub(super) fn body(parts: &[&Part]) -> Vec<u8> {
    let Some(first) = parts.first() else { return Vec::new() };
    // `{"model":"…"` and then the rest, which is an object too.
    let mut body = serde_json::to_vec(&Head { model: &first.model }).unwrap_or_default();
    body.pop();
    body.extend_from_slice(b",\"input\":[");
    for (_, text) in parts.iter().flat_map(|part| &part.texts) {
        body.extend_from_slice(text);
        body.push(b',');
    }
    body.pop();
    body.push(b']');
    let rest = first.rest.strip_prefix(b"{").unwrap_or_default();
    if rest.len() > 1 {
        body.push(b',');
    }
    body.extend_from_slice(rest);
    body
}

/// Sends it, and reads the whole answer.
pub(super) async fn send(
    fleet: &Fleet,
    request: Request<Full<Bytes>>,
    largest: usize,
) -> Result<Bytes, Fault> {
    let answer = fleet.send(request).await.map_err(|error| Fault::Engine(Failed::Unsent(error)))?;
    let status = answer.status();
    let body = match Limited::new(answer.into_body(), largest).collect().await {
        Ok(body) => body.to_bytes(),
        // Each by itself is smaller.
        Err(error) if error.is::<LengthLimitError>() => return Err(Fault::Refused),
        Err(_) => return Err(Fault::Engine(Failed::Broken)),
    };
    match status {
        StatusCode::OK => Ok(body),
        StatusCode::TOO_MANY_REQUESTS => Err(Fault::Engine(Failed::Refused(status))),
        status if status.is_client_error() => Err(Fault::Refused),
        status => Err(Fault::Engine(Failed::Refused(status))),
    }
}

/// Each caller's answer, as the engine would have given it to them alone.
pub(super) fn split(answer: &[u8], shares: &[Share]) -> Result<Vec<Bytes>, Fault> {
    let texts = shares.iter().map(|share| share.texts).sum();
    let answer = Answer::read(answer, texts).ok_or(Fault::Refused)?;
    if answer.tokens() != shares.iter().map(|share| share.tokens).sum::<u64>() {
        return Err(Fault::Miscounted);
    }
    let mut vectors = answer.vectors();
    let own = shares.iter().map(|share| {
        let around = Around {
            id: format!("embd-{}", share.usage_id),
            created: answer.created,
            model: answer.model,
            tokens: share.tokens,
        };
        around.write(vectors.by_ref().take(share.texts)).ok_or(Fault::Refused)
    });
    own.collect()
}

/// What came of it, for the metric.
pub(super) const fn word(came: &Result<Vec<Bytes>, Fault>) -> &'static str {
    match came {
        Ok(_) => "answered",
        Err(Fault::Refused) => "refused",
        Err(Fault::Miscounted) => "miscounted",
        Err(Fault::Engine(_)) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn share(texts: usize, tokens: u64) -> Share {
        Share { usage_id: format!("u{tokens}"), texts, tokens }
    }

    fn answer(tokens: u64) -> Vec<u8> {
        let data =
            [2, 0, 1].map(|index| json!({"index": index, "object": "embedding", "embedding": [index]}));
        json!({"id": "embd-x", "created": 7, "model": "m", "data": data, "usage": {"prompt_tokens": tokens}})
            .to_string()
            .into()
    }

    #[test]
    fn everybody_gets_their_own_vectors_in_order_and_their_own_tokens() {
        let parts = split(&answer(9), &[share(2, 5), share(1, 4)]).unwrap();
        let parts: Vec<Value> = parts.iter().map(|part| serde_json::from_slice(part).unwrap()).collect();
        let vectors = |part: &Value| {
            part["data"].as_array().unwrap().iter().map(|one| one["embedding"][0].clone()).collect::<Vec<_>>()
        };
        assert_eq!((vectors(&parts[0]), vectors(&parts[1])), (vec![json!(0), json!(1)], vec![json!(2)]));
        assert_eq!((&parts[1]["data"][0]["index"], &parts[1]["id"]), (&json!(0), &json!("embd-u4")));
        assert_eq!([&parts[0]["usage"]["prompt_tokens"], &parts[1]["usage"]["total_tokens"]], [5, 4]);
        assert_eq!((&parts[0]["created"], &parts[0]["model"]), (&json!(7), &json!("m")));
    }

    #[test]
    fn what_does_not_add_up_is_given_to_nobody() {
        assert!(matches!(split(&answer(10), &[share(2, 5), share(1, 4)]), Err(Fault::Miscounted)));
        assert!(matches!(split(&answer(9), &[share(1, 5), share(1, 4)]), Err(Fault::Refused)));
        assert!(matches!(split(b"{}", &[share(2, 5), share(1, 4)]), Err(Fault::Refused)));
    }
}
