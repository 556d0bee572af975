//! Hysteresis: one bad look does not take something out of service, and one good look does not bring it back.

/// Failures in a row that make something down.
pub const DOWN_AFTER: u32 = 3;
/// Successes in a row that make something up again.
pub const UP_AFTER: u32 = 2;

/// How something stands after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Up,
    /// It failed, though not often enough to be down.
    Failing,
    /// It is down.
    Down,
    /// It answers, though not often enough to be up again.
    Recovering,
}

/// What looks in a row said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steady {
    successes: u32,
    failures: u32,
    down: bool,
}

impl Default for Steady {
    fn default() -> Self {
        Self::NEW
    }
}

impl Steady {
    /// Nobody has looked yet.
    pub const NEW: Self = Self { successes: 0, failures: 0, down: false };

    /// How it stands after one more look.
    pub fn look(&mut self, well: bool) -> Standing {
        (self.successes, self.failures) = match well {
            true => (self.successes.saturating_add(1), 0),
            false => (0, self.failures.saturating_add(1)),
        };
        self.down = if self.down { self.successes < UP_AFTER } else { self.failures >= DOWN_AFTER };
        match (well, self.down) {
            (true, false) => Standing::Up,
            (false, false) => Standing::Failing,
            (false, true) => Standing::Down,
            (true, true) => Standing::Recovering,
        }
    }

    /// Failures in a row up to now.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether it is down.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        self.down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_take_it_down_and_two_answers_bring_it_back() {
        use Standing::{Down, Failing, Recovering, Up};
        let mut steady = Steady::default();
        let told: Vec<Standing> = "+-+--+---+-++-".chars().map(|look| steady.look(look == '+')).collect();
        let expected = [
            Up, Failing, Up, Failing, Failing, Up, Failing, Failing, Down, Recovering, Down, Recovering, Up,
            Failing,
        ];
        assert_eq!(told, expected);
        assert_eq!(steady.failures(), 1);
    }
}
