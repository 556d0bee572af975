//! What an event of an engine's stream says, as far as the account needs it.
//!
//! Pure: bytes in, facts out. Events end with an empty line; an engine sends each as a chunk of its own, but nothing
//! here relies on it.

mod ending;
mod named;
mod usage;

pub use ending::Ending;
pub use usage::{Usage, usage, whole_usage};

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use std::sync::LazyLock;

// Every event is searched for these, and to prepare a search takes longer than to make it.
static NO_CHOICES: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"choices\":[]"));
static ROLE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"role\":\"assistant\""));
static LF: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\n\n"));
static CRLF: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The end, and the usage of the whole request where it comes with that.
    Done(Option<Usage>),
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
    /// The engine has taken the request in; whether it will answer is not said yet.
    Begun,
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

/// Reads one event, its closing empty line included or not.
#[must_use]
pub fn read(event: &[u8]) -> Event {
    let (name, data) = lines(event);
    let Some(data) = data else { return Event::Other };
    if let Some(event) = name.and_then(|name| named::read(name, data)) {
        return event;
    }
    if data == b"[DONE]" {
        return Event::Done(None);
    }
    if data.starts_with(b"{\"error\"") {
        return Event::Error(named::error(data));
    }
    let usage = usage(data);
    match usage {
        Some(usage) if NO_CHOICES.find(data).is_some() => Event::Usage(usage),
        usage => Event::Content { tokens: ROLE.find(data).is_none(), usage },
    }
}

/// The first event that says whether there is an answer, once it is there.
#[must_use]
pub fn first(mut bytes: &[u8]) -> Option<Event> {
    loop {
        let (event, rest) = bytes.split_at(end_of_event(bytes)?);
        match read(event) {
            Event::Begun => bytes = rest,
            event => return Some(event),
        }
    }
}

/// Name and data of an event.
fn lines(event: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    let (mut lines, mut name) = (event, None);
    loop {
        let (line, rest) = match memchr::memchr(b'\n', lines) {
            Some(end) => (&lines[..end], Some(&lines[end + 1..])),
            None => (lines, None),
        };
        if let Some(data) = line.strip_prefix(b"data:") {
            return (name, Some(data.trim_ascii()));
        }
        name = line.strip_prefix(b"event:").map(<[u8]>::trim_ascii).or(name);
        match rest {
            Some(rest) => lines = rest,
            None => return (name, None),
        }
    }
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
        assert_eq!(first[8], Event::Done(None));
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
