//! A line for every request: at `debug`, or louder when it was slow.
//!
//! They are written under the target `requests`, so that they can be turned up alone: `info,requests=debug`. Users are ids;
//! no name, address, prompt or answer is in them.

use super::{Learned, observe::Code};
use std::time::Duration;
use tracing::{Level, debug, error, warn};

/// The target of these lines.
const TARGET: &str = "requests";
/// Longer than this is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Longer than this is too slow for anybody.
const TOO_SLOW: Duration = Duration::from_secs(5);

/// Whether a line is written for every request.
#[must_use]
pub fn is_debugged() -> bool {
    tracing::enabled!(target: TARGET, Level::DEBUG)
}

/// What the line says.
pub(super) struct Line<'a> {
    pub(super) route: &'a str,
    pub(super) request_id: &'a str,
    pub(super) code: &'a Code,
    pub(super) learned: &'a Learned,
    /// From its arrival to its end.
    pub(super) latency: Duration,
    /// How much was ours up to the head of the answer, where that is known.
    pub(super) own: Option<Duration>,
}

impl Line<'_> {
    /// Writes it, as loud as it was slow.
    pub(super) fn write(&self) {
        let level = loudness(self.own);
        // The fields are worked out for lines that are written.
        if level == Level::DEBUG && !is_debugged() {
            return;
        }
        let Self { route, request_id, code, learned, .. } = self;
        let (latency, own) = (self.latency.as_secs_f64(), self.own.map(|own| own.as_secs_f64()));
        let user = learned.person.map(|person| tracing::field::display(person.user));
        let model = (!learned.model.is_empty()).then_some(learned.model.as_str());
        macro_rules! line {
            ($level:ident, $message:literal) => {
                $level!(target: TARGET, request_id, route, status = %code, user, model, latency, own, $message)
            };
        }
        match level {
            Level::ERROR => line!(error, "a request was far too slow"),
            Level::WARN => line!(warn, "a request was slow"),
            _ => line!(debug, "a request"),
        }
    }
}

/// What took more than a second is warned of, what took more than five is an error: somebody has given up by then.
fn loudness(own: Option<Duration>) -> Level {
    match own {
        Some(own) if own > TOO_SLOW => Level::ERROR,
        Some(own) if own > SLOW => Level::WARN,
        _ => Level::DEBUG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_loud_as_the_request_was_slow() {
        let after = |millis| loudness(Some(Duration::from_millis(millis)));
        assert_eq!(
            [0, 1_000, 1_001, 5_000, 5_001].map(after),
            [Level::DEBUG, Level::DEBUG, Level::WARN, Level::WARN, Level::ERROR]
        );
        assert_eq!(loudness(None), Level::DEBUG, "nobody knows whose time it was");
    }
}
