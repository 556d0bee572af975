//! What is said of a method or route: by its path, by how that begins, and for some verbs of HTTP only.

use ahash::RandomState;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// What is said of methods and routes, by their names and by how they begin.
#[derive(Debug)]
pub(crate) struct Routes<T> {
    exact: HashMap<Box<str>, Vec<Entry<T>>, RandomState>,
    /// The longest first.
    begins: Vec<(Box<str>, Entry<T>)>,
}

/// What is said of one route.
#[derive(Debug, Clone)]
struct Entry<T> {
    /// As it is written.
    route: Box<str>,
    /// The verb that it is for; any when there is none.
    verb: Option<Box<str>>,
    said: T,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), begins: Vec::new() }
    }
}

/// Whether this can be a route: `/path`, or a verb and a path.
pub(crate) fn is_one(route: &str) -> bool {
    let (verb, path) = split(route);
    path.starts_with('/') && verb.is_none_or(|verb| verb.bytes().all(|letter| letter.is_ascii_uppercase()))
}

/// The verb of a route, when it names one, and its path.
pub(crate) fn split(route: &str) -> (Option<&str>, &str) {
    match route.split_once(' ') {
        Some((verb, path)) if !verb.is_empty() => (Some(verb), path),
        _ => (None, route),
    }
}

impl<T: Copy> Routes<T> {
    pub(crate) fn new<S>(routes: &BTreeMap<String, S>, said: impl Fn(&S) -> Option<T>) -> Self {
        let mut all = Self::default();
        for (route, what) in routes {
            let Some(said) = said(what) else { continue };
            let (verb, path) = split(route);
            let entry = Entry { route: route.as_str().into(), verb: verb.map(Into::into), said };
            match path.strip_suffix('*') {
                Some(begin) => all.begins.push((begin.into(), entry)),
                None => all.exact.entry(path.into()).or_default().push(entry),
            }
        }
        // What is said for one verb comes before what is said for any.
        all.begins.sort_by_key(|(begin, entry)| (std::cmp::Reverse(begin.len()), entry.verb.is_none()));
        all.exact.values_mut().for_each(|entries| entries.sort_by_key(|entry| entry.verb.is_none()));
        all
    }

    /// What is said of this path.
    pub(crate) fn find(&self, verb: &str, path: &str) -> Option<T> {
        self.find_with(verb, path).map(|(_, said)| said)
    }

    /// The route that says something of this path, and what it says.
    pub(crate) fn find_with(&self, verb: &str, path: &str) -> Option<(&str, T)> {
        let fits = |entry: &&Entry<T>| entry.verb.as_deref().is_none_or(|only| only == verb);
        let exact = self.exact.get(path).and_then(|entries| entries.iter().find(fits));
        let begun = || self.begins.iter().find(|(begin, entry)| path.starts_with(&**begin) && fits(&entry));
        let found = exact.or_else(|| begun().map(|(_, entry)| entry))?;
        Some((&found.route, found.said))
    }
}
