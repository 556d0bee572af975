//! Actions and limits as they are looked up while calls are decided.

use crate::{
    action::{Importance, Measure},
    settings::Settings,
    subject::Layer,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// An action, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ActionId(pub(crate) u16);

/// What a counter counts: the same while settings change around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) action: Arc<str>,
    pub(crate) layer: &'static str,
    pub(crate) measure: &'static str,
    pub(crate) window: Duration,
}

/// One limit of an action.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// The place of its [`Kind`].
    pub(crate) kind: u32,
    pub(crate) layer: Layer,
    pub(crate) measure: Measure,
    pub(crate) most: u64,
    pub(crate) window: Duration,
    pub(crate) burst: u64,
    pub(crate) only: Vec<u128>,
}

impl Rule {
    /// Whether it can be asked before a prompt is read.
    pub(crate) fn is_of_prompts(&self) -> bool {
        self.layer.is_of_prompts() || self.measure == Measure::Tokens
    }
}

/// An action with its limits.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) name: Arc<str>,
    pub(crate) importance: Importance,
    pub(crate) scaled: bool,
    pub(crate) limits: Vec<Rule>,
}

/// All actions, by name and by place, in the same order. Kinds that there were keep their places.
pub(crate) fn compile(settings: &Settings, kinds: &mut BTreeMap<Kind, u32>) -> Vec<Rules> {
    let all = settings.all_actions();
    let rules = all.into_iter().map(|(name, action)| {
        let name: Arc<str> = name.into();
        let limits = action.limits.iter().filter_map(|limit| {
            let (measure, most) = limit.measure()?;
            let kind = Kind {
                action: Arc::clone(&name),
                layer: limit.per.as_str(),
                measure: measure.as_str(),
                window: limit.window(),
            };
            let next = u32::try_from(kinds.len()).unwrap_or(u32::MAX);
            Some(Rule {
                kind: *kinds.entry(kind).or_insert(next),
                layer: limit.per,
                measure,
                most,
                window: limit.window(),
                burst: limit.burst,
                only: limit.only.iter().map(|id| id.as_u128()).collect(),
            })
        });
        let limits = limits.collect();
        Rules { importance: action.importance, scaled: action.scaled, limits, name }
    });
    rules.collect()
}
