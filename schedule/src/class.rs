//! Classes of requests and what each is promised.

use std::time::Duration;

/// How urgent a request is. Sooner is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The installation's own work that others wait for, such as warm-ups and probes.
    System,
    /// Somebody looks at the screen.
    Interactive,
    /// Nothing was said.
    Default,
    /// It fills what the others leave.
    Batch,
}

impl Class {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 4] = [Self::System, Self::Interactive, Self::Default, Self::Batch];

    /// The word for it in requests, settings and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Interactive => "interactive",
            Self::Default => "default",
            Self::Batch => "batch",
        }
    }

    /// The class that this word stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// Its place in [`Class::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What a class is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// The first token within one time, and token `n` within `n - 1` times the other after that.
    Stream {
        /// From arrival to the first token.
        first_token: Duration,
        /// Between tokens, on the whole.
        per_token: Duration,
    },
    /// The whole answer within a time.
    Whole(Duration),
}

impl Objective {
    /// Time to the first token, or to all of it.
    #[must_use]
    pub const fn patience(self) -> Duration {
        match self {
            Self::Stream { first_token, .. } => first_token,
            Self::Whole(whole) => whole,
        }
    }
}
