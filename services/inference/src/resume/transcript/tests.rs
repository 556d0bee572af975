//! Answers that break off anywhere, with engines that repeat them, say something else, or stop too early.

use super::{Heard, Said, Transcript};
use crate::sse;
use proptest::prelude::*;
use serde_json::{Value, json};

const WORDS: [&str; 12] =
    ["One", " two", "", " three", "\n", "four", " ", "five.", " Six", " seven", " eight", "!"];

fn event(text: &str, role: bool, last: bool, (prompt, made): (usize, usize)) -> Vec<u8> {
    let delta = if role { json!({"role": "assistant", "content": text}) } else { json!({"content": text}) };
    let reason = last.then_some("stop");
    let chunk =
        json!({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}).to_string();
    let usage = json!({"prompt_tokens": prompt, "total_tokens": prompt + made, "completion_tokens": made});
    let chunk = chunk.strip_suffix('}').unwrap();
    format!("data: {chunk},\"usage\":{usage}}}\n\n").into_bytes()
}

/// What the client gets of an engine's events; `None` once it says something else.
fn hear(transcript: &mut Transcript, events: &[Vec<u8>]) -> Option<Vec<Value>> {
    let mut told = Vec::new();
    for event in events {
        let counted = transcript.counted(sse::read(event));
        match transcript.hear(event, &counted) {
            Heard::Tell(event) => {
                told.push(serde_json::from_slice(event.strip_prefix(b"data: ").unwrap()).unwrap());
            }
            Heard::Known => {}
            Heard::Otherwise => return None,
        }
    }
    Some(told)
}

/// All of an answer from a word on, as an engine says it that was given what is before.
fn answer(from: usize, words: &[&str]) -> Vec<Vec<u8>> {
    let mut events = vec![event("", true, false, (7 + from, 0))];
    let rest = words.iter().enumerate().skip(from);
    events
        .extend(rest.map(|(at, word)| event(word, false, at + 1 == words.len(), (7 + from, at + 1 - from))));
    events
}

fn text(told: &[Value]) -> String {
    told.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

fn words_of(text: &str) -> usize {
    (0..=WORDS.len()).find(|&words| WORDS[..words].concat() == text).unwrap()
}

proptest! {
    #[test]
    fn wherever_it_breaks_off_the_client_hears_it_once(breaks in proptest::collection::vec(0usize..13, 1..4)) {
        let mut transcript = Transcript::default();
        let mut told = hear(&mut transcript, &answer(0, &WORDS)[..breaks[0]]).unwrap();
        for (times, next) in (1..).zip(breaks.iter().skip(1).chain([&13])) {
            let Some(Said { text, tokens }) = transcript.go_back() else {
                // It was told to its end.
                break;
            };
            let from = words_of(&text);
            prop_assert!(tokens as usize <= from && (from == 0 || !text.ends_with(char::is_whitespace)));
            let events = answer(from, &WORDS);
            let more = hear(&mut transcript, &events[..(*next).min(events.len())]).unwrap();
            if let Some(first) = more.first() {
                prop_assert_eq!(&first["tollgate"]["resumed"], times);
            }
            told.extend(more);
        }
        prop_assert_eq!(text(&told), WORDS.concat());
        prop_assert!(told.iter().all(|chunk| chunk["usage"].is_null()));
        prop_assert_eq!(told.iter().filter(|chunk| chunk["choices"][0]["finish_reason"] == "stop").count(), 1);
    }
}

fn broken_off() -> (Transcript, usize) {
    let mut transcript = Transcript::default();
    hear(&mut transcript, &answer(0, &WORDS)[..10]).unwrap();
    let said = transcript.go_back().unwrap();
    assert_eq!(said, Said { text: "One two three".into(), tokens: 4 });
    (transcript, 4)
}

#[test]
fn an_engine_that_says_something_else_is_not_believed() {
    let (mut transcript, from) = broken_off();
    let mut other = WORDS;
    other[8] = " Sixty";
    assert_eq!(hear(&mut transcript, &answer(from, &other)), None);
    let (mut transcript, from) = broken_off();
    assert_eq!(hear(&mut transcript, &answer(from, &WORDS[..8])), None, "it ends too early");
}

#[test]
fn tokens_are_those_of_the_whole_answer() {
    let (mut transcript, from) = broken_off();
    hear(&mut transcript, &answer(from, &WORDS)).unwrap();
    let usage =
        b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":8}}\n\n".to_vec();
    let told = hear(&mut transcript, &[usage]).unwrap();
    assert_eq!(told[0]["usage"], json!({"prompt_tokens": 7, "completion_tokens": 12, "total_tokens": 19}));
}

#[test]
fn what_is_more_than_whole_words_is_not_continued() {
    let broken_off = |events: &[Vec<u8>]| {
        let mut transcript = Transcript::default();
        hear(&mut transcript, events).unwrap();
        transcript.go_back()
    };
    assert!(broken_off(&[event("Hi", false, false, (3, 1))]).is_some());
    assert!(broken_off(&[event("Hi \u{fffd}", false, false, (3, 1))]).is_none());
    assert!(broken_off(&[event(" Hi", false, false, (3, 1))]).is_none());
    let thought =
        b"data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}],\"usage\":{\"completion_tokens\":1}}\n\n";
    assert!(broken_off(&[thought.to_vec()]).is_none());
    let uncounted = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    assert!(broken_off(&[uncounted.to_vec()]).is_none());
}
