//! Silences: what nobody wants to be told of for a while.

use crate::{fault::Fault, labels::Labels, matcher::Matcher, signals::Time};

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Its id, however its owner writes it.
    pub id: String,
    /// What an alert must be taken by; all of them.
    pub matchers: Vec<Matcher>,
    /// From when on.
    pub start: Time,
    /// Until when.
    pub end: Time,
}

/// Where a silence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilenceState {
    /// It has not begun.
    Pending,
    /// It holds alerts back.
    Active,
    /// It is over.
    Expired,
}

impl Silence {
    /// Whether it can be: it ends after it begins, and says what it means.
    ///
    /// # Errors
    /// When it takes everything, or never anything.
    pub fn check(&self) -> Result<(), Fault> {
        if self.matchers.is_empty() || self.matchers.len() > 50 {
            return Err(Fault::invalid("matchers", "must be 1 to 50"));
        }
        if self.matchers.iter().all(|matcher| matcher.takes("")) {
            return Err(Fault::invalid(
                "matchers",
                "must have one that does not take an empty value: this is a silence of everything",
            ));
        }
        if self.end <= self.start {
            return Err(Fault::invalid("end_time", "must be after start_time"));
        }
        Ok(())
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self, now: Time) -> SilenceState {
        match now {
            now if now >= self.end => SilenceState::Expired,
            now if now >= self.start => SilenceState::Active,
            _ => SilenceState::Pending,
        }
    }

    /// Whether it holds an alert with these labels back.
    #[must_use]
    pub fn mutes(&self, labels: &Labels, now: Time) -> bool {
        self.state(now) == SilenceState::Active && labels.matched_by(&self.matchers)
    }
}
