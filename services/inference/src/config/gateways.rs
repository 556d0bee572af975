//! Settings of several gateways over the same engines.

use serde::Deserialize;
use std::time::Duration;

/// This gateway as one of several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateways {
    /// Where the others reach it, such as `http://gateway-0.gateway:7002`. Empty: it is the only one.
    pub advertise: String,
    /// How many engines it owns, in relation to the others.
    pub weight: f64,
    /// What a gateway held last is counted for so much longer when it cannot be asked.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for Gateways {
    fn default() -> Self {
        // Most answers are made within half a minute; no more than that is lost where a machine is.
        Self { advertise: String::new(), weight: 1.0, grace: Duration::from_secs(30) }
    }
}

impl Gateways {
    /// Whether there are others.
    #[must_use]
    pub const fn is_one_of_several(&self) -> bool {
        !self.advertise.is_empty()
    }

    /// Adds one sentence per fault.
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        let known =
            |uri: &http::Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
        if self.is_one_of_several() && !self.advertise.parse().is_ok_and(|uri| known(&uri)) {
            faults.push(format!(
                "inference.gateways.advertise: `{}` is not a URL like http://gateway-0.gateway:7002",
                self.advertise
            ));
        }
        if self.advertise.chars().count() > 200 {
            faults.push("inference.gateways.advertise: must have no more than 200 characters".to_owned());
        }
        if !(self.weight.is_finite() && self.weight > 0.0) {
            faults.push("inference.gateways.weight: must be more than 0".to_owned());
        }
    }
}
