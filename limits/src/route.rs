//! Which action a method or route is.

use crate::rule::ActionId;
use ahash::RandomState;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Methods and routes by their names, and by how they begin.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    exact: HashMap<Box<str>, ActionId, RandomState>,
    /// The longest first.
    begins: Vec<(Box<str>, ActionId)>,
}

impl Routes {
    pub(crate) fn new(routes: &BTreeMap<String, String>, id: impl Fn(&str) -> Option<ActionId>) -> Self {
        let mut all = Self::default();
        for (route, action) in routes {
            let Some(id) = id(action) else { continue };
            match route.strip_suffix('*') {
                Some(begin) => all.begins.push((begin.into(), id)),
                None => drop(all.exact.insert(route.as_str().into(), id)),
            }
        }
        all.begins.sort_by_key(|(begin, _)| std::cmp::Reverse(begin.len()));
        all
    }

    pub(crate) fn find(&self, path: &str) -> Option<ActionId> {
        let begun = || self.begins.iter().find(|(begin, _)| path.starts_with(&**begin));
        self.exact.get(path).copied().or_else(|| begun().map(|(_, id)| *id))
    }
}
