//! What is wrong with what an operator wrote.

/// Why a rule, a matcher or a tree of routes is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text cannot be read; `at` is the byte where that was noticed.
    #[error("at character {at}: {problem}")]
    Syntax {
        /// Byte of the text, from 0.
        at: usize,
        /// What was expected there.
        problem: String,
    },
    /// PromQL has it, this does not.
    #[error("{0} is not supported here")]
    Unsupported(String),
    /// A value that cannot be.
    #[error("{field} {problem}")]
    Invalid {
        /// Which one.
        field: &'static str,
        /// What it must be.
        problem: String,
    },
}

impl Fault {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }
}
