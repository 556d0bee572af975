//! Whether an engine is well: by its model list, by what its requests meet, and, when those look odd, by a probe.
//!
//! Pure: told what happened. `/health` and the model list of a vLLM go on answering while its core hangs, so a good
//! list proves little. Requests that get no token make an engine suspicious, which condemns nobody: a probe, one real
//! token, decides. Both ways it takes several in a row, so that nothing flaps.

use std::time::Duration;

/// Failures in a row that make an engine unhealthy.
const FALL: u32 = 3;
/// Successes in a row that make it healthy again.
const RISE: u32 = 2;
/// Probes in a row that must fail: each is as long as a request may wait at its worst.
const PROBES: u32 = 2;
/// Requests in a row without a first token that make an engine suspicious.
const TIMEOUTS: u32 = 2;

/// Whether an engine is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not asked yet.
    Unknown,
    /// It is.
    Healthy,
    /// It is not; [`Health::reason`] says why.
    Unhealthy,
}

/// The health of one engine.
#[derive(Debug, Clone, Default)]
pub struct Health {
    list: Streak,
    probe: Streak,
    /// Requests in a row that got no first token.
    timeouts: u32,
    suspicion: Option<String>,
    /// What the last failure was.
    why: String,
}

/// What a number of looks in a row said.
#[derive(Debug, Clone, Copy, Default)]
struct Streak {
    good: Option<bool>,
    failures: u32,
    successes: u32,
}

impl Streak {
    fn pass(&mut self) {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.good.is_none() || self.successes >= RISE {
            self.good = Some(true);
        }
    }

    fn fail(&mut self, weight: u32, fall: u32) {
        self.successes = 0;
        self.failures = self.failures.saturating_add(weight);
        if self.good != Some(true) || self.failures >= fall {
            self.good = Some(false);
        }
    }
}

impl Health {
    /// Whether it is well.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.list.good, self.probe.good) {
            (None, _) => Verdict::Unknown,
            (Some(false), _) | (_, Some(false)) => Verdict::Unhealthy,
            (Some(true), _) => Verdict::Healthy,
        }
    }

    /// Why it is not well, or why it is being watched.
    #[must_use]
    pub fn reason(&self) -> String {
        match (self.verdict(), &self.suspicion) {
            (Verdict::Unhealthy, Some(suspicion)) if self.list.good == Some(true) => {
                format!("hangs: {suspicion}, and {}", self.why)
            }
            (Verdict::Unhealthy, _) => self.why.clone(),
            (_, Some(suspicion)) => format!("suspicious: {suspicion}"),
            (Verdict::Unknown, None) => "not asked yet".into(),
            (Verdict::Healthy, None) => String::new(),
        }
    }

    /// Checks failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.list.failures
    }

    /// Whether it answers at all, whatever its core does.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.list.good == Some(true)
    }

    /// Whether a probe should decide.
    #[must_use]
    pub const fn suspicious(&self) -> bool {
        self.suspicion.is_some()
    }

    /// It sent its model list.
    pub fn listed(&mut self) {
        self.list.pass();
    }

    /// It did not.
    pub fn not_listed(&mut self, why: &str) {
        why.clone_into(&mut self.why);
        self.list.fail(1, FALL);
    }

    /// No connection can be made: it is gone until it lists its models again.
    pub fn unreachable(&mut self, why: &str) {
        why.clone_into(&mut self.why);
        self.list.fail(FALL, FALL);
    }

    /// A request got its first token, or its whole answer.
    pub fn answered(&mut self) {
        self.timeouts = 0;
        // What was found out by probes is taken back by probes.
        if self.probe.good != Some(false) {
            self.suspicion = None;
        }
    }

    /// A request got no first token in time.
    pub fn timed_out(&mut self) {
        self.timeouts += 1;
        if self.timeouts >= TIMEOUTS && self.probe.good != Some(false) {
            self.suspicion = Some(format!("{} requests in a row got no token", self.timeouts));
        }
    }

    /// None of its streams has had a token for so long.
    pub fn silent(&mut self, streams: u32, since: Duration) {
        if self.probe.good != Some(false) {
            let seconds = since.as_secs();
            self.suspicion = Some(format!("no token on any of its {streams} streams for {seconds} s"));
        }
    }

    /// A probe ended. Returns whether nothing is left to suspect.
    pub fn probed(&mut self, outcome: Result<(), &str>) -> bool {
        match outcome {
            Ok(()) => {
                self.probe.pass();
                if self.probe.good == Some(true) {
                    (self.suspicion, self.timeouts) = (None, 0);
                }
            }
            Err(why) => {
                if self.suspicion.is_none() {
                    self.suspicion = Some("nothing was heard of it".into());
                }
                why.clone_into(&mut self.why);
                // The first probe of an engine is no different from later ones.
                self.probe.good.get_or_insert(true);
                self.probe.fail(1, PROBES);
            }
        }
        self.suspicion.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Health {
        let mut health = Health::default();
        assert_eq!(health.verdict(), Verdict::Unknown);
        health.listed();
        health
    }

    #[test]
    fn the_first_look_decides_and_later_ones_take_several() {
        let mut health = listed();
        for _ in 0..2 {
            health.not_listed("no answer in time");
        }
        assert_eq!(health.verdict(), Verdict::Healthy);
        health.not_listed("no answer in time");
        assert_eq!((health.verdict(), health.reason().as_str()), (Verdict::Unhealthy, "no answer in time"));
        health.listed();
        assert_eq!(health.verdict(), Verdict::Unhealthy, "one good look is not enough");
        health.listed();
        assert_eq!((health.verdict(), health.reason()), (Verdict::Healthy, String::new()));

        let mut never = Health::default();
        never.not_listed("503");
        assert_eq!(never.verdict(), Verdict::Unhealthy);
    }

    #[test]
    fn a_refused_connection_counts_at_once() {
        let mut health = listed();
        health.unreachable("connection refused");
        assert_eq!((health.verdict(), health.answers()), (Verdict::Unhealthy, false));
    }

    #[test]
    fn suspicion_condemns_nobody_and_failed_probes_do() {
        let mut health = listed();
        health.timed_out();
        assert!(!health.suspicious(), "one is no suspicion");
        health.timed_out();
        assert!(health.suspicious());
        assert_eq!(health.verdict(), Verdict::Healthy);
        assert!(!health.probed(Err("a probe got no token in 10 s")));
        assert_eq!(health.verdict(), Verdict::Healthy);
        health.probed(Err("a probe got no token in 10 s"));
        assert_eq!(health.verdict(), Verdict::Unhealthy);
        assert_eq!(
            health.reason(),
            "hangs: 2 requests in a row got no token, and a probe got no token in 10 s"
        );
        health.listed();
        health.answered();
        assert_eq!(health.verdict(), Verdict::Unhealthy, "a model list proves nothing");
        assert!(!health.probed(Ok(())), "one good probe is not enough");
        assert!(health.probed(Ok(())));
        assert_eq!((health.verdict(), health.suspicious()), (Verdict::Healthy, false));
    }

    #[test]
    fn a_token_or_a_probe_that_comes_ends_a_suspicion() {
        let mut health = listed();
        health.silent(3, Duration::from_secs(12));
        assert_eq!(health.reason(), "suspicious: no token on any of its 3 streams for 12 s");
        health.answered();
        assert!(!health.suspicious());
        health.silent(3, Duration::from_secs(12));
        assert!(health.probed(Ok(())));
        assert_eq!(health.verdict(), Verdict::Healthy);
    }
}
