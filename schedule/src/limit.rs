//! How many requests an engine takes at once: as many as it says, fewer after it turned one away.

/// What is left of the requests held after the engine turned one away.
const LESS: f64 = 0.7;

/// An adaptive limit: down by a part when the engine is full, up by one for each round of answers.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    most: f64,
    now: f64,
}

impl Limit {
    pub(crate) fn new(most: u32) -> Self {
        Self { most: f64::from(most.max(1)), now: f64::from(most.max(1)) }
    }

    /// The engine's own limit is another.
    pub(crate) fn set_most(&mut self, most: u32) {
        let most = f64::from(most.max(1));
        if (most - self.most).abs() > 0.5 {
            *self = Self { most, now: most };
        }
    }

    pub(crate) fn requests(&self) -> u32 {
        self.now.ceil() as u32
    }

    pub(crate) fn has_room(&self, held: usize) -> bool {
        (held as f64) < self.now
    }

    pub(crate) fn answered(&mut self) {
        self.now = (self.now + 1.0 / self.now).min(self.most);
    }

    /// It turned one away while it held so many.
    pub(crate) fn turned_away(&mut self, held: usize) {
        self.now = (held as f64 * LESS).clamp(1.0, self.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_full_is_asked_for_less_and_slowly_for_more_again() {
        let mut limit = Limit::new(100);
        assert!(limit.has_room(99) && !limit.has_room(100));
        limit.turned_away(50);
        assert!(limit.has_room(34) && !limit.has_room(35));
        for _ in 0..35 {
            limit.answered();
        }
        assert!(limit.has_room(35) && !limit.has_room(36));
        for _ in 0..100_000 {
            limit.answered();
        }
        assert!(limit.has_room(99) && !limit.has_room(100));
        limit.turned_away(0);
        assert!(limit.has_room(0), "never less than one");
    }
}
