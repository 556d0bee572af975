//! The same engine through the gRPC API: the answers, the account, and what a caller who goes away sets free.

use crate::{engine::Engine, gateway::Gateway, ledger};
use proto::{
    inference::v1::{ChatMessage, EmbedRequest, InferRequest, InferStreamRequest, Prompt},
    monitoring::v1::Outcome,
};
use simulator::Faults;
use std::time::Duration;
use tonic::{Code, Request};
use tonic_types::StatusExt;

/// A chat of one user message that makes exactly so many tokens, always the same.
fn prompt(model: &str, max_tokens: u32) -> Prompt {
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let extra = [("ignore_eos".to_owned(), value(prost_types::value::Kind::BoolValue(true)))];
    Prompt {
        model: model.to_owned(),
        messages: vec![ChatMessage { role: "user".into(), content: "w1 w2 w3".into() }],
        max_tokens: Some(max_tokens),
        temperature: Some(0.0),
        extra: Some(prost_types::Struct { fields: extra.into() }),
        ..Prompt::default()
    }
}

fn infer(prompt: Prompt) -> InferRequest {
    InferRequest { prompt: Some(prompt), ..InferRequest::default() }
}

fn stream(prompt: Prompt) -> InferStreamRequest {
    InferStreamRequest { prompt: Some(prompt), ..InferStreamRequest::default() }
}

#[tokio::test]
async fn an_answer_and_its_stream_say_the_same() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let mut client = gateway.inference();
    let whole = client.infer(infer(prompt(&engine.model, 20))).await.unwrap().into_inner();
    assert_eq!((whole.choices.len(), whole.choices[0].finish_reason.as_str()), (1, "length"));
    let usage = whole.usage.unwrap();
    assert_eq!(usage.completion_tokens, 20);
    let mut messages = client.infer_stream(stream(prompt(&engine.model, 20))).await.unwrap().into_inner();
    let (mut text, mut last) = (String::new(), None);
    while let Some(message) = messages.message().await.unwrap() {
        assert!(last.is_none(), "the usage comes last");
        text.extend(message.choices.iter().map(|choice| choice.text.as_str()));
        last = message.usage;
    }
    assert_eq!((text.as_str(), last), (whole.choices[0].text.as_str(), Some(usage)));
    let records = gateway.close().await;
    ledger::check_finished(&records, 2);
    assert_eq!(records[0].usage_id, whole.usage_id);
    assert_eq!(ledger::counted(&engine, before, &records).await, ledger::tokens(&records));
}

#[tokio::test]
async fn a_dropped_stream_is_aborted() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let mut messages =
        gateway.inference().infer_stream(stream(prompt(&engine.model, 3_000))).await.unwrap().into_inner();
    for _ in 0..3 {
        messages.message().await.unwrap().unwrap();
    }
    drop(messages);
    engine.idle().await;
    let records = gateway.close().await;
    ledger::check(&records, 1);
    assert_eq!((records[0].outcome(), records[0].estimated), (Outcome::Cancelled, true));
    assert!((3..3_000).contains(&records[0].completion_tokens), "{records:?}");
}

#[tokio::test]
async fn refusals_have_their_code_and_the_engines_words() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let mut client = gateway.inference();
    let mut long = prompt(&engine.model, 4);
    long.messages[0].content = "w1 ".repeat(6_000);
    let too_long = client.infer(infer(long.clone())).await.unwrap_err();
    assert_eq!(too_long.code(), Code::InvalidArgument);
    assert!(too_long.message().contains("maximum context length"), "{too_long}");
    assert_eq!(client.infer_stream(stream(long)).await.unwrap_err().code(), Code::InvalidArgument);
    let unknown = client.infer(infer(prompt("nope", 4))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let embed =
        EmbedRequest { model: engine.model.clone(), inputs: vec!["w1".into()], ..EmbedRequest::default() };
    let no_vectors = client.embed(embed).await.unwrap_err();
    assert_eq!(no_vectors.code(), Code::NotFound);
    for status in [too_long, unknown, no_vectors] {
        assert!(!status.get_details_error_info().unwrap().reason.is_empty(), "{status:?}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error() {
    let engine = Engine::simulated("tiny", &[]).await;
    let fault = r#"{"in_band_error": {"after_events": 4, "status": 500}}"#;
    engine.fail(serde_json::from_str(fault).unwrap());
    let gateway = Gateway::open(&[&engine]).await;
    let mut messages =
        gateway.inference().infer_stream(stream(prompt("tiny", 20))).await.unwrap().into_inner();
    let broken = loop {
        match messages.message().await {
            Ok(message) => {
                assert!(message.is_some_and(|message| message.usage.is_none()), "it ended as if whole")
            }
            Err(status) => break status,
        }
    };
    assert_eq!(broken.code(), Code::Unavailable);
    assert_eq!(broken.get_details_error_info().unwrap().reason, "STREAM_INTERRUPTED");
    let records = gateway.close().await;
    ledger::check(&records, 1);
    assert_eq!((records[0].outcome(), records[0].estimated), (Outcome::Failed, true));
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_frees_the_engine() {
    let engine = Engine::simulated("tiny", &[]).await;
    engine.fail(Faults { hang: true, ..Faults::default() });
    let gateway = Gateway::open(&[&engine]).await;
    let mut request = Request::new(infer(prompt("tiny", 20)));
    request.set_timeout(Duration::from_millis(300));
    let late = gateway.inference().infer(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    engine.idle().await;
    let records = gateway.close().await;
    ledger::check(&records, 1);
    assert_eq!((records[0].outcome(), records[0].estimated), (Outcome::Cancelled, true));
}
