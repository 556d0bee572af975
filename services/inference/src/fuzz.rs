//! Fuzz targets: what of this service reads bytes of callers and of engines. `shared::fuzz` says how they are run.

use crate::{
    batches::line,
    cache::Wish,
    joint::{self, Part},
    prompt::{Dialect, Endpoint, Prompt},
    sse::{self, Event, Splitter},
};
use bytes::Bytes;
use serde_json::Value;

/// Events of a stream: torn anywhere they are the same, nothing is lost, and their closing line changes no meaning.
pub fn sse_events(input: &[u8]) {
    let (step, stream) = input.split_first().unwrap_or((&1, &[]));
    let step = usize::from(*step).max(1);
    let (whole, rest) = cut([stream]);
    let (torn, torn_rest) = cut(stream.chunks(step));
    assert_eq!((&whole, &rest), (&torn, &torn_rest), "torn every {step} bytes");
    assert_eq!([whole.concat(), rest.to_vec()].concat(), stream);
    for event in &whole {
        assert_eq!(sse::end_of_event(event), Some(event.len()), "one event, and whole");
        let bare = event.trim_ascii_end();
        assert_eq!(sse::read(event), sse::read(bare), "{}", event.escape_ascii());
    }
    let _ = (sse::usage(stream), sse::whole_usage(stream));
    let first = whole.iter().map(|event| sse::read(event)).find(|event| *event != Event::Begun);
    assert_eq!(sse::first(stream), first, "what comes before it says nothing");
}

fn cut<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Bytes>, Bytes) {
    let (mut splitter, mut events) = (Splitter::default(), Vec::new());
    for part in parts {
        splitter.feed(part);
        events.extend(std::iter::from_fn(|| splitter.cut()));
    }
    (events, splitter.into_rest())
}

/// Bodies of requests: an engine gets what the caller sent, but for the usage of a stream and the name of the model.
pub fn request_body(input: &[u8]) {
    let (kind, body) = input.split_first().unwrap_or((&0, &[]));
    let endpoint = Endpoint::ALL[usize::from(*kind) % Endpoint::ALL.len()];
    let sent = Bytes::copy_from_slice(body);
    let Ok(prompt) = Prompt::read(endpoint, sent.clone()) else { return };
    assert!((1..=200).contains(&prompt.model.len()) && prompt.input_bytes <= body.len());
    assert!(prompt.stream || !prompt.wants_usage);
    // Bodies that are too odd to be held up beside each other are left to the engine.
    let Ok(before) = serde_json::from_slice::<Value>(&sent) else { return };
    let after = json(&prompt.body);
    assert_eq!(before["model"], prompt.model.as_str());
    let asks = endpoint.streams() == Some(Dialect::Chunks);
    if prompt.stream && !prompt.wants_usage && asks {
        assert_eq!(after["stream_options"]["include_usage"], true);
        let ours = ["stream_options", "tollgate_lock", "tollgate"];
        assert_eq!(without(&before, &ours), without(&after, &["stream_options", "tollgate_lock"]));
    } else if prompt.lock.is_some() || before.get("tollgate").is_some_and(|ours| !ours.is_null()) {
        let told = without(&after, &["tollgate_lock"]);
        assert!(prompt.lock.is_none() || after["tollgate_lock"] == Value::Null);
        assert!(told.get("tollgate").is_none_or(Value::is_null));
        assert_eq!(without(&before, &["tollgate_lock", "tollgate"]), without(&told, &["tollgate"]));
    } else {
        assert_eq!(prompt.body, sent, "nothing is changed");
    }
    if endpoint == Endpoint::Responses {
        let called = json(&prompt.called("resp_\"1\""));
        assert_eq!(called["request_id"], "resp_\"1\"");
        assert_eq!(without(&after, &["request_id"]), without(&called, &["request_id"]));
    }
    if let Some(part) = Part::of(&prompt) {
        shared_call(&before, &part);
    }
    let renamed = prompt.clone().served_as("own/\"name\"".into());
    let named = json(&renamed.body);
    assert_eq!((&named["model"], renamed.served()), (&Value::from("own/\"name\""), "own/\"name\""));
    assert_eq!(without(&after, &["model"]), without(&named, &["model"]));
    assert_eq!((&renamed.model, renamed.stream), (&prompt.model, prompt.stream));
    assert_eq!(prompt.for_model("other".into()).served(), "other");
}

/// A call that the texts of a body share with others asks for all of them in order, and for nothing that the body did not.
fn shared_call(body: &Value, part: &Part) {
    let together = json(&Bytes::from(joint::body(&[part, part])));
    let digit = |text: &Value| text.to_string().starts_with(|first: char| first.is_ascii_digit());
    let own = match &body["input"] {
        Value::Array(texts) if !texts.iter().all(digit) => texts.clone(),
        one => vec![one.clone()],
    };
    assert_eq!(together["input"], Value::from([own.clone(), own].concat()));
    assert_eq!(together["model"], body["model"]);
    let told = together.as_object().into_iter().flatten();
    for (name, value) in told.filter(|(name, _)| !matches!(name.as_str(), "input" | "model")) {
        assert!(!matches!(name.as_str(), "user" | "metadata" | "stream" | "tollgate"), "{name}");
        assert!(body.get(name).is_some() && !value.is_null(), "{name}");
    }
}

/// What callers say of the cache: what is understood in our own header is in the standard one, in any order, and again.
pub fn cache_control(input: &[u8]) {
    let mut lines = input.splitn(2, |&byte| byte == b'\n');
    let (header, field) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if let Ok(wish) = Wish::field(&String::from_utf8_lossy(field)) {
        assert!(wish.tags.len() <= 16 && wish.tags.is_sorted(), "{wish:?}");
        assert!(wish.tags.iter().all(|tag| (1..=64).contains(&tag.len())), "{wish:?}");
        assert!(wish.template.len() <= 64, "{wish:?}");
        assert!(wish.and_headers(Some(header), None).is_ok(), "what was meant for others is passed over");
    }
    let Ok(wish) = Wish::default().and_headers(None, Some(header)) else { return };
    let turned: Vec<&[u8]> = header.rsplit(|&byte| byte == b',').collect();
    for same in
        [Wish::default().and_headers(Some(header), None), wish.clone().and_headers(None, Some(header))]
    {
        assert_eq!(same.ok().as_ref(), Some(&wish));
    }
    let turned = Wish::default().and_headers(None, Some(&turned.join(&b',')));
    assert_eq!(turned.ok().as_ref(), Some(&wish), "the other way round");
}

fn json(body: &[u8]) -> Value {
    let read = serde_json::from_slice(body);
    assert!(read.is_ok(), "what was JSON is none any more: {}", body.escape_ascii());
    read.unwrap_or_default()
}

fn without(body: &Value, fields: &[&str]) -> Value {
    let mut body = body.clone();
    if let Value::Object(object) = &mut body {
        fields.iter().for_each(|field| drop(object.remove(*field)));
    }
    body
}

/// Lines of batches: what is written of one is one line, and has the name and the answer that it was given.
pub fn batch_line(input: &[u8]) {
    let (kind, text) = input.split_first().unwrap_or((&0, &[]));
    let endpoint = Endpoint::ALL[usize::from(*kind) % Endpoint::ALL.len()];
    let Ok(ask) = line::read(1, text.trim_ascii(), endpoint) else { return };
    // Numbers that are too odd to be held up beside each other are passed on as they are.
    let Ok(body) = serde_json::from_slice::<Value>(&ask.body) else { return };
    let written = line::answered(uuid::Uuid::nil(), 1, &ask, Ok(&ask.body));
    assert!(!written.failed && !written.body.contains(&b'\n'), "{}", written.body.escape_ascii());
    let read = json(&written.body);
    assert_eq!((&read["custom_id"], &read["response"]["body"]), (&Value::from(ask.name), &body));
}

#[cfg(test)]
mod tests {
    use ::tests::fuzz::bounded;

    #[test]
    fn sse_events() {
        bounded("sse_events", super::sse_events);
    }

    #[test]
    fn cache_control() {
        bounded("cache_control", super::cache_control);
    }

    #[test]
    fn request_body() {
        bounded("request_body", super::request_body);
    }

    #[test]
    fn batch_line() {
        bounded("batch_line", super::batch_line);
    }
}
