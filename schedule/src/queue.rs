//! The requests that wait for one model, and how fast they are served.

use crate::{
    class::Class,
    engine::{Due, EngineId},
    fair::{Leaf, Rank, Shares},
    made::Made,
    output::Outputs,
    rate::Rate,
    request::Ticket,
    returns::{Print, Returns},
    scheduler::Why,
    settings::Settings,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Part of an engine's time that goes into prompts, before anything was seen.
const FIRST_RATE: f64 = 0.5;

/// Part of that for a class of which nothing was served.
const LEAST_OF_CLASS: f64 = 0.1;

/// One model's queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) shares: Shares,
    /// Engines that serve the model.
    pub(crate) engines: Vec<EngineId>,
    /// Requests that wait, and the seconds of engine time that they take, by class.
    pub(crate) waiting: [usize; 4],
    work: [f64; 4],
    /// The same of each leaf, and how many leaves have any.
    by_leaf: Vec<Backlog>,
    leaves: usize,
    pub(crate) outputs: Outputs,
    /// Who was told to come back.
    pub(crate) returns: Returns,
    /// Those of the waiting who came back when told, by class and rank.
    pub(crate) returned: BTreeSet<(Class, Rank, Ticket)>,
    /// Why the first in line did not start when it was last tried.
    pub(crate) held_up: Option<Why>,
    /// Requests that were stopped to make room.
    pub(crate) stopped: u64,
    /// Seconds of engine time that are started.
    started: Rate,
    /// Tokens that are charged.
    pub(crate) charged: Rate,
    /// The same as started by class.
    by_class: [Rate; 4],
}

/// What waits for one leaf.
#[derive(Debug, Default)]
struct Backlog {
    /// Requests: sums of seconds alone never come back to nothing exactly.
    requests: usize,
    work: [f64; 4],
}

/// A request that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) queue: usize,
    pub(crate) leaf: Leaf,
    pub(crate) class: Class,
    /// Seconds that answers under way have to have left beside what its prompt takes.
    pub(crate) headroom: f64,
    /// Where it stands now, which is higher once it has waited for long.
    pub(crate) level: Class,
    pub(crate) rank: Rank,
    pub(crate) print: Print,
    pub(crate) prompt: u32,
    pub(crate) most: Option<u32>,
    pub(crate) prefix: Arc<[u64]>,
    pub(crate) arrived: Duration,
    /// When it was asked for the first time.
    pub(crate) came_first: Duration,
    /// When its first token is due, or all of it, in seconds.
    pub(crate) due: f64,
    /// What is promised of its tokens.
    pub(crate) tokens_due: Option<Due>,
    /// When waiting longer is of no use.
    pub(crate) expires: Duration,
    /// Whether that is the caller's own deadline.
    pub(crate) own_deadline: bool,
    /// When it moves up.
    pub(crate) ages: Option<Duration>,
    /// Seconds of an engine that it is believed to take.
    pub(crate) cost: f64,
    pub(crate) avoid: Option<EngineId>,
    pub(crate) only: Option<EngineId>,
    pub(crate) streams: bool,
    pub(crate) preempted: u8,
    pub(crate) made: Made,
}

impl Queue {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            shares: Shares::new(settings.band),
            engines: Vec::new(),
            waiting: [0; 4],
            work: [0.0; 4],
            by_leaf: Vec::new(),
            leaves: 0,
            outputs: Outputs::new(),
            returns: Returns::default(),
            returned: BTreeSet::new(),
            held_up: None,
            stopped: 0,
            started: Rate::default(),
            charged: Rate::default(),
            by_class: [Rate::default(); 4],
        }
    }

    /// Tokens that an answer is expected to have.
    pub(crate) fn expected(&self, most: Option<u32>) -> f64 {
        bounded(self.outputs.mean(), most)
    }

    /// Tokens that it hardly has more than.
    pub(crate) fn longest(&self, most: Option<u32>) -> f64 {
        bounded(self.outputs.longest(), most)
    }

    /// Work of a class was started.
    pub(crate) fn started(&mut self, class: Class, seconds: f64, now: f64) {
        self.started.add(seconds, now);
        self.by_class[class.index()].add(seconds, now);
    }

    /// A request waits that takes so much work.
    pub(crate) fn joins(&mut self, leaf: Leaf, class: Class, work: f64) {
        self.waiting[class.index()] += 1;
        self.work[class.index()] += work;
        if self.by_leaf.len() <= leaf.index() {
            self.by_leaf.resize_with(leaf.index() + 1, Backlog::default);
        }
        let of_leaf = &mut self.by_leaf[leaf.index()];
        self.leaves += usize::from(of_leaf.requests == 0);
        of_leaf.requests += 1;
        of_leaf.work[class.index()] += work;
    }

    /// It no longer waits.
    pub(crate) fn leaves(&mut self, leaf: Leaf, class: Class, work: f64) {
        self.waiting[class.index()] -= 1;
        self.work[class.index()] -= work;
        if let Some(of_leaf) = self.by_leaf.get_mut(leaf.index()) {
            of_leaf.requests = of_leaf.requests.saturating_sub(1);
            of_leaf.work[class.index()] -= work;
            if of_leaf.requests == 0 {
                of_leaf.work = [0.0; 4];
                self.leaves -= 1;
            }
        }
        if self.leaves == 0 {
            self.work = [0.0; 4];
        }
    }

    /// Seconds of work that are served before one more request of a leaf, as far as can be said without serving them:
    /// what waits in classes no less urgent, but no more than what there is for everyone who has as much as this leaf.
    pub(crate) fn before(&self, leaf: Leaf, class: Class) -> f64 {
        let until = |work: &[f64; 4]| work[..=class.index()].iter().sum::<f64>();
        let (mine, all) =
            (self.by_leaf.get(leaf.index()).map_or(0.0, |mine| until(&mine.work)), until(&self.work));
        let others = self.leaves.max(1) as f64;
        all.min(mine.mul_add(others, all / others))
    }

    /// Seconds of engine time that wait.
    pub(crate) fn work(&self) -> f64 {
        self.work.iter().sum()
    }

    /// Seconds of work that are served before one more request of a leaf that has its turn with all others: as much for
    /// each as waits for this one and is to come.
    pub(crate) fn turns(&self, leaf: Leaf, class: Class, to_come: f64) -> f64 {
        let mine =
            self.by_leaf.get(leaf.index()).map_or(0.0, |mine| mine.work[..=class.index()].iter().sum());
        (mine + to_come) * self.leaves.max(1) as f64
    }

    /// Leaves of which something waits.
    #[cfg(test)]
    pub(crate) fn backlogged(&self) -> usize {
        self.leaves
    }

    /// Seconds until so much work is done at the pace of late.
    pub(crate) fn drain(&self, work: f64, engines: usize, now: f64) -> f64 {
        work / self.started.per_second(now).max(FIRST_RATE * engines as f64).max(1e-3)
    }

    /// Seconds until so much work of a class is done at the pace that the class had of late.
    pub(crate) fn drain_of(&self, class: Class, work: f64, engines: usize, now: f64) -> f64 {
        let least = FIRST_RATE * engines as f64 * LEAST_OF_CLASS;
        work / self.by_class[class.index()].per_second(now).max(least).max(1e-3)
    }

    /// Who is next, the classes being asked in this order. Who comes back when told has waited for the others already.
    pub(crate) fn first(&self, order: &[Class; 4]) -> Option<(Class, Ticket)> {
        let place = |of: Class| order.iter().position(|class| *class == of);
        let first = self.shares.first(order);
        let returned = self.returned.first().map(|&(class, _, ticket)| (class, ticket));
        match (first, returned) {
            (Some(first), Some(returned)) if place(returned.0) <= place(first.0) => Some(returned),
            (first, returned) => first.or(returned),
        }
    }

    /// The classes in the order in which they are asked: first those that have less than what is kept for them.
    pub(crate) fn order(&self, shares: &[f64; 4], now: f64) -> [Class; 4] {
        let mut order = Class::ALL;
        if shares.iter().all(|share| *share <= 0.0) {
            return order;
        }
        let all: f64 = self.by_class.iter().map(|rate| rate.per_second(now)).sum();
        let lacks = |class: &Class| {
            let share = shares[class.index()];
            share > 0.0 && self.by_class[class.index()].per_second(now) < share * all
        };
        order.sort_by_key(|class| !lacks(class));
        order
    }
}

fn bounded(tokens: f64, most: Option<u32>) -> f64 {
    most.map_or(tokens, |most| tokens.min(f64::from(most)))
}
