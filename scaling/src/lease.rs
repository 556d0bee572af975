//! What silence means. An agent says every few seconds that it is there; one that is late is suspect, and only one that
//! stays silent is taken for gone: a slow network must not end what still serves.

use crate::State;
use std::time::Duration;

/// How long agents may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// After this an instance is suspect.
    pub suspect: Duration,
    /// After this it is gone.
    pub lost: Duration,
}

/// How sure it is that an instance is what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Heard of lately.
    Alive,
    /// Silent for longer than agreed. It counts as capacity all the same.
    Suspect,
    /// Silent for so long that it counts no longer.
    Lost,
}

impl Default for Lease {
    fn default() -> Self {
        Self { suspect: Duration::from_secs(20), lost: Duration::from_secs(60) }
    }
}

impl Lease {
    /// What the time since the last word means. Nobody waits for what has ended.
    #[must_use]
    pub fn standing(&self, state: State, silent: Duration) -> Standing {
        match state {
            State::Terminated => Standing::Alive,
            _ if silent >= self.lost => Standing::Lost,
            _ if silent >= self.suspect => Standing::Suspect,
            _ => Standing::Alive,
        }
    }
}
