//! A refusal as callers hear it.

use crate::status::DOMAIN;
use limits::{Full, Gauge, Layer, Measure, Refusal, Standing};
use std::{collections::HashMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The reason of every refusal by a limit.
pub const REASON: &str = "RATE_LIMITED";

/// A limit is used up, or too many calls are under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub(super) Box<Refusal>, pub(super) Option<Full>);

/// When a place among those that are under way may be free.
const SOON: Duration = Duration::from_secs(1);

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(Full { of_endpoint, most }) = self.1 {
            let of = if of_endpoint { "of this endpoint" } else { "of the management API" };
            return write!(
                out,
                "{most} calls {of} are under way, which is all there may be; try again in 1 s"
            );
        }
        let Refusal { action, measure, gauge, .. } = &*self.0;
        let Gauge { layer, limit, .. } = gauge;
        let (measure, layer) = (measure.as_str(), layer.as_str());
        write!(out, "the limit of {limit} {measure} of `{action}` for this {layer} is used up; ")?;
        write!(out, "try again in {} s", self.seconds())
    }
}

impl std::error::Error for Refused {}

impl Refused {
    pub(super) fn full(full: Full, action: std::sync::Arc<str>) -> Self {
        let gauge = Gauge { layer: Layer::Endpoint, limit: full.most.into(), remaining: 0, reset: SOON };
        let (measure, standing) = (Measure::Concurrent, Standing::default());
        Self(Box::new(Refusal { action, measure, gauge, retry_after: SOON, standing }), Some(full))
    }

    /// The layer that refuses it, as it is written.
    pub(super) fn layer(&self) -> &'static str {
        match self.1 {
            Some(Full { of_endpoint: false, .. }) => "process",
            _ => self.0.gauge.layer.as_str(),
        }
    }

    /// When to try again.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        Duration::from_secs(self.seconds())
    }

    /// How it stands with the limits; what is used up stands for its measure.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0.standing
    }

    /// The limit that is used up.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        self.0.gauge
    }

    /// What the decision was.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        &self.0
    }

    /// Whole seconds, so that nobody comes a moment too early.
    fn seconds(&self) -> u64 {
        super::headers::seconds(self.0.retry_after).max(1)
    }

    /// Adds what a caller can act on.
    pub fn describe(&self, details: &mut ErrorDetails) {
        let Refusal { action, measure, gauge, .. } = &*self.0;
        let facts = [
            ("action", action.to_string()),
            ("layer", self.layer().to_owned()),
            ("measure", measure.as_str().to_owned()),
            ("limit", gauge.limit.to_string()),
            ("remaining", gauge.remaining.to_string()),
            ("reset", super::headers::seconds(gauge.reset).to_string()),
        ];
        let facts: HashMap<String, String> =
            facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect();
        details.set_error_info(REASON, DOMAIN, facts);
        details.set_retry_info(Some(self.retry_after()));
        let subject = format!("{}:{action}:{}", self.layer(), measure.as_str());
        details.add_quota_failure_violation(subject, self.to_string());
    }

    /// As a status of a layer.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut details = ErrorDetails::new();
        self.describe(&mut details);
        Status::with_error_details(Code::ResourceExhausted, self.to_string(), details)
    }
}
