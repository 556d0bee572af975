//! What of the answers goes, is shown, or is made ahead.

use super::{Cache, Chosen, Kept, Key, Mark};
use crate::config;
use shared::{redis::locks::Asked, time};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Longest wait for Redis of work that nobody waits for.
const LOCK_WAIT: Duration = Duration::from_millis(250);

impl Cache {
    /// Drops what further invalidations chose, wherever it is kept or under way. Returns how many answers each of them
    /// found in memory.
    pub fn hear(&self, mark: Mark, rows: &[(u64, Chosen)]) -> Vec<u64> {
        // First, so that none comes back from the second tier.
        self.0.gone.hear(mark, rows);
        // Whoever waits already is told what comes; whoever comes now is not.
        self.flights().retain(|(key, ..), under_way| {
            !rows.iter().any(|(_, chosen)| chosen.matches(key, &under_way.of))
        });
        let mut found = vec![0; rows.len()];
        self.0.memory.drop_those(|key, kept| {
            let mut goes = false;
            for ((sequence, chosen), found) in rows.iter().zip(&mut found) {
                if !kept.mark.knew(mark.epoch, *sequence) && chosen.matches(key, &kept.of) {
                    *found += 1;
                    goes = true;
                }
            }
            goes
        });
        found
    }

    /// How far it was heard what is to go.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.0.gone.mark()
    }

    /// What is kept in memory and chosen, with its keys, the most used first.
    #[must_use]
    pub fn list(&self, chosen: &Chosen, most: usize) -> Vec<(Key, Arc<Kept>)> {
        let mut listed = self.0.memory.list(|key, kept| chosen.matches(key, &kept.of));
        listed.sort_by_key(|(key, kept)| (std::cmp::Reverse(kept.uses()), *key));
        listed.truncate(most);
        listed
    }

    /// The same in the order in which they are made anew: the highest score first.
    #[must_use]
    pub fn by_score(&self, chosen: &Chosen, most: usize) -> Vec<(Key, Arc<Kept>)> {
        let now = time::now();
        let listed = self.0.memory.list(|key, kept| chosen.matches(key, &kept.of)).into_iter();
        let mut listed: Vec<_> = listed.map(|(key, kept)| (kept.score(now), key, kept)).collect();
        listed.sort_by(|(one, first, _), (other, second, _)| other.total_cmp(one).then(first.cmp(second)));
        listed.truncate(most);
        listed.into_iter().map(|(_, key, kept)| (key, kept)).collect()
    }

    /// What was asked since it was counted last, where it may be asked again, and how often.
    #[must_use]
    pub fn newly_asked(&self) -> Vec<(Key, Arc<Kept>, u64)> {
        let asked = self.0.memory.list(|_, kept| kept.asked.is_some() && kept.newly_asked() > 0).into_iter();
        asked.map(|(key, kept)| (key, Arc::clone(&kept), kept.newly_asked())).collect()
    }

    /// Whether an answer is this gateway's to make ahead: of several that see the same Redis one does it in a time.
    pub async fn claims_warming(&self, key: Key, time: Duration) -> bool {
        let token = Uuid::new_v4().to_string();
        match self.0.locks.ask_for(&format!("warm:{key}"), &token, time, LOCK_WAIT).await {
            Asked::Held(lock) => {
                lock.keep();
                true
            }
            Asked::Taken => false,
            Asked::Unknown => true,
        }
    }

    /// How answers are made ahead of those who ask for them.
    #[must_use]
    pub fn warming(&self) -> config::Warm {
        self.settings().warm.clone()
    }
}
