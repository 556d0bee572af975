//! Every recorded exchange once more: the same request must get the same answer, but for what no two answers share.
//!
//! The recordings come from two servers with `--api-key sk-x`, one that generates (`--max-num-queued-reqs 6`) and one that
//! embeds. A real engine may put several tokens into one event, so the pieces of a stream are compared as a set of shapes.

use serde::Deserialize;
use simulator::{Config, Task};

use crate::harness::{Served, blank, config, neutral, serve, take_apart};

const RECORDED: &str = include_str!("../data/recorded-exchanges.jsonl");

#[derive(Debug, Deserialize)]
struct Exchange {
    task: Task,
    method: String,
    path: String,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
    answer: String,
}

impl Exchange {
    fn request(&self) -> String {
        let mut request =
            format!("{} {} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.method == "POST" {
            request.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        request + "\r\n" + &self.body
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Comparable {
    head: Vec<String>,
    body: Vec<String>,
}

fn comparable(answer: &str) -> Comparable {
    let parts = take_apart(answer);
    let good = parts.head.first().is_some_and(|status| status.contains(" 200 "));
    let head = parts.head.iter().filter(|line| *line != "connection: close").map(|line| {
        let line = blank(&format!("{line}\n"), "date: ", "\n");
        // Words differ, so do lengths; an error must have the same length too.
        if good { blank(&line, "content-length: ", "\n") } else { line }
    });
    let mut body: Vec<String> = parts.body.iter().map(|chunk| neutral(chunk)).collect();
    if body.len() > 1 {
        body.iter_mut().for_each(|event| *event = without_token_counts(event));
        body.sort();
        body.dedup();
    }
    let mut head: Vec<String> = head.collect();
    if body.concat().is_empty() {
        // Where there is no body, hyper writes the length last.
        head.sort();
    }
    Comparable { head, body }
}

/// Where several tokens share an event, the counts in between are skipped.
fn without_token_counts(event: &str) -> String {
    let event = blank(event, "\"total_tokens\":", ",");
    let event = blank(&event, "\"completion_tokens\":", ",");
    blank(&event, "\"content\":[{", "]}]")
}

async fn replay(served: &Served, exchange: &Exchange) -> Result<(), String> {
    let answer = served.exchange(&exchange.request()).await;
    let (ours, theirs) = (comparable(&answer), comparable(&exchange.answer));
    let only_a_part =
        ours.body.len() > theirs.body.len() && theirs.body.iter().all(|shape| ours.body.contains(shape));
    if ours.head == theirs.head && (ours.body == theirs.body || only_a_part) {
        return Ok(());
    }
    let Exchange { method, path, body, .. } = exchange;
    Err(format!("{method} {path} {body}\n ours:   {ours:?}\n theirs: {theirs:?}\n"))
}

async fn replay_all(task: Task, config: Config) {
    let served = serve(config).await;
    let (mut failures, mut count) = (Vec::new(), 0);
    for line in RECORDED.lines() {
        let exchange: Exchange = serde_json::from_str(line).unwrap();
        if exchange.task == task {
            count += 1;
            failures.extend(replay(&served, &exchange).await.err());
        }
    }
    assert!(count > 10, "the recording is there");
    assert!(failures.is_empty(), "{} of {count} differ\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test]
async fn a_generating_engine_answers_as_recorded() {
    let config = Config { api_key: Some("sk-x".into()), max_num_queued_reqs: Some(6), ..config() };
    replay_all(Task::Generate, config).await;
}

#[tokio::test]
async fn an_embedding_engine_answers_as_recorded() {
    let config = Config { api_key: Some("sk-x".into()), task: Task::Embed, ..config() };
    replay_all(Task::Embed, config).await;
}
