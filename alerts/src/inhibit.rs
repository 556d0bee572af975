//! Inhibition: of what follows from something else that is told, nobody is told by itself.

use crate::{
    labels::{Fingerprint, Labels},
    matcher::Matcher,
};
use serde::{Deserialize, Serialize};

/// While a source fires, targets with the same values of some labels are held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibition {
    /// What holds back.
    pub source: Vec<Matcher>,
    /// What is held back.
    pub target: Vec<Matcher>,
    /// Labels that must be the same; one that neither has is.
    #[serde(default)]
    pub equal: Vec<String>,
}

impl Inhibition {
    /// Which of those that fire holds this one back. None does that to itself, and one that is source and target at
    /// once is not held back by another one that is both: else two could silence each other.
    #[must_use]
    pub fn inhibitor<'a>(
        &self,
        (fingerprint, labels): (Fingerprint, &Labels),
        firing: impl Iterator<Item = (Fingerprint, &'a Labels)>,
    ) -> Option<Fingerprint> {
        if !labels.matched_by(&self.target) {
            return None;
        }
        let is_source = labels.matched_by(&self.source);
        let mut sources = firing.filter(|(source, candidate)| {
            *source != fingerprint
                && candidate.matched_by(&self.source)
                && !(is_source && candidate.matched_by(&self.target))
                && self.equal.iter().all(|name| candidate.get(name) == labels.get(name))
        });
        sources.next().map(|(source, _)| source)
    }
}
