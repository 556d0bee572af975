//! How many calls of the management API may be under way at once: in all, and of each endpoint by what it weighs.
//!
//! These bounds keep the process alive, whoever calls: nothing of them is shared with other processes or scaled. Only what
//! is under way is counted, so there are never more counters than calls.

use crate::{route::Routes, subject::name, table};
use ahash::RandomState;
use hashbrown::HashMap;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a call of an endpoint weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Answered from memory, or by one short query.
    Light,
    /// Several queries, or long lists.
    Middle,
    /// Files, whole tables, many changes in one call.
    Heavy,
    /// Not counted: prompts, which engines admit, and what tells whether the process is well.
    Free,
}

/// Settings under `limits.at_once`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AtOnce {
    /// Calls of all endpoints together.
    pub all: u32,
    /// Calls of one light endpoint.
    pub light: u32,
    /// Calls of one endpoint of middle weight.
    pub middle: u32,
    /// Calls of one heavy endpoint.
    pub heavy: u32,
    /// Weights by method or route, beside those that there are; `*` at the end stands for anything.
    pub weights: BTreeMap<String, Weight>,
}

impl Default for AtOnce {
    fn default() -> Self {
        Self { all: 50, light: 30, middle: 20, heavy: 10, weights: BTreeMap::new() }
    }
}

impl AtOnce {
    /// Every weight: those that there are anyway, and what configuration says.
    #[must_use]
    pub fn all_weights(&self) -> BTreeMap<String, Weight> {
        let mut all: BTreeMap<_, _> =
            table::WEIGHTS.iter().map(|(route, weight)| ((*route).to_owned(), *weight)).collect();
        all.extend(self.weights.clone());
        all
    }

    /// Calls of one endpoint of this weight; nothing when they are not counted.
    const fn of(&self, weight: Weight) -> Option<u32> {
        match weight {
            Weight::Light => Some(self.light),
            Weight::Middle => Some(self.middle),
            Weight::Heavy => Some(self.heavy),
            Weight::Free => None,
        }
    }

    pub(crate) fn validate(&self, faults: &mut Vec<String>) {
        if [self.all, self.light, self.middle, self.heavy].contains(&0) {
            faults.push("limits.at_once: `all`, `light`, `middle` and `heavy` must be at least 1".to_owned());
        }
        for route in self.weights.keys().filter(|route| !crate::route::is_one(route)) {
            faults.push(format!(
                "limits.at_once.weights.\"{route}\": must begin with `/`, or `POST /` and so on"
            ));
        }
    }
}

/// Too many calls are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Whether it is those of this endpoint; else it is all together.
    pub of_endpoint: bool,
    /// How many there may be.
    pub most: u32,
}

/// A call under way, to be given back when it has ended.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a place that is not given back is taken for ever"]
pub struct Taken(u128);

/// The calls that are under way.
#[derive(Debug)]
pub(crate) struct UnderWay {
    settings: AtOnce,
    weights: Routes<Weight>,
    all: u32,
    each: HashMap<u128, u32, RandomState>,
}

impl UnderWay {
    pub(crate) fn new(settings: &AtOnce) -> Self {
        let mut under_way = Self {
            settings: AtOnce::default(),
            weights: Routes::default(),
            all: 0,
            each: HashMap::default(),
        };
        under_way.set(settings);
        under_way
    }

    /// Takes over other bounds. Whatever is under way stays.
    pub(crate) fn set(&mut self, settings: &AtOnce) {
        self.weights = Routes::new(&settings.all_weights(), |weight| Some(*weight));
        self.settings = settings.clone();
    }

    /// Takes a place for a call, where it needs one.
    pub(crate) fn enter(&mut self, method: &str, path: &str) -> Result<Option<Taken>, Full> {
        let Some((route, weight)) = self.weights.find_with(method, path) else { return Ok(None) };
        let Some(most) = self.settings.of(weight) else { return Ok(None) };
        // What stands behind a route of OpenAI's is an id; it would make an endpoint of every file.
        let endpoint = name(if path.starts_with("/v1/") { route } else { path });
        if self.each.get(&endpoint).is_some_and(|there| *there >= most) {
            return Err(Full { of_endpoint: true, most });
        }
        if self.all >= self.settings.all {
            return Err(Full { of_endpoint: false, most: self.settings.all });
        }
        self.all += 1;
        *self.each.entry(endpoint).or_default() += 1;
        Ok(Some(Taken(endpoint)))
    }

    /// A call has ended.
    pub(crate) fn leave(&mut self, taken: &Taken) {
        self.all = self.all.saturating_sub(1);
        if let Some(there) = self.each.get_mut(&taken.0) {
            *there -= 1;
            if *there == 0 {
                self.each.remove(&taken.0);
            }
        }
    }

    /// How many there are.
    pub(crate) const fn all(&self) -> u32 {
        self.all
    }
}
