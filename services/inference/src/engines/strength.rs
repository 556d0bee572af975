//! How much of the fleet is left.

use super::{Fleet, Standing};
use shared::time;

/// Engines that are there to be used, by how they are. Those that an operator took out count for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strength {
    /// They take requests.
    pub well: usize,
    /// They should, and do not.
    pub down: usize,
    /// Their cloud takes them away: the time to empty them is not over. After that they are gone, and down until they leave.
    pub taken: usize,
}

impl Strength {
    /// Fewer than half of several take requests. Of a single one nothing can be set aside for anybody.
    #[must_use]
    pub const fn is_mostly_down(self) -> bool {
        let all = self.well + self.down;
        all > 1 && self.well * 2 < all
    }

    /// Half of them or more are being taken away.
    #[must_use]
    pub const fn is_half_taken(self) -> bool {
        self.taken > 0 && self.taken * 2 >= self.well + self.down + self.taken
    }
}

impl Fleet {
    /// How much is left.
    #[must_use]
    pub fn strength(&self) -> Strength {
        let (mut strength, now) = (Strength::default(), time::now().0);
        for engine in self.all() {
            let state = engine.state();
            if let Some(cordon) = state.cordon.as_ref().filter(|cordon| cordon.preempted) {
                match cordon.drain_until {
                    Some(until) if until <= now => strength.down += 1,
                    _ => strength.taken += 1,
                }
                continue;
            }
            match engine.standing(&state) {
                Standing::Healthy => strength.well += 1,
                // One that was never seen is being started.
                Standing::Unhealthy if state.sight.last_success.is_none() => {}
                Standing::Unhealthy | Standing::BreakerOpen | Standing::Ejected => strength.down += 1,
                Standing::Unknown
                | Standing::Cordoned
                | Standing::Draining
                | Standing::Drained
                | Standing::Leaving => {}
            }
        }
        strength
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_half_is_mostly_down_and_half_is_half_taken() {
        let of = |well, down, taken| Strength { well, down, taken };
        let down = [of(1, 1, 0), of(1, 2, 0), of(0, 2, 0), of(0, 1, 0), of(3, 0, 0)];
        assert_eq!(down.map(Strength::is_mostly_down), [false, true, true, false, false]);
        let taken = [of(2, 0, 1), of(1, 0, 1), of(0, 0, 1), of(2, 0, 0)];
        assert_eq!(taken.map(Strength::is_half_taken), [false, true, true, false]);
    }
}
