//! What an event of an engine's stream says, as far as the account needs it.
//!
//! Pure: bytes in, facts out. Events end with an empty line; an engine sends each as a chunk of its own, but nothing
//! here relies on it.

use bytes::{Bytes, BytesMut};
use memchr::memmem::{Finder, FinderRev};
use serde::Deserialize;
use std::sync::LazyLock;

// Every event is searched for these, and to prepare a search takes longer than to make it.
static USAGE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"usage\":{"));
static LAST_USAGE: LazyLock<FinderRev<'_>> = LazyLock::new(|| FinderRev::new(b"\"usage\":{"));
static NO_CHOICES: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"choices\":[]"));
static ROLE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"role\":\"assistant\""));
static LF: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\n\n"));
static CRLF: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Tokens as an engine counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub prompt: u64,
    /// Of those, from the prefix cache.
    pub cached: u64,
    /// Tokens made.
    pub completion: u64,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The end, `[DONE]`.
    Done,
    /// An error inside a stream that began well.
    Error(EngineError),
    /// The usage of the whole request, and nothing else.
    Usage(Usage),
    /// Something for the client.
    Content {
        /// Whether it may hold tokens; the first event of a choice says its role alone.
        tokens: bool,
        /// Usage so far, where the client asked for it continuously.
        usage: Option<Usage>,
    },
    /// A comment or an event without data.
    Other,
}

/// An engine's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    /// HTTP status that it stands for.
    pub status: u16,
    /// What the engine says.
    pub message: String,
}

#[derive(Deserialize)]
struct UsageBody {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl From<UsageBody> for Usage {
    fn from(body: UsageBody) -> Self {
        Self {
            prompt: body.prompt_tokens,
            cached: body.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            completion: body.completion_tokens.unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: Option<u16>,
}

/// Reads one event, its closing empty line included or not.
#[must_use]
pub fn read(event: &[u8]) -> Event {
    let Some(data) = data(event) else { return Event::Other };
    if data == b"[DONE]" {
        return Event::Done;
    }
    if data.starts_with(b"{\"error\"") {
        return Event::Error(error(data));
    }
    let usage = usage(data);
    match usage {
        Some(usage) if NO_CHOICES.find(data).is_some() => Event::Usage(usage),
        usage => Event::Content { tokens: ROLE.find(data).is_none(), usage },
    }
}

fn data(event: &[u8]) -> Option<&[u8]> {
    let mut lines = event;
    loop {
        let (line, rest) = match memchr::memchr(b'\n', lines) {
            Some(end) => (&lines[..end], Some(&lines[end + 1..])),
            None => (lines, None),
        };
        if let Some(data) = line.strip_prefix(b"data:") {
            return Some(data.trim_ascii());
        }
        lines = rest?;
    }
}

fn error(data: &[u8]) -> EngineError {
    match serde_json::from_slice::<ErrorBody>(data) {
        Ok(ErrorBody { error }) => EngineError { status: error.code.unwrap_or(500), message: error.message },
        Err(_) => EngineError { status: 500, message: String::new() },
    }
}

/// The usage in an answer or event, where it says one.
#[must_use]
pub fn usage(json: &[u8]) -> Option<Usage> {
    // The engine's own `usage` comes after the text, so the last one is it; a text can only hold it quoted.
    // Most events say none, which is found out faster forwards.
    let at = USAGE.find(json).and_then(|_| LAST_USAGE.rfind(json))?;
    let object = json.get(at + 8..)?;
    let mut stream = serde_json::Deserializer::from_slice(object).into_iter::<UsageBody>();
    stream.next()?.ok().map(Usage::from)
}

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub struct Splitter {
    rest: BytesMut,
}

impl Splitter {
    /// Takes bytes in; [`Splitter::cut`] gives the events that are complete now.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next complete event, with its closing empty line.
    pub fn cut(&mut self) -> Option<Bytes> {
        let end = end_of_event(&self.rest)?;
        Some(self.rest.split_to(end).freeze())
    }

    /// What is left of an event that is not complete.
    #[must_use]
    pub fn into_rest(self) -> Bytes {
        self.rest.freeze()
    }

    /// Bytes of an event that is not complete.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.rest.len()
    }
}

/// Where the first event ends, its empty line included.
#[must_use]
pub fn end_of_event(bytes: &[u8]) -> Option<usize> {
    let lf = LF.find(bytes).map(|at| at + 2);
    // What follows the first end is another event's.
    let first = lf.map_or(bytes, |end| &bytes[..end]);
    CRLF.find(first).map(|at| at + 4).or(lf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RECORDED: &str = include_str!("../tests/data/recorded-sse.txt");

    fn recorded_events() -> Vec<Event> {
        RECORDED.lines().filter(|line| line.starts_with("data: ")).map(|line| read(line.as_bytes())).collect()
    }

    #[test]
    fn a_recorded_stream_is_understood() {
        let events = recorded_events();
        let first = &events[..9];
        assert_eq!(first[0], Event::Content { tokens: false, usage: None });
        assert_eq!(first[1], Event::Content { tokens: true, usage: None });
        assert_eq!(first[7], Event::Usage(Usage { prompt: 17, cached: 0, completion: 6 }));
        assert_eq!(first[8], Event::Done);
    }

    #[test]
    fn recorded_errors_inside_streams_are_seen() {
        let statuses: Vec<u16> = recorded_events()
            .into_iter()
            .filter_map(|event| if let Event::Error(error) = event { Some(error.status) } else { None })
            .collect();
        assert!(statuses.contains(&503) && statuses.contains(&500), "{statuses:?}");
    }

    #[test]
    fn a_text_that_quotes_usage_is_not_usage() {
        let event = br#"data: {"choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":9}"}}]}"#;
        assert_eq!(read(event), Event::Content { tokens: true, usage: None });
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let stream = "data: a\n\ndata: bb\r\n\r\n: comment\n\ndata: [DONE]\n\n";
            let mut splitter = Splitter::default();
            let (mut events, mut at) = (Vec::new(), 0);
            for cut in cuts.into_iter().cycle() {
                if at >= stream.len() { break; }
                let end = (at + cut).min(stream.len());
                splitter.feed(&stream.as_bytes()[at..end]);
                at = end;
                while let Some(event) = splitter.cut() { events.push(event); }
            }
            prop_assert_eq!(events.len(), 4);
            prop_assert_eq!(splitter.pending(), 0);
            prop_assert_eq!(events.concat(), stream.as_bytes());
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = usage(&bytes);
        }
    }
}
