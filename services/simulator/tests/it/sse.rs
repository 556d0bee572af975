//! Streams against the recorded ones, byte by byte but for what no two answers share.

use simulator::{Faults, InBandError};

use crate::harness::{Parts, blank, config, neutral, post, serve, take_apart};

const RECORDED: &str = include_str!("../data/recorded-sse.txt");

/// The request and the raw answer of a section.
fn section(number: u32) -> (&'static str, &'static str, &'static str) {
    let start = format!("##### {number}. ");
    let (_, section) = RECORDED.split_once(&start).unwrap();
    let (_, section) = section.split_once('\n').unwrap();
    let section = section.split("\n##### ").find(|part| part.contains("HTTP/1.1")).unwrap_or(section);
    let section = section.strip_prefix("##### ").unwrap_or(section);
    match section.strip_prefix("POST ") {
        Some(section) => {
            let (request, answer) = section.split_once('\n').unwrap();
            let (path, body) = request.split_once(' ').unwrap();
            (path, body, answer)
        }
        None => ("", "", section),
    }
}

/// What must be the same, given that prompts are counted in other tokens and texts are other words.
fn comparable(answer: &str) -> Parts {
    let mut parts = take_apart(answer);
    parts.head.retain(|line| line != "connection: close");
    for line in &mut parts.head {
        *line = blank(&format!("{line}\n"), "date: ", "\n").trim_end().to_owned();
    }
    for chunk in &mut parts.body {
        let counted = blank(&neutral(chunk), "\"prompt_tokens\":", ",\"completion");
        *chunk = counted;
    }
    parts
}

async fn compare(number: u32) {
    let (path, body, recorded) = section(number);
    let served = serve(config()).await;
    let (ours, theirs) = (comparable(&served.post(path, body).await), comparable(recorded));
    assert_eq!(ours, theirs, "recording {number}");
}

#[tokio::test]
async fn a_chat_with_usage_looks_as_recorded() {
    compare(1).await;
}

#[tokio::test]
async fn a_chat_without_stream_options_looks_as_recorded() {
    compare(2).await;
}

#[tokio::test]
async fn two_answers_with_usage_in_every_event_look_as_recorded() {
    compare(3).await;
}

#[tokio::test]
async fn a_completion_looks_as_recorded() {
    compare(4).await;
}

#[tokio::test]
async fn log_probabilities_look_as_recorded() {
    compare(6).await;
}

#[tokio::test]
async fn a_refused_stream_looks_as_recorded() {
    compare(9).await;
}

#[tokio::test]
async fn an_answer_that_ends_in_a_stop_string_ends_as_recorded() {
    let (path, body, recorded) = section(5);
    let served = serve(config()).await;
    let (ours, theirs) = (comparable(&served.post(path, body).await), comparable(recorded));
    assert_eq!(ours.head, theirs.head);
    assert_eq!(ours.body.first(), theirs.body.first());
    let tail = |parts: &Parts| parts.body[parts.body.len() - 3..].to_vec();
    let ended = blank(&tail(&ours)[1], "\"completion_tokens\":", "}");
    assert_eq!(ended, blank(&tail(&theirs)[1], "\"completion_tokens\":", "}"));
    assert_eq!((&tail(&ours)[0], &tail(&ours)[2]), (&tail(&theirs)[0], &tail(&theirs)[2]));
}

#[tokio::test]
async fn a_rejection_inside_a_stream_looks_as_recorded() {
    let (_, _, recorded) = section(10);
    let served = serve(config()).await;
    let error = InBandError { after_events: 0, status: 503, times: None };
    served.engine.set_faults(Faults { in_band_error: Some(error), ..Faults::default() });
    let ours = served.post("/v1/chat/completions", &crate::harness::stream("w1", 5).to_string()).await;
    assert_eq!(comparable(&ours), comparable(recorded.split("[EOF]").next().unwrap()));
}

#[tokio::test]
async fn an_engine_that_dies_in_mid_stream_looks_as_recorded() {
    let (_, _, recorded) = section(11);
    let served = serve(config()).await;
    let error = InBandError { after_events: 6, status: 500, times: None };
    served.engine.set_faults(Faults { in_band_error: Some(error), ..Faults::default() });
    let ours = served.post("/v1/chat/completions", &crate::harness::stream("w1", 500).to_string()).await;
    assert_eq!(comparable(&ours), comparable(recorded.split("[EOF]").next().unwrap()));
}

#[tokio::test]
async fn every_event_is_a_chunk_of_its_own() {
    let served = serve(config()).await;
    let answer =
        served.exchange(&post("/v1/chat/completions", &crate::harness::stream("w1", 50).to_string())).await;
    let chunks = take_apart(&answer).body;
    assert_eq!(chunks.len(), 52, "role, fifty tokens, [DONE]");
    assert!(
        chunks.iter().all(|chunk| chunk.starts_with("data: ") && chunk.find("\n\n") == Some(chunk.len() - 2))
    );
}
