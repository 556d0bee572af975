use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(body: &str) -> Result<Prompt, Error> {
    Prompt::read(Endpoint::Chat, Bytes::copy_from_slice(body.as_bytes()))
}

fn json_of(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn what_is_not_streamed_passes_byte_for_byte() {
    let body = r#" {"model" : "m\u0041", "messages":[ ],"unknown":{"a":[1.50,"\u00e9"]} } "#;
    let prompt = read(body).unwrap();
    assert_eq!(prompt.model, "mA");
    assert_eq!(&prompt.body[..], body.as_bytes());
    assert!(!prompt.stream && !prompt.wants_usage);
}

#[test]
fn a_stream_is_made_to_say_its_usage() {
    let prompt = read(r#"{"model":"m","messages":[],"stream":true}"#).unwrap();
    assert_eq!(
        json_of(&prompt.body),
        json!({"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}})
    );
    assert!(!prompt.wants_usage);

    let body = r#"{"model":"m","stream_options":{"continuous_usage_stats":true,"other":1,"include_usage":false},"messages":[],"stream":true}"#;
    let prompt = read(body).unwrap();
    assert_eq!(json_of(&prompt.body)["stream_options"], json!({"include_usage":true,"other":1}));

    let body = r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
    let prompt = read(body).unwrap();
    assert!(prompt.wants_usage);
    assert_eq!(&prompt.body[..], body.as_bytes());
}

#[test]
fn bad_fields_are_named() {
    let param = |body: &str| match read(body) {
        Err(Error::Invalid { param, .. }) => param,
        other => panic!("{other:?}"),
    };
    assert_eq!(param(r#"{"messages":[]}"#), "model");
    assert_eq!(param(r#"{"model":5,"messages":[]}"#), "model");
    assert_eq!(param(r#"{"model":"","messages":[]}"#), "model");
    assert_eq!(param(r#"{"model":"m"}"#), "messages");
    assert_eq!(param(r#"{"model":"m","messages":[],"stream":"yes"}"#), "stream");
    assert_eq!(param(r#"{"model":"m","messages":[],"max_tokens":-5}"#), "max_tokens");
    assert_eq!(param(r#"{"model":"m","messages":[],"n":1.5}"#), "n");
    assert_eq!(param(r#"{"model":"m","messages":[],"stream_options":{}}"#), "stream_options");
    assert_eq!(param(r#"{"model":"m","messages":[],"stream":true,"stream_options":3}"#), "stream_options");
}

#[test]
fn what_is_not_an_object_is_malformed() {
    for body in ["", "[]", "nul", "{", "{\"model\":\"m\",\"model\":\"n\"}", "\"text\""] {
        assert!(matches!(read(body), Err(Error::Malformed(_))), "{body}");
    }
    let not_utf8 = Bytes::from_static(b"{\"model\":\"\xff\"}");
    assert!(matches!(Prompt::read(Endpoint::Chat, not_utf8), Err(Error::Malformed(_))));
}

#[test]
fn nesting_has_a_bound_and_text_is_not_nesting() {
    let nested =
        |depth: usize| format!(r#"{{"model":"m","messages":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(127)).is_ok());
    assert!(matches!(read(&nested(128)), Err(Error::Malformed(_))));
    let text = format!(r#"{{"model":"m","messages":["\\\"{}"]}}"#, "[{".repeat(500));
    assert!(read(&text).is_ok());
    let many = format!(r#"{{"model":"m","messages":[{}{{}}]}}"#, "{},".repeat(500));
    assert!(read(&many).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Prompt::read(Endpoint::Completions, Bytes::from(bytes));
    }

    #[test]
    fn asking_for_usage_changes_nothing_else(
        pairs in proptest::collection::btree_map("[a-z]{1,6}", "[ -~]{0,12}", 0..6),
        options in proptest::collection::btree_map("[a-z]{1,6}", any::<i32>(), 0..3),
        given in any::<bool>(),
    ) {
        let mut body = json!({"model": "m", "messages": ["x"], "stream": true});
        for (name, value) in &pairs {
            if !matches!(name.as_str(), "model" | "n" | "stream" | "input" | "prompt") {
                body[format!("x_{name}")] = json!(value);
            }
        }
        if given {
            body["stream_options"] = json!(options);
        }
        let prompt = read(&body.to_string()).unwrap();
        let mut wanted = if given { json!(options) } else { json!({}) };
        wanted["include_usage"] = json!(true);
        body["stream_options"] = wanted;
        prop_assert_eq!(json_of(&prompt.body), body);
    }
}

#[test]
fn a_further_name_is_replaced_by_the_model_s_own_and_nothing_else_is_touched() {
    let body = r#" {"x":"fast" , "model" : "f\u0061st", "messages":[{"model":"fast"}],"unknown":1.50 } "#;
    let prompt = read(body).unwrap().served_as("org/own:1".to_owned());
    let expected = r#" {"x":"fast" , "model" : "org/own:1", "messages":[{"model":"fast"}],"unknown":1.50 } "#;
    assert_eq!(&prompt.body[..], expected.as_bytes());
    assert_eq!((prompt.model.as_str(), prompt.served()), ("fast", "org/own:1"));
}

#[test]
fn the_engine_is_told_the_class_and_never_what_a_caller_made_up() {
    let told = |body: &'static str, class: Option<&str>| {
        let prompt = Prompt::read(Endpoint::Chat, Bytes::from(body)).unwrap();
        prompt.with_priority(class.map(str::as_bytes)).unwrap().telling()
    };
    let body = r#"{"model": "m", "messages": [], "x": 1}"#;
    for (class, rank) in [(None, 0), (Some("interactive"), -1), (Some("batch"), 1)] {
        let told = told(body, class).unwrap().body;
        let read: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!((&read["priority"], &read["x"]), (&rank.into(), &1.into()), "{told:?}");
    }
    let cheeky = r#"{"model": "m", "prior\u0069ty": -1000, "messages": []}"#;
    let told_cheeky = told(cheeky, Some("batch")).unwrap().body;
    let read: serde_json::Value = serde_json::from_slice(&told_cheeky).unwrap();
    assert_eq!(read["priority"], 1, "{told_cheeky:?}");
    let twice = r#"{"model": "m", "priority": 0, "messages": [], "priority": -1000}"#;
    assert!(matches!(told(twice, None), Err(Error::Malformed(_))));
}

#[test]
fn our_own_field_does_not_reach_the_engine() {
    for (body, engines) in [
        (
            r#"{"tollgate" : {"cache":"no-store"} , "model":"m","messages":[]}"#,
            r#"{"model":"m","messages":[]}"#,
        ),
        (
            r#"{"model":"m","messages":[] , "toll\u0067ate":{"tags":["\"}"]}}"#,
            r#"{"model":"m","messages":[] }"#,
        ),
    ] {
        let prompt = read(body).unwrap();
        assert_eq!(json_of(&prompt.body), serde_json::from_str::<Value>(engines).unwrap(), "{body}");
    }
    for body in [
        r#"{"model":"m","tollgate":{},"stream":true,"stream_options":{"include_usage":false,"x":1},"messages":[]}"#,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":false,"x":1},"tollgate":{},"messages":[]}"#,
        r#"{"model":"m","stream":true,"stream_options":{"x":1},"messages":[],"tollgate":{"tags":["a"]}}"#,
    ] {
        let told = json_of(&read(body).unwrap().body);
        let wanted =
            json!({"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1},"messages":[]});
        assert_eq!(told, wanted, "{body}");
    }
    let wish = read(r#"{"model":"m","messages":[],"tollgate":{"cache":"no-store"}}"#).unwrap().wish;
    assert!(wish.no_store);
    let wrong = read(r#"{"model":"m","messages":[],"tollgate":{"cache":"maybe"}}"#);
    assert!(matches!(wrong, Err(Error::Invalid { param: "tollgate", .. })), "{wrong:?}");
}

#[test]
fn one_answer_without_chance_repeats_exactly() {
    let of = |fields: &str| read(&format!(r#"{{"model":"m","messages":[]{fields}}}"#)).unwrap().repeats;
    for fields in [r#","temperature":0"#, r#","temperature":0.0,"n":1"#, r#","temperature":1,"seed":7"#] {
        assert_eq!(of(fields), Repeats::Exactly, "{fields}");
    }
    for fields in
        ["", r#","temperature":0.1"#, r#","temperature":0,"n":2"#, r#","seed":null"#, r#","seed":"x""#]
    {
        assert_eq!(of(fields), Repeats::Otherwise, "{fields}");
    }
    let more = r#","temperature":0,"stream":true,"stream_options":{"continuous_usage_stats":true}"#;
    assert_eq!(of(more), Repeats::Never);
    let embedding = Prompt::read(Endpoint::Embeddings, r#"{"model":"m","input":"a"}"#.into()).unwrap();
    assert_eq!(embedding.repeats, Repeats::Exactly);
}

#[test]
fn what_headers_say_the_body_may_say() {
    let body = |own: &str| format!(r#"{{"model":"m","messages":[],"tollgate":{own}}}"#);
    let said = body(r#"{"priority":"batch","idempotency_key":"k","timeout_ms":1500,"cache":"no-store"}"#);
    let prompt = read(&said).unwrap();
    assert_eq!((prompt.class, prompt.idempotency_key.as_deref()), (Class::Batch, Some("k")));
    assert_eq!((prompt.timeout, prompt.wish.no_store), (Some(Duration::from_millis(1500)), true));
    assert_eq!(prompt.body, r#"{"model":"m","messages":[]}"#);
    let over = prompt.with_priority(Some(b"interactive")).unwrap();
    assert_eq!(over.class, Class::Interactive, "a header goes before");
    for wrong in
        [r#"{"priority":"system"}"#, r#"{"priority":7}"#, r#"{"idempotency_key":""}"#, r#"{"timeout_ms":-1}"#]
    {
        assert!(read(&body(wrong)).is_err(), "{wrong}");
    }
}
