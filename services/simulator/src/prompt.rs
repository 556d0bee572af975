//! What a prompt is to the engine: its text, which the answer is drawn from, and its tokens, which cost time.
//!
//! The vocabulary is that of the tiny test model the real engine was recorded with: eight special words, then `w0` to
//! `w499`; any other word is `<unk>`, but still one token.

use std::sync::Arc;

use crate::text::{self, mix};

/// Words that are not `w0` to `w499`.
const SPECIAL: [&str; 8] =
    ["<pad>", "<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"];
const UNKNOWN: u32 = 3;
/// Words of the form `w…`.
pub(crate) const WORDS: u32 = 500;

/// A prompt, ready to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    pub(crate) tokens: Vec<u32>,
    /// Tells the words apart, the unknown ones too, which as tokens are all the same.
    words: Vec<u64>,
    pub(crate) begun: Option<Begun>,
}

/// An answer that is to be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begun {
    /// The prompt that it answers.
    pub(crate) asked: String,
    pub(crate) said: String,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) role: String,
    pub(crate) content: String,
}

/// What follows the messages of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The assistant's turn.
    Answer,
    /// More of the last message.
    Continuation,
    /// Nothing: the chat as it is.
    Nothing,
}

impl Prompt {
    pub(crate) fn from_text(text: impl Into<String>) -> Self {
        let text = text.into();
        let tokens = text.split_whitespace().map(token_id).collect();
        let words = text.split_whitespace().map(fingerprint).collect();
        Self { text, tokens, words, begun: None }
    }

    pub(crate) fn from_tokens(tokens: Vec<u32>) -> Self {
        let words = tokens.iter().copied().map(token_fingerprint).collect();
        Self { text: detokenize(&tokens), tokens, words, begun: None }
    }

    /// The chat template: each message between its role and an end, then what is to come.
    pub(crate) fn from_messages(messages: &[Message], next: Next) -> Self {
        let mut text = String::new();
        for (place, Message { role, content }) in messages.iter().enumerate() {
            text.push_str(&format!("<|{role}|> {content} "));
            if next != Next::Continuation || place + 1 < messages.len() {
                text.push_str("<|end|> ");
            }
        }
        if next == Next::Answer {
            text.push_str("<|assistant|>");
        }
        let begun = match messages {
            [before @ .., last] if next == Next::Continuation && last.role == "assistant" => Some(Begun {
                asked: Self::from_messages(before, Next::Answer).text,
                said: last.content.clone(),
            }),
            _ => None,
        };
        Self { begun, ..Self::from_text(text) }
    }

    /// What the full blocks of the prompt hold, and of an answer behind it: each hash covers everything before it too.
    pub(crate) fn blocks(&self, answer: impl Iterator<Item = u64>, block_size: u32) -> Arc<[u64]> {
        let (mut hash, mut blocks) = (0, Vec::new());
        for (place, word) in (1..).zip(self.words.iter().copied().chain(answer)) {
            hash = mix(hash, word);
            if place % block_size.max(1) == 0 {
                blocks.push(hash);
            }
        }
        blocks.into()
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }
}

/// The token that a generated word `w…` is.
pub(crate) fn word_id(number: u32) -> u32 {
    number + SPECIAL.len() as u32
}

fn token_id(word: &str) -> u32 {
    if let Some(place) = SPECIAL.iter().position(|special| *special == word) {
        return place as u32;
    }
    let number = word.strip_prefix('w').filter(|digits| !digits.starts_with('+'));
    match number.and_then(|digits| digits.parse::<u32>().ok()) {
        Some(number) if number < WORDS && word == format!("w{number}") => word_id(number),
        _ => UNKNOWN,
    }
}

/// Stands for a word wherever it occurs, in a text or as a token.
pub(crate) fn fingerprint(word: &str) -> u64 {
    match token_id(word) {
        UNKNOWN => text::hash(word, 0),
        token => token_fingerprint(token),
    }
}

/// Stands for the word that a token is.
pub(crate) fn token_fingerprint(token: u32) -> u64 {
    mix(u64::from(token), 0)
}

/// The word a token stands for.
pub(crate) fn word(token: u32) -> Option<String> {
    match SPECIAL.get(token as usize) {
        Some(special) => Some((*special).to_owned()),
        None => {
            token.checked_sub(SPECIAL.len() as u32).filter(|number| *number < WORDS).map(|n| format!("w{n}"))
        }
    }
}

/// Tokens as text; special ones and those that do not exist are left out.
pub(crate) fn detokenize(tokens: &[u32]) -> String {
    let visible = tokens.iter().filter(|token| **token >= SPECIAL.len() as u32);
    visible.filter_map(|token| word(*token)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.to_owned(), content: content.to_owned() }
    }

    #[test]
    fn a_message_costs_two_tokens_more_than_its_words() {
        let prompt = Prompt::from_messages(&[message("user", "w1 w2")], Next::Answer);
        assert_eq!(prompt.tokens, [4, 9, 10, 7, 5]);
    }

    #[test]
    fn a_continued_message_stays_open() {
        let prompt =
            Prompt::from_messages(&[message("user", "w1"), message("assistant", "w5")], Next::Continuation);
        assert_eq!(prompt.tokens, [4, 9, 7, 5, 13]);
    }

    #[test]
    fn words_and_tokens_are_two_forms_of_the_same() {
        assert_eq!(Prompt::from_text("w1 w499 hello w500 w01").tokens, [9, 507, 3, 3, 3]);
        assert_eq!(Prompt::from_tokens(vec![9, 10, 99_999]).text, "w1 w2");
    }

    #[test]
    fn prompts_share_the_blocks_they_have_in_common_from_the_beginning() {
        let blocks = |text: &str| Prompt::from_text(text).blocks(std::iter::empty(), 2);
        let (one, other) = (blocks("w1 hello w3 w4 w5"), blocks("w1 hello w3 w5 w5 w6"));
        assert_eq!((one.len(), other.len()), (2, 3));
        assert_eq!(one[0], other[0]);
        assert_ne!(one[1], other[1]);
        assert_ne!(
            blocks("w1 hello"),
            blocks("w1 goodbye"),
            "unknown words differ though their token is one"
        );
        assert_ne!(blocks("w1 w2 w3 w4")[1], blocks("w5 w6 w3 w4")[1], "what stands before counts too");
        assert_eq!(blocks("w1 w2"), Prompt::from_tokens(vec![9, 10]).blocks(std::iter::empty(), 2));
    }

    #[test]
    fn an_answer_fills_the_blocks_behind_its_prompt() {
        let answer = ["w3", "w4"].map(fingerprint).into_iter();
        let whole = Prompt::from_text("w1 w2 w3 w4").blocks(std::iter::empty(), 2);
        assert_eq!(Prompt::from_text("w1 w2").blocks(answer, 2), whole);
    }
}
