//! Log probabilities: invented like the text they belong to, in the two shapes the two routes have.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::prompt::{WORDS, word_id};
use crate::text::Token;

/// About one in five hundred words, as from a model that knows nothing.
const LIKELIHOOD: f64 = -6.230_479_240_417_48;
/// How much less likely each further alternative is.
const STEP: f64 = 0.000_001;

/// One token of a chat.
#[derive(Debug, Serialize)]
struct ChatToken {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
    top_logprobs: Vec<Alternative>,
}

#[derive(Debug, Serialize)]
struct Alternative {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
}

/// The tokens of a chat's answer, or of one event of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct ChatLogprobs {
    content: Vec<ChatToken>,
}

/// The tokens of a completion, or of one event of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct CompletionLogprobs {
    text_offset: Vec<usize>,
    token_logprobs: Vec<f64>,
    tokens: Vec<String>,
    top_logprobs: Vec<BTreeMap<String, f64>>,
}

impl ChatLogprobs {
    pub(super) fn push(&mut self, token: &Token, many: usize) {
        let alternatives = alternatives(token, many);
        let top_logprobs =
            alternatives.map(|(token, logprob)| Alternative { bytes: token.clone().into(), token, logprob });
        let name = name(token);
        let entry = ChatToken {
            bytes: name.clone().into(),
            token: name,
            logprob: LIKELIHOOD,
            top_logprobs: top_logprobs.collect(),
        };
        self.content.push(entry);
    }
}

impl CompletionLogprobs {
    pub(super) fn push(&mut self, token: &Token, many: usize, offset: usize) {
        self.text_offset.push(offset);
        self.token_logprobs.push(LIKELIHOOD);
        self.tokens.push(name(token));
        self.top_logprobs.push(alternatives(token, many.max(1)).collect());
    }
}

/// The token without its leading blank.
fn name(token: &Token) -> String {
    token.text.trim_start().to_owned()
}

/// The token itself, then the words that follow it in the vocabulary.
fn alternatives(token: &Token, many: usize) -> impl Iterator<Item = (String, f64)> + use<> {
    let (first, name) = (token.id.saturating_sub(word_id(0)), name(token));
    (0..many as u32).map(move |place| {
        let token = if place == 0 { name.clone() } else { format!("w{}", (first + place) % WORDS) };
        (token, LIKELIHOOD - f64::from(place) * STEP)
    })
}
