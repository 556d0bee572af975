//! The answers: words drawn from a hash of the prompt, and where they end.
//!
//! Everything about an answer is settled before it is queued (`Answer::plan`), so the scheduler knows its length and a
//! stream only has to unroll it (`Telling`), holding back what might turn out to be a stop string as the real engine does.

use crate::prompt::{self, WORDS};

/// Says that nobody thought about the answer.
const BANNER: &str = "(simulated)";
/// The silent token of an answer that ended by itself.
const END: u32 = 2;
/// Answers that end by themselves have at least this many tokens,
const SHORTEST: u64 = 16;
/// and fewer than this many more.
const SPREAD: u64 = 240;
/// So many tokens of an answer are looked through for where it broke off.
const LONGEST: u32 = 100_000;

/// Sampling parameters that shape an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shape {
    /// 0 when the answer depends on the prompt alone.
    pub(crate) seed: u64,
    pub(crate) max_tokens: u32,
    pub(crate) min_tokens: u32,
    pub(crate) ignore_eos: bool,
    pub(crate) stop: Vec<String>,
    pub(crate) stop_token_ids: Vec<u32>,
    pub(crate) include_stop: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    Length,
    Stop,
    StopString(String),
    StopToken(u32),
}

/// An answer that is known but not yet told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    seed: u64,
    banner: bool,
    /// Places that were told before, in the message that this answer goes on with.
    begun: u32,
    pub(crate) tokens: u32,
    pub(crate) finish: Finish,
    /// Where the text is cut, when it ends in a stop string or stop token.
    cut: Option<usize>,
    /// Bytes held back because they might begin a stop string.
    hold: usize,
}

/// What stands at a place of an answer.
enum Word {
    Banner,
    /// `w0` to `w499`.
    Number(u32),
    End,
}

/// One token and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) text: String,
}

impl Answer {
    /// The answer to a prompt, or the rest of one of which `said` was told before. As with greedy decoding, an answer
    /// goes on as it would have without the break; what says something else is answered anew.
    pub(crate) fn continued(asked: &str, said: &str, shape: &Shape) -> Option<Self> {
        let endless =
            Shape { max_tokens: u32::MAX, stop: Vec::new(), stop_token_ids: Vec::new(), ..shape.clone() };
        let whole = Self::plan(asked, &endless);
        let mut text = String::new();
        let begun = (0..whole.tokens.min(LONGEST)).find_map(|place| {
            text.push_str(&whole.token(place).text);
            (text.trim_start() == said).then_some(place + 1)
        })?;
        let left = whole.tokens - begun;
        let finish = if left <= shape.max_tokens { whole.finish } else { Finish::Length };
        let mut rest = Self { begun, tokens: left.min(shape.max_tokens), finish, ..whole };
        rest.stop_early(shape);
        Some(rest)
    }

    pub(crate) fn plan(prompt: &str, shape: &Shape) -> Self {
        let seed = hash(prompt, shape.seed);
        let natural = if shape.ignore_eos {
            u32::MAX
        } else {
            natural_length(seed).max(shape.min_tokens.saturating_add(1))
        };
        let finish = if natural < shape.max_tokens { Finish::Stop } else { Finish::Length };
        let hold =
            if shape.include_stop { 0 } else { shape.stop.iter().map(String::len).max().unwrap_or(1) - 1 };
        let tokens = natural.min(shape.max_tokens);
        let mut answer = Self { seed, banner: !shape.ignore_eos, begun: 0, tokens, finish, cut: None, hold };
        answer.stop_early(shape);
        answer
    }

    /// The token at a place; the last one of an answer that ended by itself is the silent end-of-text.
    pub(crate) fn token(&self, place: u32) -> Token {
        match self.word(place) {
            Word::Number(number) => Token { id: prompt::word_id(number), text: format!(" w{number}") },
            Word::Banner => Token { id: 3, text: BANNER.to_owned() },
            Word::End => Token { id: END, text: String::new() },
        }
    }

    fn word(&self, place: u32) -> Word {
        if self.finish == Finish::Stop && place + 1 == self.tokens {
            return Word::End;
        }
        let place = place + self.begun;
        if self.banner && place == 0 {
            return Word::Banner;
        }
        Word::Number((mix(self.seed, u64::from(place)) % u64::from(WORDS)) as u32)
    }

    /// Stands for each of its tokens in turn, as for those of a prompt.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.tokens).map(|place| match self.word(place) {
            Word::Number(number) => prompt::token_fingerprint(prompt::word_id(number)),
            Word::Banner => prompt::fingerprint(BANNER),
            Word::End => prompt::token_fingerprint(END),
        })
    }

    /// Ends the answer at the first stop string or stop token behind `min_tokens`.
    fn stop_early(&mut self, shape: &Shape) {
        let stops: Vec<&String> = shape.stop.iter().filter(|stop| !stop.is_empty()).collect();
        if stops.is_empty() && shape.stop_token_ids.is_empty() {
            return;
        }
        let mut text = String::new();
        for place in 0..self.tokens {
            let token = self.token(place);
            let before = text.len();
            text.push_str(&token.text);
            if place + 1 >= shape.min_tokens && shape.stop_token_ids.contains(&token.id) {
                self.end(place, Finish::StopToken(token.id), before);
                return;
            }
            if place < shape.min_tokens {
                continue;
            }
            let longest = stops.iter().map(|stop| stop.len()).max().unwrap_or(0);
            let from = before.saturating_sub(longest);
            let found =
                stops.iter().find_map(|stop| Some((from + text.get(from..)?.find(stop.as_str())?, *stop)));
            if let Some((at, stop)) = found {
                let cut = if shape.include_stop { at + stop.len() } else { at };
                self.end(place, Finish::StopString(stop.clone()), cut);
                return;
            }
        }
    }

    fn end(&mut self, place: u32, finish: Finish, cut: usize) {
        (self.tokens, self.finish, self.cut) = (place + 1, finish, Some(cut));
    }
}

/// An answer being told, token by token.
#[derive(Debug)]
pub(crate) struct Telling {
    pub(crate) answer: Answer,
    /// Tokens told so far.
    pub(crate) told: u32,
    text: String,
    sent: usize,
}

impl Telling {
    pub(crate) fn new(answer: Answer) -> Self {
        Self { answer, told: 0, text: String::new(), sent: 0 }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.told >= self.answer.tokens
    }

    /// Bytes told so far, those held back included.
    pub(crate) fn length(&self) -> usize {
        self.text.len()
    }

    /// The next token, and the text that may be shown because of it (perhaps none).
    pub(crate) fn next(&mut self) -> (Token, String) {
        let token = self.answer.token(self.told);
        self.told += 1;
        self.text.push_str(&token.text);
        let end = if self.is_finished() {
            self.answer.cut.unwrap_or(self.text.len())
        } else {
            self.text.len().saturating_sub(self.answer.hold)
        };
        let shown = self.text.get(self.sent..end).unwrap_or_default().to_owned();
        self.sent = self.sent.max(end);
        (token, shown)
    }
}

fn natural_length(seed: u64) -> u32 {
    (SHORTEST + mix(seed, u64::MAX) % SPREAD) as u32
}

/// FNV-1a over the text, begun at a seed.
pub(crate) fn hash(text: &str, seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ mix(seed, 0);
    text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The number at a place of the sequence that a seed begins (splitmix64).
pub(crate) fn mix(seed: u64, place: u64) -> u64 {
    let mut bits = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
