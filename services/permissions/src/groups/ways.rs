//! Ways through nested groups: of all the ways from one end to another, one that lasts longest.

use policy::{GroupId, Time};
use std::collections::{BTreeMap, BinaryHeap};
use uuid::Uuid;

/// A member of a group, until some instant or for good.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) member: Uuid,
    pub(crate) group: Uuid,
    pub(crate) until: Option<Time>,
}

/// How somebody is in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    /// When it ends.
    pub(crate) until: Option<Time>,
    /// The groups between, from the member to the group.
    pub(crate) between: Vec<GroupId>,
}

impl Way {
    /// The one that lasts longer; of two that last as long, the shorter one.
    pub(crate) fn better(self, other: Self) -> Self {
        let (one, two) = (last(self.until), last(other.until));
        let other_wins = two > one || (two == one && other.between.len() < self.between.len());
        if other_wins { other } else { self }
    }
}

fn last(until: Option<Time>) -> i64 {
    until.map_or(i64::MAX, Time::micros)
}

/// The best way from one end to everything that is reached from there.
#[derive(Debug)]
pub(crate) struct Ways {
    start: Uuid,
    down: bool,
    reached: BTreeMap<Uuid, Step>,
}

/// The last step of a way, with what is true of the whole of it.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: Uuid,
    until: i64,
    length: usize,
}

impl Ways {
    /// From a group to what is in it.
    pub(crate) fn down(group: Uuid, edges: &[Edge]) -> Self {
        Self::walk(group, true, edges)
    }

    /// From a member to what it is in.
    pub(crate) fn up(member: Uuid, edges: &[Edge]) -> Self {
        Self::walk(member, false, edges)
    }

    fn walk(start: Uuid, down: bool, edges: &[Edge]) -> Self {
        let mut next: BTreeMap<Uuid, Vec<(Uuid, i64)>> = BTreeMap::new();
        for edge in edges {
            let (from, to) = if down { (edge.group, edge.member) } else { (edge.member, edge.group) };
            next.entry(from).or_default().push((to, last(edge.until)));
        }
        let mut reached: BTreeMap<Uuid, Step> = BTreeMap::new();
        // What lasts longest is settled first; a longer way never lasts longer than its parts.
        let mut open = BinaryHeap::from([(i64::MAX, std::cmp::Reverse(0_usize), start, start)]);
        while let Some((until, std::cmp::Reverse(length), at, from)) = open.pop() {
            if reached.contains_key(&at) || (at == start && length > 0) {
                continue;
            }
            if length > 0 {
                reached.insert(at, Step { from, until, length });
            }
            for (to, edge) in next.get(&at).into_iter().flatten() {
                open.push((until.min(*edge), std::cmp::Reverse(length + 1), *to, at));
            }
        }
        Self { start, down, reached }
    }

    /// Everything that is reached, by id.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Uuid, Way)> {
        self.reached.iter().map(|(id, step)| (*id, self.way(*id, *step)))
    }

    /// The way of a user in one of the groups reached from above, or in the start itself.
    pub(crate) fn through(&self, edge: &Edge) -> Option<Way> {
        if edge.group == self.start {
            return Some(Way { until: edge.until, between: Vec::new() });
        }
        let step = self.reached.get(&edge.group)?;
        let mut between = vec![GroupId(edge.group)];
        between.extend(self.way(edge.group, *step).between);
        Some(Way { until: instant(step.until.min(last(edge.until))), between })
    }

    fn way(&self, mut at: Uuid, step: Step) -> Way {
        let mut between = Vec::with_capacity(step.length);
        while let Some(step) = self.reached.get(&at).filter(|step| step.from != self.start) {
            at = step.from;
            between.push(GroupId(at));
        }
        if !self.down {
            between.reverse();
        }
        Way { until: instant(step.until), between }
    }
}

fn instant(until: i64) -> Option<Time> {
    (until != i64::MAX).then_some(Time(until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn edge(member: u128, group: u128, until: Option<i64>) -> Edge {
        Edge { member: id(member), group: id(group), until: until.map(Time) }
    }

    fn way(until: Option<i64>, between: &[u128]) -> Way {
        Way { until: until.map(Time), between: between.iter().map(|n| GroupId(id(*n))).collect() }
    }

    #[test]
    fn the_way_that_lasts_longest_is_taken_and_told_from_the_member_up() {
        // 1 is in 2 for a short time, in 3 for long; both are in 9.
        let edges = [
            edge(1, 2, Some(5)),
            edge(2, 9, None),
            edge(1, 3, Some(8)),
            edge(3, 4, None),
            edge(4, 9, Some(9)),
        ];
        let up = Ways::up(id(1), &edges);
        let found: Vec<_> = up.all().collect();
        let expected = [
            (id(2), way(Some(5), &[])),
            (id(3), way(Some(8), &[])),
            (id(4), way(Some(8), &[3])),
            (id(9), way(Some(8), &[3, 4])),
        ];
        assert_eq!(found, expected);
        let down = Ways::down(id(9), &edges);
        assert_eq!(down.all().find(|(at, _)| *at == id(1)), Some((id(1), way(Some(8), &[3, 4]))));
        assert_eq!(down.through(&edge(7, 3, Some(6))), Some(way(Some(6), &[3, 4])));
        assert_eq!(down.through(&edge(7, 9, None)), Some(way(None, &[])));
        assert_eq!(down.through(&edge(7, 8, None)), None);
    }

    #[test]
    fn a_circle_ends() {
        let edges = [edge(1, 2, None), edge(2, 1, None), edge(2, 3, None)];
        let found: Vec<_> = Ways::up(id(1), &edges).all().collect();
        assert_eq!(found, [(id(2), way(None, &[])), (id(3), way(None, &[2]))]);
    }
}
