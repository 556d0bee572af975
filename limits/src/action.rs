//! What callers do, and how much of it they may: the table of requirement, and what configuration can say.

use crate::subject::Layer;
use serde::Deserialize;
use std::time::Duration;
use uuid::Uuid;

/// How much an action matters when there is less to go round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Importance {
    /// Shrunk twice as far under load.
    Low,
    /// Shrunk by the hour and under load.
    #[default]
    Normal,
    /// Never shrunk.
    High,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Calls in a window.
    Requests,
    /// Tokens in a window.
    Tokens,
    /// Calls under way at once.
    Concurrent,
}

impl Measure {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrent => "concurrent",
        }
    }
}

/// An action and its limits. One without limits is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Action {
    /// How much it matters.
    pub importance: Importance,
    /// Whether tier, hour and load change its limits.
    pub scaled: bool,
    /// What holds at once.
    pub limits: Vec<Limit>,
}

impl Default for Action {
    fn default() -> Self {
        Self { importance: Importance::Normal, scaled: true, limits: Vec::new() }
    }
}

/// How much every subject of a layer may: one of `requests`, `tokens` and `concurrent`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limit {
    /// Whose it is.
    pub per: Layer,
    /// So many calls in a window.
    pub requests: Option<u64>,
    /// So many tokens in a window.
    pub tokens: Option<u64>,
    /// So many calls at once.
    pub concurrent: Option<u64>,
    /// How long the window is; 60 s when nothing is said.
    #[serde(with = "humantime_serde")]
    pub window: Option<Duration>,
    /// How many more a window may hold, whatever tier, hour and load make of the limit.
    pub burst: u64,
    /// For these subjects alone; for all when empty.
    pub only: Vec<Uuid>,
}

/// The window of a limit that names none.
const WINDOW: Duration = Duration::from_secs(60);

impl Limit {
    /// What it counts and how much of it, when it says exactly one.
    #[must_use]
    pub fn measure(&self) -> Option<(Measure, u64)> {
        match (self.requests, self.tokens, self.concurrent) {
            (Some(most), None, None) => Some((Measure::Requests, most)),
            (None, Some(most), None) => Some((Measure::Tokens, most)),
            (None, None, Some(most)) => Some((Measure::Concurrent, most)),
            _ => None,
        }
    }

    /// How long its window is.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.window.unwrap_or(WINDOW)
    }
}

/// Actions unless configured otherwise: requests, seconds, burst, for every user.
const ACTIONS: [(&str, u64, u64, u64); 9] = [
    (SUBMISSION, 10, 300, 3),
    ("feedback_request", 20, 300, 5),
    ("ai_generation", 5, 600, 2),
    ("recommendation_request", 15, 300, 3),
    (LOGIN, 5, 300, 0),
    ("api_call", 100, 60, 20),
    (MODEL_READ, 100, 60, 0),
    (BATCH, 10, 60, 0),
    (MANAGEMENT, 1_000, 60, 0),
];

/// Handing in work that is done later.
pub(crate) const SUBMISSION: &str = "submission";
/// Reading models.
pub(crate) const MODEL_READ: &str = "model_read";
/// Much in one call.
pub(crate) const BATCH: &str = "batch";
/// Signing in with a password.
pub(crate) const LOGIN: &str = "login_attempt";
/// What no route says anything else of.
pub(crate) const MANAGEMENT: &str = "management";
/// Sending prompts to models.
pub(crate) const INFERENCE: &str = "inference";

/// The actions that there are unless configured otherwise.
pub(crate) fn defaults() -> impl Iterator<Item = (&'static str, Action)> {
    let limited = ACTIONS.into_iter().map(|(name, requests, seconds, burst)| {
        let window = Some(Duration::from_secs(seconds));
        let limit = Limit { requests: Some(requests), window, burst, ..Limit::default() };
        // Guessing passwords is no different at night.
        (name, Action { scaled: name != LOGIN, limits: vec![limit], ..Action::default() })
    });
    limited.chain([(INFERENCE, Action::default())])
}
