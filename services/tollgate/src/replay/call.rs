//! One request from its due moment to its end, as a client sees it.

use super::{
    client::{Asker, Client},
    plan::Call,
    sse::{Event, Events, Usage},
};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;
use std::{collections::BTreeMap, fmt, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// No request is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(600);
/// Of an answer that is an error, so much is read, so that the connection can be used again.
const MAX_REFUSAL: usize = 64 * 1024;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// All of the stream, with its usage.
    Finished(Usage),
    /// We hung up, as planned.
    HungUp,
    Failed(Fault),
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody listens.
    Connect,
    /// The connection broke before there was an answer.
    NoAnswer,
    Status(StatusCode),
    /// The stream broke, or ended without `[DONE]`.
    Cut,
    /// The stream said itself that it failed.
    InBand(String),
    /// The stream ended well but never said its usage.
    NoUsage,
    Timeout,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::NoAnswer => f.write_str("no_answer"),
            Self::Status(status) => write!(f, "http_{}", status.as_u16()),
            Self::Cut => f.write_str("cut"),
            Self::InBand(word) => write!(f, "in_band_{word}"),
            Self::NoUsage => f.write_str("no_usage"),
            Self::Timeout => f.write_str("timeout"),
        }
    }
}

/// What there is to say about one request.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) row: usize,
    pub(super) request_id: String,
    pub(super) status: Option<StatusCode>,
    pub(super) ending: Ending,
    /// Tokens that were sent and asked for.
    pub(super) asked: (u32, u32),
    /// Events of the answer that came, its first one without text included.
    pub(super) events: u32,
    /// Whether the stream said that it was whole.
    pub(super) done: bool,
    /// Last usage seen, also of a stream that went wrong later.
    pub(super) usage: Option<Usage>,
    /// Since the request was due.
    pub(super) first_token: Option<Duration>,
    pub(super) last_token: Option<Duration>,
    /// Events by the second, since it was due, in which they came.
    pub(super) by_second: BTreeMap<u64, u32>,
    pub(super) end: Duration,
}

impl Outcome {
    /// Time between two tokens, on average over the answer.
    pub(super) fn time_per_token(&self) -> Option<Duration> {
        let Ending::Finished(usage) = self.ending else { return None };
        let gaps = u32::try_from(usage.completion_tokens.checked_sub(1)?).ok()?;
        (self.last_token? - self.first_token?).checked_div(gaps)
    }
}

/// What a stream has told so far.
#[derive(Debug, Default)]
struct Heard {
    due: Option<Instant>,
    by_second: BTreeMap<u64, u32>,
    usage: Option<Usage>,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    events: u32,
    done: bool,
}

/// Carries a call out. Its clock starts at `due`, however late this task got to run; at `until` it is given up.
pub(super) async fn carry_out(client: Client, call: Call, due: Instant, until: Option<Instant>) -> Outcome {
    let request_id = client.request_id(&call.row.to_string());
    let body = body(client.model(), &call.prompt(), call.max_tokens);
    let (mut status, mut heard) = (None, Heard { due: Some(due), ..Heard::default() });
    let asker = Asker { user: call.user, class: call.class };
    let exchange =
        exchange(&client, (&request_id, asker), body, call.hang_up_after, (&mut status, &mut heard));
    let patience = Instant::now() + PATIENCE;
    let until = until.map_or(patience, |until| until.min(patience));
    let ending = timeout_at(until, exchange).await.unwrap_or(Ending::Failed(Fault::Timeout));
    Outcome {
        row: call.row,
        request_id,
        status,
        ending,
        asked: (call.prompt_tokens, call.max_tokens),
        events: heard.events,
        done: heard.done,
        usage: heard.usage,
        first_token: heard.first_token.map(|at| at - due),
        last_token: heard.last_token.map(|at| at - due),
        by_second: heard.by_second,
        end: due.elapsed(),
    }
}

/// Tokens that the chat template adds to the words of a prompt.
pub(super) async fn probe(client: &Client) -> anyhow::Result<u32> {
    let words = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7"];
    let body = body(client.model(), &words.join(" "), 1);
    let (mut status, mut heard) = (None, Heard::default());
    let request_id = client.request_id("probe");
    let exchange = exchange(client, (&request_id, Asker::default()), body, None, (&mut status, &mut heard));
    match timeout(PATIENCE, exchange).await.unwrap_or(Ending::Failed(Fault::Timeout)) {
        Ending::Finished(usage) => {
            let overhead = usage.prompt_tokens.saturating_sub(words.len() as u64);
            Ok(u32::try_from(overhead)?)
        }
        Ending::Failed(fault) => anyhow::bail!(
            "a first request to {} did not succeed ({fault}); check that the gateway runs, that the key is \
             good and that it may use the model {}",
            client.base_url(),
            client.model()
        ),
        Ending::HungUp => anyhow::bail!("a first request hung up on its own"),
    }
}

fn body(model: &str, prompt: &str, max_tokens: u32) -> String {
    json!({
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "ignore_eos": true,
        "temperature": 0,
        "stream": true,
        "stream_options": {"include_usage": true},
    })
    .to_string()
}

async fn exchange(
    client: &Client,
    (request_id, asker): (&str, Asker),
    body: String,
    hang_up_after: Option<u32>,
    (status, heard): (&mut Option<StatusCode>, &mut Heard),
) -> Ending {
    let response = match client.chat(request_id, body, asker).await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Ending::Failed(Fault::Connect),
        Err(_) => return Ending::Failed(Fault::NoAnswer),
    };
    *status = Some(response.status());
    if response.status() != StatusCode::OK {
        let fault = Fault::Status(response.status());
        // What the refusal says in words is not reported; it is read for the connection's sake.
        drop(Limited::new(response.into_body(), MAX_REFUSAL).collect().await);
        return Ending::Failed(fault);
    }
    listen(response.into_body(), hang_up_after.unwrap_or(u32::MAX), heard).await
}

/// Reads a stream up to its end, or hangs up by dropping it.
async fn listen(mut body: Incoming, hang_up_after: u32, heard: &mut Heard) -> Ending {
    let mut events = Events::default();
    let mut error = None;
    while heard.events < hang_up_after {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Ending::Failed(error.map_or(Fault::Cut, Fault::InBand)),
            None => return ended(heard.done, error, heard.usage),
        };
        for event in events.feed(frame.data_ref().map_or(&[][..], |bytes| bytes)) {
            match event {
                Event::Tokens(usage) => heard.tokens(usage),
                Event::Usage(usage) => heard.usage = Some(usage),
                Event::Error(word) => error = error.or(Some(word)),
                Event::Done => heard.done = true,
                Event::Other => {}
            }
        }
    }
    Ending::HungUp
}

fn ended(done: bool, error: Option<String>, usage: Option<Usage>) -> Ending {
    match (error, done, usage) {
        (Some(word), _, _) => Ending::Failed(Fault::InBand(word)),
        (None, false, _) => Ending::Failed(Fault::Cut),
        (None, true, None) => Ending::Failed(Fault::NoUsage),
        (None, true, Some(usage)) => Ending::Finished(usage),
    }
}

impl Heard {
    fn tokens(&mut self, usage: Option<Usage>) {
        let now = Instant::now();
        self.first_token.get_or_insert(now);
        self.last_token = Some(now);
        self.usage = usage.or(self.usage);
        self.events += 1;
        if let Some(due) = self.due {
            *self.by_second.entry((now - due).as_secs()).or_default() += 1;
        }
    }
}
