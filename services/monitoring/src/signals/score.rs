//! How far an installation is from its limits, as one number: 100, less what sessions, machines and jobs take off.
//!
//! Pure. The arithmetic is that of requirement M6: 2 for each session over 20 (at most 50), 30 for a machine that is
//! critical or 15 for one at the warning, and 1 for each job over 10 that waits or runs (at most 20).

use super::system::Level;

/// Sessions that take nothing off, what each one more takes, and the most of it.
const SESSIONS: (u64, u64, u64) = (20, 2, 50);
/// The same of jobs.
const JOBS: (u64, u64, u64) = (10, 1, 20);
/// What a machine takes off.
const WARNING: u64 = 15;
const CRITICAL: u64 = 30;

/// What the score is made of. What was not measured is `None` and takes nothing off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Sessions and keys with a call in the last five minutes.
    pub(crate) sessions: Option<u64>,
    /// How the machine stands that stands worst.
    pub(crate) machines: Option<Level>,
    /// Jobs that wait or run.
    pub(crate) jobs: Option<u64>,
}

/// The number, and what was taken off for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) sessions: u64,
    pub(crate) machines: u64,
    pub(crate) jobs: u64,
}

/// The number in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grade {
    Poor,
    Moderate,
    Good,
    Excellent,
}

impl Score {
    /// Of a load.
    pub(crate) fn of(load: Load) -> Self {
        let over = |(free, each, most): (u64, u64, u64), number: Option<u64>| {
            number.unwrap_or(0).saturating_sub(free).saturating_mul(each).min(most)
        };
        let machines = match load.machines {
            Some(Level::Critical) => CRITICAL,
            Some(Level::Warning) => WARNING,
            Some(Level::Normal) | None => 0,
        };
        Self { sessions: over(SESSIONS, load.sessions), machines, jobs: over(JOBS, load.jobs) }
    }

    /// From 0 to 100.
    pub(crate) const fn value(self) -> u64 {
        100_u64.saturating_sub(self.sessions + self.machines + self.jobs)
    }

    pub(crate) const fn grade(self) -> Grade {
        match self.value() {
            80.. => Grade::Excellent,
            60.. => Grade::Good,
            40.. => Grade::Moderate,
            _ => Grade::Poor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by hand: sessions, machines, jobs, what each takes off, what is left, and its word.
    #[test]
    fn the_score_is_what_was_computed_by_hand() {
        use Level::{Critical, Normal, Warning};
        let cases = [
            ((0, Normal, 0), (0, 0, 0), 100, Grade::Excellent),
            ((20, Normal, 10), (0, 0, 0), 100, Grade::Excellent),
            ((21, Normal, 11), (2, 0, 1), 97, Grade::Excellent),
            ((30, Normal, 10), (20, 0, 0), 80, Grade::Excellent),
            ((30, Normal, 11), (20, 0, 1), 79, Grade::Good),
            ((20, Critical, 20), (0, 30, 10), 60, Grade::Good),
            ((20, Critical, 21), (0, 30, 11), 59, Grade::Moderate),
            ((32, Warning, 31), (24, 15, 20), 41, Grade::Moderate),
            ((45, Normal, 20), (50, 0, 10), 40, Grade::Moderate),
            ((45, Normal, 21), (50, 0, 11), 39, Grade::Poor),
            ((46, Warning, 30), (50, 15, 20), 15, Grade::Poor),
            ((u64::MAX, Critical, u64::MAX), (50, 30, 20), 0, Grade::Poor),
        ];
        for ((sessions, machines, jobs), (by_sessions, by_machines, by_jobs), value, grade) in cases {
            let load = Load { sessions: Some(sessions), machines: Some(machines), jobs: Some(jobs) };
            let score = Score::of(load);
            let expected = Score { sessions: by_sessions, machines: by_machines, jobs: by_jobs };
            assert_eq!((score, score.value(), score.grade()), (expected, value, grade), "{load:?}");
        }
    }

    #[test]
    fn what_was_not_measured_takes_nothing_off() {
        assert_eq!(Score::of(Load::default()).value(), 100);
        let load = Load { jobs: Some(15), ..Load::default() };
        assert_eq!(Score::of(load).value(), 95);
    }
}
