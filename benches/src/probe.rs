//! Asks an engine for chats of exact lengths and notes when each event came and how many tokens it brought the
//! count to. Blocking sockets, a thread for each stream: there are few, and nothing else should be in the way.

use crate::target::Address;
use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// An engine that says nothing for this long is not measured further.
const PATIENCE: Duration = Duration::from_secs(120);

/// An engine that is measured.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Where it is.
    pub address: Address,
    /// Sent as a bearer token.
    pub api_key: String,
    /// The model asked for.
    pub model: String,
}

/// One stream, as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// When the request was sent.
    pub sent: Instant,
    /// Tokens of its prompt, as the engine counts them.
    pub prompt_tokens: u32,
    /// When an event came, and the tokens there were with it.
    pub events: Vec<(Instant, u32)>,
}

impl Heard {
    /// Seconds from the request to its first token.
    #[must_use]
    pub fn first_token(&self) -> Option<f64> {
        let (first, _) = self.events.first()?;
        Some((*first - self.sent).as_secs_f64())
    }

    /// Tokens there were at a moment.
    #[must_use]
    pub fn tokens_at(&self, moment: Instant) -> u32 {
        self.events.iter().take_while(|(at, _)| *at <= moment).last().map_or(0, |(_, tokens)| *tokens)
    }
}

impl Probe {
    /// The body of a GET.
    ///
    /// # Errors
    /// When there is no good answer.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut answer = String::new();
        self.send("GET", path, "")?.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its head")?;
        Ok(body.to_owned())
    }

    /// Streams that are asked for at the same moment, with a prompt of their own each.
    ///
    /// # Errors
    /// When one of them is not answered well.
    pub fn together(&self, prompts: &[String], tokens: u32) -> anyhow::Result<Vec<Heard>> {
        let start = Barrier::new(prompts.len());
        thread::scope(|scope| {
            let start = &start;
            let asked: Vec<_> =
                prompts.iter().map(|prompt| scope.spawn(move || self.ask(prompt, tokens, start))).collect();
            let heard = asked.into_iter().map(|asked| asked.join().map_err(|_| anyhow!("a thread died"))?);
            heard.collect()
        })
    }

    fn ask(&self, prompt: &str, tokens: u32, start: &Barrier) -> anyhow::Result<Heard> {
        let body = json!({
            "model": self.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "ignore_eos": true, "temperature": 0,
            "stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": true},
        })
        .to_string();
        start.wait();
        let sent = Instant::now();
        let reader = self.send("POST", "/v1/chat/completions", &body)?;
        let mut heard = Heard { sent, prompt_tokens: 0, events: Vec::with_capacity(tokens as usize) };
        for line in reader.lines() {
            let (line, at) = (line?, Instant::now());
            match line.strip_prefix("data: ") {
                Some("[DONE]") => return Ok(heard),
                Some(event) => {
                    let event: Value = serde_json::from_str(event)?;
                    let count = |name: &str| {
                        event["usage"][name].as_u64().and_then(|count| u32::try_from(count).ok())
                    };
                    let (Some(prompt), Some(made)) = (count("prompt_tokens"), count("completion_tokens"))
                    else {
                        bail!("an event without a count of tokens: {event}")
                    };
                    heard.prompt_tokens = prompt;
                    // The first event only opens the answer, the last one only counts.
                    if made > 0 && event["choices"][0].is_object() {
                        heard.events.push((at, made));
                    }
                }
                None => {}
            }
        }
        bail!("a stream that did not end with [DONE]")
    }

    /// Sends a request on a connection of its own.
    fn send(&self, method: &str, path: &str, body: &str) -> anyhow::Result<BufReader<TcpStream>> {
        let authority = self.address.authority();
        let mut stream =
            TcpStream::connect(authority).with_context(|| format!("cannot connect to {authority}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (key, length) = (&self.api_key, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let status = reader.fill_buf()?.get(9..12).unwrap_or_default().to_vec();
        if status != b"200" {
            bail!("{method} {path}: status {}", String::from_utf8_lossy(&status));
        }
        Ok(reader)
    }
}
