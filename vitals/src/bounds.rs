//! Where a figure begins to be bad.

use crate::Status;
use serde::Deserialize;

/// Where a share in percent begins to be degraded, and where critical.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// From here on: degraded.
    pub degraded: f64,
    /// From here on: critical.
    pub critical: f64,
}

impl Bounds {
    /// How a share from 0 to 1 stands.
    #[must_use]
    pub fn judge(&self, share: f64) -> Status {
        let percent = share * 100.0;
        if percent >= self.critical {
            Status::Critical
        } else if percent >= self.degraded {
            Status::Degraded
        } else {
            Status::Healthy
        }
    }

    /// Whether they can be kept to: numbers above zero, the critical one not below the other.
    #[must_use]
    pub fn are_possible(&self) -> bool {
        self.degraded > 0.0 && self.critical >= self.degraded && self.critical.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_degraded_from_the_first_bound_and_critical_from_the_second() {
        let bounds = Bounds { degraded: 80.0, critical: 95.0 };
        let told = [0.799, 0.8, 0.949, 0.95, 1.0].map(|share| bounds.judge(share));
        use Status::{Critical, Degraded, Healthy};
        assert_eq!(told, [Healthy, Degraded, Degraded, Critical, Critical]);
        assert!(bounds.are_possible());
        assert!(!Bounds { degraded: 96.0, ..bounds }.are_possible());
        assert!(!Bounds { degraded: 0.0, ..bounds }.are_possible());
    }
}
