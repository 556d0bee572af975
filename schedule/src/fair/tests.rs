//! Who is next: the rules in words, and all of them against a walk over the whole tree.

mod naive;

use super::{Leaf, Share, Shares};
use crate::{class::Class, request::Ticket};
use naive::Naive;
use proptest::prelude::*;

const BAND: u64 = 1_000;

fn path(steps: &[(u128, u32)]) -> Vec<Share> {
    steps.iter().map(|&(id, weight)| Share { id, weight }).collect()
}

/// Somebody who always has one more request waiting.
struct Backlogged {
    leaf: Leaf,
    ticket: Ticket,
    had: u64,
}

/// Serves so many requests of `tokens` each, whoever is first, to leaves that never run out of them.
fn serve(shares: &mut Shares, paths: &[Vec<Share>], requests: usize, tokens: u64) -> Vec<u64> {
    let mut all: Vec<Backlogged> = (0..)
        .zip(paths)
        .map(|(at, path)| {
            let backlogged = Backlogged { leaf: shares.hold(path), ticket: Ticket(at), had: 0 };
            shares.insert(backlogged.leaf, Class::Default, at as i64, backlogged.ticket);
            backlogged
        })
        .collect();
    for _ in 0..requests {
        let (_, ticket) = shares.first(&Class::ALL).unwrap();
        let next = &mut all[ticket.0 as usize];
        shares.charge(next.leaf, tokens);
        next.had += tokens;
    }
    for (at, one) in all.iter().enumerate() {
        shares.remove(one.leaf, Class::Default, at as i64, one.ticket);
        shares.release(one.leaf);
    }
    all.iter().map(|one| one.had).collect()
}

/// What of the whole each had.
fn parts(had: &[u64]) -> Vec<f64> {
    let all: u64 = had.iter().sum();
    had.iter().map(|had| *had as f64 / all as f64).collect()
}

#[track_caller]
fn close(found: &[f64], expected: &[f64]) {
    for (found_one, expected_one) in found.iter().zip(expected) {
        assert!((found_one - expected_one).abs() < 0.01, "{found:?} is not {expected:?}");
    }
}

#[test]
fn backlogged_leaves_are_served_by_their_weights() {
    let mut shares = Shares::new(BAND);
    let had = serve(&mut shares, &[path(&[(1, 1)]), path(&[(2, 3)])], 4_000, 100);
    close(&parts(&had), &[0.25, 0.75]);
}

#[test]
fn a_share_is_shared_by_those_below_it() {
    let mut shares = Shares::new(BAND);
    let paths =
        [path(&[(1, 1), (1, 1)]), path(&[(1, 1), (2, 1)]), path(&[(2, 2), (1, 1)]), path(&[(2, 2), (2, 3)])];
    let had = serve(&mut shares, &paths, 12_000, 100);
    close(&parts(&had), &[1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0, 1.0 / 2.0]);
}

#[test]
fn whoever_was_away_is_not_ahead_by_what_it_did_not_use() {
    let mut shares = Shares::new(BAND);
    let (steady, away) = (path(&[(1, 1)]), path(&[(2, 1)]));
    serve(&mut shares, &[steady.clone(), away.clone()], 10, 100);
    let alone = shares.hold(&steady);
    shares.insert(alone, Class::Default, 0, Ticket(0));
    shares.charge(alone, 1_000_000);
    let had = serve(&mut shares, &[steady, away], 100, 100);
    let ahead = had[1].saturating_sub(had[0]);
    assert!(ahead <= BAND + 200, "{ahead} tokens ahead: {had:?}");
    shares.remove(alone, Class::Default, 0, Ticket(0));
    shares.release(alone);
}

#[test]
fn within_the_band_the_most_urgent_is_next_and_beyond_it_nobody() {
    let mut shares = Shares::new(BAND);
    let (patient, urgent) = (shares.hold(&path(&[(1, 1)])), shares.hold(&path(&[(2, 1)])));
    shares.insert(patient, Class::Batch, 9, Ticket(1));
    shares.insert(urgent, Class::Interactive, 1, Ticket(2));
    shares.charge(urgent, BAND);
    assert_eq!(shares.first(&Class::ALL), Some((Class::Interactive, Ticket(2))));
    shares.charge(urgent, 1);
    assert_eq!(shares.first(&Class::ALL), Some((Class::Batch, Ticket(1))), "below the band goes first");
    shares.charge(patient, 1);
    assert_eq!(shares.first(&Class::ALL), Some((Class::Interactive, Ticket(2))));
    shares.remove(patient, Class::Batch, 9, Ticket(1));
    shares.charge(urgent, 1_000_000);
    assert_eq!(shares.first(&Class::ALL), Some((Class::Interactive, Ticket(2))), "alone nobody waits");
}

#[test]
fn what_is_given_back_was_never_spent() {
    let mut shares = Shares::new(BAND);
    let (lucky, other) = (shares.hold(&path(&[(1, 1), (1, 3)])), shares.hold(&path(&[(1, 1), (2, 1)])));
    shares.insert(lucky, Class::Default, 1, Ticket(1));
    shares.insert(other, Class::Default, 2, Ticket(2));
    shares.charge(lucky, 1_000_000);
    assert_eq!(shares.first(&Class::ALL), Some((Class::Default, Ticket(2))));
    shares.refund(lucky, 1_000_000);
    assert_eq!(shares.first(&Class::ALL), Some((Class::Default, Ticket(1))));
    assert_eq!(shares.spent(&[1, 1]), Some(0));
}

#[test]
fn nodes_are_forgotten_when_made_up_for_and_not_while_held() {
    let mut shares = Shares::new(BAND);
    let unused = shares.hold(&path(&[(1, 1), (1, 1), (1, 1)]));
    assert_eq!(shares.len(), 4);
    shares.release(unused);
    assert_eq!(shares.len(), 1, "nothing was spent");

    let (ahead, behind) = (shares.hold(&path(&[(1, 1)])), shares.hold(&path(&[(2, 1)])));
    shares.insert(behind, Class::Default, 1, Ticket(1));
    shares.charge(ahead, 500);
    shares.release(ahead);
    assert_eq!(shares.len(), 3, "what it spent is remembered");
    shares.charge(behind, 499);
    assert_eq!(shares.len(), 3);
    shares.charge(behind, 1);
    assert_eq!(shares.len(), 2, "the other had as much");

    let held = shares.hold(&path(&[(1, 1)]));
    shares.charge(behind, 1_000_000);
    assert_eq!(shares.len(), 3, "somebody holds on to it");
    shares.release(held);
    assert_eq!(shares.len(), 2);
}

#[test]
fn a_parent_is_not_forgotten_while_a_child_is_held() {
    let mut shares = Shares::new(BAND);
    let steady = shares.hold(&path(&[(2, 1)]));
    shares.insert(steady, Class::Default, 1, Ticket(1));
    // A group whose only member is forgotten, and who itself is ahead of the others.
    let member = shares.hold(&path(&[(1, 1), (1, 1)]));
    shares.charge(member, 100);
    shares.insert(member, Class::Default, 1, Ticket(2));
    shares.remove(member, Class::Default, 1, Ticket(2));
    shares.release(member);
    assert_eq!(shares.len(), 3);
    let held = shares.hold(&path(&[(1, 1), (2, 1)]));
    shares.charge(steady, 1_000);
    assert_eq!(shares.len(), 4);
    shares.insert(held, Class::System, 1, Ticket(3));
    assert_eq!(shares.first(&Class::ALL), Some((Class::System, Ticket(3))));
}

/// What may happen to the shares; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Hold { path: Vec<(u8, u32)> },
    Insert { of: usize, class: usize, rank: i8 },
    Remove { of: usize },
    Charge { of: usize, tokens: u64 },
    Refund { of: usize, tokens: u64 },
    Release { of: usize },
    Pass,
}

fn step() -> impl Strategy<Value = Step> {
    let of = 0..1_000_usize;
    let share = (0..3_u8, 1..4_u32);
    prop_oneof![
        4 => proptest::collection::vec(share, 0..4).prop_map(|path| Step::Hold { path }),
        5 => (of.clone(), 0..4_usize, any::<i8>()).prop_map(|(of, class, rank)| Step::Insert { of, class, rank }),
        3 => of.clone().prop_map(|of| Step::Remove { of }),
        4 => (of.clone(), 0..2_000_u64).prop_map(|(of, tokens)| Step::Charge { of, tokens }),
        1 => (of.clone(), 0..2_000_u64).prop_map(|(of, tokens)| Step::Refund { of, tokens }),
        2 => of.prop_map(|of| Step::Release { of }),
        2 => Just(Step::Pass),
    ]
}

/// The shares, the naive ones, and who holds and waits.
struct Both {
    shares: Shares,
    naive: Naive,
    holds: Vec<(Leaf, Vec<u128>)>,
    waits: Vec<(Leaf, Class, i64, Ticket)>,
}

impl Both {
    fn new() -> Self {
        Self { shares: Shares::new(BAND), naive: Naive::new(BAND), holds: Vec::new(), waits: Vec::new() }
    }

    fn take(&mut self, step: &Step, number: u64) {
        let held = |of: usize| self.holds.get(of % self.holds.len().max(1)).cloned();
        match *step {
            Step::Hold { ref path } => {
                let path: Vec<Share> =
                    path.iter().map(|&(id, weight)| Share { id: id.into(), weight }).collect();
                self.naive.hold(&path);
                let ids = path.iter().map(|share| share.id).collect();
                self.holds.push((self.shares.hold(&path), ids));
            }
            Step::Insert { of, class, rank } => {
                let Some((leaf, path)) = held(of) else { return };
                let (class, ticket) = (Class::ALL[class], Ticket(number));
                // No two ranks are equal, so that there is one answer.
                let rank = i64::from(rank) * 1_000_000 + number as i64;
                self.shares.insert(leaf, class, rank, ticket);
                self.naive.insert(path, class, rank, ticket);
                self.waits.push((leaf, class, rank, ticket));
            }
            Step::Remove { of } => self.remove(of),
            Step::Charge { of, tokens } => {
                let Some((leaf, path)) = held(of) else { return };
                self.shares.charge(leaf, tokens);
                self.naive.charge(&path, tokens);
            }
            Step::Refund { of, tokens } => {
                let Some((leaf, path)) = held(of) else { return };
                self.shares.refund(leaf, tokens);
                self.naive.refund(&path, tokens);
            }
            Step::Release { of } => self.release(of),
            Step::Pass => {
                let Some((_, first)) = self.shares.first(&Class::ALL) else { return };
                let (leaf, ..) = self.waits.iter().copied().find(|wait| wait.3 == first).unwrap();
                let (_, path) = self.holds.iter().find(|held| held.0 == leaf).cloned().unwrap();
                assert_eq!(self.shares.pass(leaf), self.naive.pass(&path));
            }
        }
    }

    fn remove(&mut self, of: usize) {
        if self.waits.is_empty() {
            return;
        }
        let (leaf, class, rank, ticket) = self.waits.swap_remove(of % self.waits.len());
        self.shares.remove(leaf, class, rank, ticket);
        self.naive.remove(ticket);
    }

    /// Whoever lets go has no request waiting any more.
    fn release(&mut self, of: usize) {
        if self.holds.is_empty() {
            return;
        }
        let (leaf, path) = self.holds.swap_remove(of % self.holds.len());
        if self.holds.iter().all(|held| held.0 != leaf) {
            while let Some(at) = self.waits.iter().position(|wait| wait.0 == leaf) {
                self.remove(at);
            }
        }
        self.shares.release(leaf);
        self.naive.release(&path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_over_all_nodes_says_the_same(steps in proptest::collection::vec(step(), 1..200)) {
        let mut both = Both::new();
        for (number, step) in (0..).zip(&steps) {
            both.take(step, number);
            let backwards = [Class::Batch, Class::Default, Class::Interactive, Class::System];
            for order in [Class::ALL, backwards] {
                prop_assert_eq!(both.shares.first(&order), both.naive.first(&order), "after {:?}", step);
            }
            prop_assert_eq!(both.shares.waiting(), both.waits.len());
            prop_assert_eq!(both.shares.len(), both.naive.len(), "after {:?}", step);
        }
    }
}
