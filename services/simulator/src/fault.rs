//! Ways in which an engine can misbehave, switched over HTTP by tests: `POST /simulator/fault` with the whole wanted
//! state (`{}` is a healthy engine), answered with the state that holds now.

use serde::{Deserialize, Serialize};

/// Everything that is wrong with the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Nothing is computed any more: streams get their headers and then nothing, other requests no answer; health is fine.
    pub hang: bool,
    /// Streams end with an error event under status 200.
    pub in_band_error: Option<InBandError>,
    /// The connection is reset.
    pub reset: Option<Reset>,
    /// Every step takes this many times as long.
    pub slow: Option<f64>,
    /// New requests get a 500, as from an engine that was told to stop; health is fine.
    pub drain: bool,
    /// `/health` answers 503.
    pub unhealthy: bool,
    /// What is wrong with `/metrics`.
    pub metrics: Option<MetricsFault>,
}

/// An error inside a stream. Requests that are not streamed get it as their answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InBandError {
    /// Events of the stream that are sent before.
    #[serde(default)]
    pub after_events: u32,
    /// 503 for a full queue, anything else for an engine that died.
    #[serde(default = "died")]
    pub status: u16,
    /// Requests it happens to; all when absent.
    #[serde(default)]
    pub times: Option<u32>,
}

/// A connection that is reset, after some events or before any answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// Events of the stream that are sent before.
    #[serde(default)]
    pub after_events: u32,
    /// Requests it happens to; all when absent.
    #[serde(default)]
    pub times: Option<u32>,
}

/// What is wrong with `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsFault {
    /// The page is empty.
    Drop,
    /// Every name begins with `vllm_` in place of `vllm:`.
    Rename,
}

/// What will go wrong with one request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mishap {
    pub(crate) in_band_error: Option<InBandError>,
    pub(crate) reset: Option<Reset>,
}

impl Faults {
    /// Takes what is in store for the next request.
    pub(crate) fn next(&mut self) -> Mishap {
        let in_band_error = take(&mut self.in_band_error, |error| &mut error.times);
        let reset = take(&mut self.reset, |reset| &mut reset.times);
        Mishap { in_band_error, reset }
    }
}

/// The fault when it applies once more; one that has run out is cleared.
fn take<F: Copy>(fault: &mut Option<F>, times: impl Fn(&mut F) -> &mut Option<u32>) -> Option<F> {
    let current = fault.as_mut()?;
    let found = *current;
    if let Some(left) = times(current) {
        *left = left.saturating_sub(1);
        if *left == 0 {
            *fault = None;
        }
    }
    Some(found)
}

fn died() -> u16 {
    500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_with_a_number_runs_out() {
        let mut faults: Faults =
            serde_json::from_str(r#"{"reset":{"after_events":2,"times":2},"slow":3}"#).unwrap();
        assert_eq!(faults.next().reset.unwrap().after_events, 2);
        assert!(faults.next().reset.is_some());
        assert!(faults.next().reset.is_none());
        assert_eq!(faults, Faults { slow: Some(3.0), ..Faults::default() });
    }

    #[test]
    fn a_misspelt_fault_is_refused() {
        assert!(serde_json::from_str::<Faults>(r#"{"hung":true}"#).is_err());
    }
}
