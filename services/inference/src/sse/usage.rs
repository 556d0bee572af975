//! What an answer says that it took, in the words of whichever route it is of.

use memchr::memmem::{Finder, FinderRev};
use serde::Deserialize;
use std::sync::LazyLock;

// Every event is searched for these, and to prepare a search takes longer than to make it.
static USAGE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"usage\":{"));
static LAST_USAGE: LazyLock<FinderRev<'_>> = LazyLock::new(|| FinderRev::new(b"\"usage\":{"));

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

/// Usage in any of the words that are used for it.
#[derive(Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    input_tokens_details: Option<Details>,
    /// Where these are said, `input_tokens` are the others alone.
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl From<Said> for Usage {
    fn from(said: Said) -> Self {
        let (read, created) = (said.cache_read_input_tokens, said.cache_creation_input_tokens);
        let aside = read.unwrap_or(0).saturating_add(created.unwrap_or(0));
        let input = said.input_tokens.map(|tokens| tokens.saturating_add(aside));
        let details = said.prompt_tokens_details.or(said.input_tokens_details);
        Self {
            prompt: said.prompt_tokens.or(input).or(said.total_tokens).unwrap_or(0),
            cached: details.and_then(|details| details.cached_tokens).or(read).unwrap_or(0),
            completion: said.completion_tokens.or(said.output_tokens).unwrap_or(0),
        }
    }
}

/// The usage in an answer or event, where it says one and nothing that callers wrote as JSON stands behind it.
#[must_use]
pub fn usage(json: &[u8]) -> Option<Usage> {
    // The engine's own `usage` comes after the text, so the last one is it; a text can only hold it quoted.
    // Most events say none, which is found out faster forwards.
    let at = USAGE.find(json).and_then(|_| LAST_USAGE.rfind(json))?;
    let object = json.get(at + 8..)?;
    let mut stream = serde_json::Deserializer::from_slice(object).into_iter::<Said>();
    stream.next()?.ok().map(Usage::from)
}

#[derive(Deserialize)]
pub(super) struct Whole {
    #[serde(default)]
    usage: Option<Said>,
}

impl Whole {
    pub(super) fn usage(self) -> Option<Usage> {
        self.usage.map(Usage::from)
    }
}

/// The usage in the outermost object of an answer, whatever else may be in there.
#[must_use]
pub fn whole_usage(json: &[u8]) -> Option<Usage> {
    serde_json::from_slice::<Whole>(json).ok()?.usage()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(usage: &str) -> (u64, u64, u64) {
        let usage = whole_usage(format!(r#"{{"id":"a","usage":{usage}}}"#).as_bytes()).unwrap();
        (usage.prompt, usage.cached, usage.completion)
    }

    #[test]
    fn every_route_has_words_of_its_own_for_the_same() {
        let chat = r#"{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}"#;
        let response = r#"{"input_tokens":9,"output_tokens":3,"total_tokens":12,"input_tokens_details":{"cached_tokens":4}}"#;
        let message = r#"{"input_tokens":3,"output_tokens":3,"cache_read_input_tokens":4,"cache_creation_input_tokens":2}"#;
        for usage in [chat, response, message] {
            assert_eq!(said(usage), (9, 4, 3), "{usage}");
        }
        assert_eq!(said(r#"{"prompt_tokens":7,"total_tokens":7}"#), (7, 0, 0));
        assert_eq!(said(r#"{"total_tokens":7}"#), (7, 0, 0));
    }

    #[test]
    fn what_callers_wrote_is_not_the_usage_wherever_it_stands() {
        let forged =
            r#"{"usage":{"input_tokens":9,"output_tokens":3},"tools":[{"usage":{"input_tokens":0}}]}"#;
        assert_eq!(whole_usage(forged.as_bytes()).map(|usage| usage.prompt), Some(9));
        assert_eq!(whole_usage(br#"{"tools":[{"usage":{"input_tokens":1}}]}"#), None);
    }
}
