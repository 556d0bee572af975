//! An answer that is made ahead of those who will ask for it, in the name of whoever asked first and at nobody's cost.

use super::{Inference, sharing::Driven};
use crate::{
    admit::Admitted,
    cache::{Flight, Key, Plan, Wish},
    error::Error,
    prompt::Prompt,
    queue::Class,
    warm::{SYSTEM, Target},
};
use shared::time;
use std::{sync::Arc, time::Duration};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmed {
    /// It was made.
    Made,
    /// One is kept that is young enough.
    Young,
    /// Whoever asked for it may no longer, or it would be another answer by now.
    Gone,
    /// It could not be made.
    Failed,
}

impl Warmed {
    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Young => "young",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

impl Inference {
    /// Has an answer made anew, unless one is kept that is good for longer than `good_for`.
    pub async fn warm(&self, target: &Target, good_for: Option<Duration>) -> Warmed {
        let (admitted, plan) = match self.ahead(target) {
            Ok(Some(ahead)) => ahead,
            Ok(None) => return Warmed::Gone,
            Err(Error::PolicyUnavailable) => return Warmed::Failed,
            Err(_) => return Warmed::Gone,
        };
        // Half of its time is young enough of one that is kept for less.
        if let Some(good_for) = good_for.map(|good_for| good_for.min(plan.ttl / 2)) {
            let wish = &admitted.prompt.wish;
            let kept = match self.cache.get(&plan, wish).filter(|kept| kept.left(time::now()) > good_for) {
                Some(kept) => Some(kept),
                None => self.cache.second(&plan, wish).await,
            };
            if kept.is_some_and(|kept| kept.left(time::now()) > good_for) {
                return Warmed::Young;
            }
        }
        let (flight, seat) = Flight::alone();
        let made = self.make(&admitted, &plan, target.key, &flight).await;
        drop(seat);
        made
    }

    /// Whether whoever asked first may still, and would be told the same.
    #[must_use]
    pub fn may_warm(&self, target: &Target) -> bool {
        matches!(self.ahead(target), Ok(Some(_)))
    }

    /// The request as whoever asked first would ask it now; nothing when it is another one by now.
    fn ahead(&self, target: &Target) -> Result<Option<(Admitted, Plan)>, Error> {
        let person = target.asked.by.person(&self.policy, time::now())?;
        let mut prompt = Prompt::read(target.endpoint, target.asked.body.clone())?;
        prompt.class = Class::Batch;
        prompt.wants_usage = true;
        prompt.wish = Wish {
            store: true,
            tags: Arc::clone(&target.of.tags),
            template: Arc::clone(&target.of.template),
            ..Wish::default()
        };
        let mut admitted = self.admit(person, prompt)?;
        let plan = self.cache.plan(&admitted).filter(|plan| plan.key == target.key).map(Plan::ahead);
        // From here on it is the installation's own work.
        admitted.person.user = SYSTEM;
        admitted.person.key = None;
        admitted.group = None;
        admitted.path = self.weights.path(&admitted.person, None);
        Ok(plan.map(|plan| (admitted, plan)))
    }

    async fn make(&self, admitted: &Admitted, plan: &Plan, key: Key, flight: &Arc<Flight>) -> Warmed {
        let _driven = Driven(Arc::clone(flight));
        let request_id = format!("system:warm:{}", &key.to_string()[..16]);
        let answer = Box::pin(self.fresh(admitted, &request_id, None)).await;
        let failed = answer.is_err();
        let pump = self.deliver(answer, flight, admitted.prompt.endpoint).await;
        let kept = pump.and_then(|pump| plan.kept(pump, admitted.accepted.elapsed()));
        let made = kept.is_some() && !failed;
        self.cache.landed(plan, flight, kept);
        if made { Warmed::Made } else { Warmed::Failed }
    }
}
