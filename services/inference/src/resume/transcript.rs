//! What was said of an answer so far, so that another engine can go on, and what it repeats is not said twice.

use super::chunk::{self, Chunk};
use crate::sse::{Event, Usage};
use bytes::Bytes;
use std::collections::VecDeque;

/// Chunks that the second engine must repeat before it is believed.
const REPEATED: usize = 4;
/// Ends of chunks that are remembered, to find one at which words end.
const REMEMBERED: usize = 32;

/// What was said up to the end of a chunk.
#[derive(Debug, Clone, Copy)]
struct Mark {
    bytes: usize,
    tokens: u64,
}

/// What an engine is to go on from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) tokens: u64,
}

/// What an event is to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// To be told like this.
    Tell(Bytes),
    /// Known already.
    Known,
    /// Something else than what was said before.
    Otherwise,
}

/// An answer as far as the client has it.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    text: String,
    /// How much of it this engine has said or was given.
    at: usize,
    marks: VecDeque<Mark>,
    /// An early end of a chunk was forgotten.
    forgot: bool,
    /// It cannot be continued: it has more than text, nobody knows how many tokens it has, or it is told to its end.
    beyond: bool,
    /// Usage of the prompt as its caller sent it.
    prompt: Option<Usage>,
    /// Tokens of all that was told when the last engine broke off.
    told: u64,
    /// Tokens that this engine was given as said.
    given: u64,
    resumed: u32,
    /// The next event is the first one that this engine adds.
    marked: bool,
}

impl Transcript {
    /// An event with the usage that it has for the caller: what earlier engines made is made, and read once.
    pub(crate) fn counted(&mut self, event: Event) -> Event {
        match event {
            Event::Content { tokens, usage } => {
                Event::Content { tokens, usage: usage.map(|usage| self.usage(usage)) }
            }
            Event::Usage(usage) => Event::Usage(self.usage(usage)),
            event => event,
        }
    }

    fn usage(&mut self, usage: Usage) -> Usage {
        let prompt = *self.prompt.get_or_insert(usage);
        Usage { completion: self.given + usage.completion, ..prompt }
    }

    /// Takes an event in, counted as above.
    pub(crate) fn hear(&mut self, event: &[u8], counted: &Event) -> Heard {
        match counted {
            Event::Content { usage, .. } => self.content(event, *usage),
            Event::Usage(usage) if self.resumed > 0 => {
                let told = chunk::with_usage(event, usage.prompt, usage.completion);
                Heard::Tell(told.unwrap_or_else(|| Bytes::copy_from_slice(event)))
            }
            _ if self.at < self.text.len() => Heard::Otherwise,
            _ => Heard::Tell(Bytes::copy_from_slice(event)),
        }
    }

    fn content(&mut self, event: &[u8], usage: Option<Usage>) -> Heard {
        let Some(chunk) = chunk::read(event) else {
            self.beyond = true;
            return self.tell(event);
        };
        self.beyond |= chunk.more || chunk.last || usage.is_none();
        let awaited = &self.text[self.at..];
        if !awaited.is_empty() || (self.resumed > 0 && chunk.role) {
            return self.repeated(event, &chunk, usage);
        }
        self.say(&chunk.text, usage);
        self.tell(event)
    }

    /// A chunk that must begin with what is awaited, or be its beginning.
    fn repeated(&mut self, event: &[u8], chunk: &Chunk, usage: Option<Usage>) -> Heard {
        let awaited = &self.text[self.at..];
        if awaited.starts_with(&chunk.text) && !chunk.last {
            self.at += chunk.text.len();
            self.mark(usage);
            return Heard::Known;
        }
        let Some(new) = chunk.text.strip_prefix(awaited) else { return Heard::Otherwise };
        let made = usage.map_or(0, |usage| usage.completion);
        if !new.is_empty() && made <= self.told {
            // A longer word in the place of the last one.
            return Heard::Otherwise;
        }
        let new = new.to_owned();
        self.say(&new, usage);
        chunk::with_text(event, &new).map_or(Heard::Otherwise, |event| self.tell(&event))
    }

    fn say(&mut self, text: &str, usage: Option<Usage>) {
        self.text.push_str(text);
        self.at = self.text.len();
        self.mark(usage);
    }

    fn mark(&mut self, usage: Option<Usage>) {
        let tokens = usage.map_or(0, |usage| usage.completion);
        if self.marks.back().is_some_and(|mark| mark.bytes == self.at) {
            // A part of a character, which is told with the next token.
            return;
        }
        self.marks.push_back(Mark { bytes: self.at, tokens });
        if self.marks.len() > REMEMBERED {
            self.marks.pop_front();
            self.forgot = true;
        }
    }

    fn tell(&mut self, event: &[u8]) -> Heard {
        let event = chunk::without_usage(event);
        if std::mem::take(&mut self.marked) {
            return Heard::Tell(chunk::marked(&event, self.resumed).into());
        }
        Heard::Tell(event.into_owned().into())
    }

    /// Goes back to the end of a word a few chunks ago, which another engine may go on from. `None` when it cannot.
    pub(super) fn go_back(&mut self) -> Option<Said> {
        // A part of a character is told as a mark of its own, and a template may take off space at the beginning.
        if self.beyond || self.text.contains('\u{fffd}') || self.text.starts_with(char::is_whitespace) {
            return None;
        }
        let word = |mark: &Mark| mark.bytes > 0 && !self.text[..mark.bytes].ends_with(char::is_whitespace);
        let from = self.marks.iter().rev().skip(REPEATED).find(|mark| word(mark)).copied();
        let from = from.or_else(|| (!self.forgot).then_some(Mark { bytes: 0, tokens: 0 }))?;
        self.told = self.marks.back().map_or(0, |mark| mark.tokens).max(self.told);
        self.marks.retain(|mark| mark.bytes <= from.bytes);
        (self.at, self.given) = (from.bytes, from.tokens);
        self.resumed += 1;
        self.marked = true;
        Some(Said { text: self.text[..from.bytes].to_owned(), tokens: from.tokens })
    }
}

#[cfg(test)]
mod tests;
