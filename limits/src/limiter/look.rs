//! What operators are shown: the tables as they come out, and what was used of them.

use super::{Limiter, Moment, most};
use crate::{
    action::{Importance, Measure},
    counter::Counter,
    rule::{Rule, Rules},
    scale::Tier,
    subject::Layer,
};
use std::{sync::Arc, time::Duration};

/// A limit as it is written and as it comes out.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The action.
    pub action: Arc<str>,
    /// How much it matters.
    pub importance: Importance,
    /// Whose it is.
    pub layer: Layer,
    /// What it counts.
    pub measure: Measure,
    /// As written.
    pub most: u64,
    /// Its burst.
    pub burst: u64,
    /// How long its window is.
    pub window: Duration,
    /// What it comes to now for tiers free, premium and admin, its burst included.
    pub now: [u64; 3],
}

/// What one subject has used of one limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The limit.
    pub row: Row,
    /// The subject's id.
    pub id: u128,
    /// Used by this replica, under way included.
    pub here: u64,
    /// Used by all replicas, as known here.
    pub used: u64,
    /// Until all of it is there again.
    pub reset: Duration,
}

impl Limiter {
    /// The tables as they are now.
    pub fn rows(&mut self, now: Moment) -> Vec<Row> {
        self.scale.at(now.second);
        let all = self.rules.iter().flat_map(|rules| rules.limits.iter().map(move |rule| (rules, rule)));
        all.map(|(rules, rule)| self.row(rules, rule)).collect()
    }

    fn row(&self, rules: &Rules, rule: &Rule) -> Row {
        Row {
            action: Arc::clone(&rules.name),
            importance: rules.importance,
            layer: rule.layer,
            measure: rule.measure,
            most: rule.most,
            burst: rule.burst,
            window: rule.window,
            now: [Tier::Free, Tier::Premium, Tier::Admin].map(|tier| most(&self.scale, rules, rule, tier)),
        }
    }

    /// What subjects of a layer have used: this one, or all that used anything, those who used most first.
    pub fn seen(&mut self, layer: Layer, id: Option<u128>, now: Moment) -> Vec<Seen> {
        self.scale.at(now.second);
        self.counters.advance(now.at);
        let mut seen = Vec::new();
        for (rules, rule) in
            self.rules.iter().flat_map(|rules| rules.limits.iter().map(move |rule| (rules, rule)))
        {
            let counted = |counter: &&Counter| {
                rule.layer == layer && counter.key.0 == rule.kind && id.is_none_or(|id| counter.key.1 == id)
            };
            for counter in self.counters.iter().filter(counted) {
                let (own, held) = counter.own();
                let (here, used) = (own.sum() + held, counter.used());
                let (row, id) = (self.row(rules, rule), counter.key.1);
                if used > 0 {
                    seen.push(Seen { row, id, here, used, reset: counter.until_empty(now.at) });
                }
            }
        }
        seen.sort_by(|one, other| {
            other.used.cmp(&one.used).then_with(|| one.row.action.cmp(&other.row.action))
        });
        seen
    }
}
