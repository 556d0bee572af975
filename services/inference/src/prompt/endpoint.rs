//! The routes of the engines' HTTP API that are offered, and what is different about each: one table per question.

use crate::sse::{self, Usage};

/// A route of the engines' HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages`
    Messages,
    /// `/v1/messages/count_tokens`
    CountTokens,
    /// `/v1/rerank`
    Rerank,
    /// `/v1/score`
    Score,
    /// `/tokenize`
    Tokenize,
    /// `/detokenize`
    Detokenize,
}

/// What a stream is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Data alone, and `[DONE]` at the end.
    Chunks,
    /// Events with names, numbered; the last one holds the whole response.
    Responses,
    /// Events with names, from `message_start` to `message_stop`.
    Messages,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Rerank,
        Self::Score,
        Self::Tokenize,
        Self::Detokenize,
    ];

    /// The path on an engine.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Rerank => "/v1/rerank",
            Self::Score => "/v1/score",
            Self::Tokenize => "/tokenize",
            Self::Detokenize => "/detokenize",
        }
    }

    /// Further paths by which callers know it.
    #[must_use]
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Rerank => &["/rerank", "/v2/rerank"],
            Self::Score => &["/score"],
            Self::Tokenize => &["/v1/tokenize"],
            Self::Detokenize => &["/v1/detokenize"],
            _ => &[],
        }
    }

    /// All paths by which callers know it.
    pub fn paths(self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.path()).chain(self.aliases().iter().copied())
    }

    /// The field that says how many tokens may be made at most.
    #[must_use]
    pub const fn bound(self) -> &'static str {
        match self {
            Self::Responses => "max_output_tokens",
            _ => "max_tokens",
        }
    }

    /// The name in the usage ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::CountTokens => "messages/count_tokens",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
        }
    }

    /// `gen_ai.operation.name` of the OpenTelemetry conventions, or a word of our own where they have none.
    #[must_use]
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses | Self::Messages => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::CountTokens | Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
        }
    }

    /// The field that holds what to work on, as it is called where none is given.
    pub(super) const fn input(self) -> &'static str {
        match self {
            Self::Chat | Self::Messages | Self::CountTokens => "messages",
            Self::Completions | Self::Tokenize => "prompt",
            Self::Embeddings | Self::Responses => "input",
            Self::Rerank => "documents",
            Self::Score => "text_2",
            Self::Detokenize => "tokens",
        }
    }

    /// What its streams are written in; `None` where engines answer whole whatever is asked.
    #[must_use]
    pub const fn streams(self) -> Option<Dialect> {
        match self {
            Self::Chat | Self::Completions => Some(Dialect::Chunks),
            Self::Responses => Some(Dialect::Responses),
            Self::Messages => Some(Dialect::Messages),
            _ => None,
        }
    }

    /// What its caller is told in when something goes wrong on the way.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        self.streams().unwrap_or(Dialect::Chunks)
    }

    /// Whether tokens are made.
    #[must_use]
    pub const fn makes(self) -> bool {
        match self {
            Self::Chat | Self::Completions | Self::Responses | Self::Messages => true,
            Self::Embeddings
            | Self::CountTokens
            | Self::Rerank
            | Self::Score
            | Self::Tokenize
            | Self::Detokenize => false,
        }
    }

    /// Whether the model itself works on the input; else it is only cut into tokens, and nothing is counted.
    #[must_use]
    pub const fn computes(self) -> bool {
        !matches!(self, Self::CountTokens | Self::Tokenize | Self::Detokenize)
    }

    /// Whether a file of lines may ask for it.
    #[must_use]
    pub const fn has_batches(self) -> bool {
        self.computes() && !matches!(self, Self::Messages)
    }

    /// What a whole answer says that it took.
    #[must_use]
    pub fn usage(self, json: &[u8]) -> Option<Usage> {
        match self {
            Self::Chat | Self::Completions | Self::Embeddings => sse::usage(json),
            // What callers wrote may stand behind the usage here.
            Self::Responses | Self::Messages | Self::Rerank | Self::Score => sse::whole_usage(json),
            Self::CountTokens | Self::Tokenize | Self::Detokenize => Some(Usage::default()),
        }
    }
}

impl std::str::FromStr for Endpoint {
    type Err = ();

    fn from_str(path: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|endpoint| endpoint.paths().any(|known| known == path)).ok_or(())
    }
}
