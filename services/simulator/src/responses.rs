//! Responses that were asked to be kept: in memory, the oldest of too many forgotten, all of them with the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::prompt::Message;

/// So many are kept. The real engine keeps all until its memory is full.
const MOST: usize = 1_024;

/// A response and what it can be gone on from.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// As it was answered.
    pub(crate) json: String,
    /// What was said up to its end.
    pub(crate) messages: Vec<Message>,
}

/// All that are kept.
#[derive(Debug, Default)]
pub(crate) struct Responses(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kept: HashMap<String, Kept>,
    order: VecDeque<String>,
}

impl Responses {
    pub(crate) fn keep(&self, id: &str, kept: Kept) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.kept.insert(id.to_owned(), kept).is_none() {
            inner.order.push_back(id.to_owned());
        }
        if inner.order.len() > MOST
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.kept.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).kept.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let responses = Responses::default();
        for number in 0..=MOST {
            responses.keep(&number.to_string(), Kept { json: number.to_string(), messages: Vec::new() });
        }
        assert!(responses.get("0").is_none());
        assert_eq!(responses.get("1").unwrap().json, "1");
        responses.keep("1", Kept { json: "again".to_owned(), messages: Vec::new() });
        assert_eq!(responses.get("1").unwrap().json, "again");
        assert_eq!(responses.0.lock().unwrap().order.len(), MOST);
    }
}
