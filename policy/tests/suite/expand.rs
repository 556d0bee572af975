//! The tree under a model holds exactly whom the grants mean, and says where it was cut.

use std::collections::BTreeSet;

use policy::{Action, Branch, Effect, Expansion, GrantId, Leaf, Standing, Time, UserId};
use proptest::prelude::*;

use crate::{
    oracle::Book,
    world::{MODELS, USERS, history, model_id, times, user_id, worlds},
};

/// The users that hang from a branch over branches that count; a group met again has its members at its first branch.
fn users_under(tree: &Expansion, book: &Book, root: usize) -> BTreeSet<UserId> {
    let (mut users, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![root]);
    while let Some(at) = open.pop() {
        for (index, child) in tree.branches.iter().enumerate().filter(|(_, one)| one.parent == Some(at)) {
            match &child.leaf {
                _ if !child.counts => {}
                Leaf::User(id) => {
                    users.insert(*id);
                }
                Leaf::Everyone => {
                    users.extend(book.users.iter().filter(|one| !one.disabled).map(|one| one.id));
                }
                Leaf::Group(_) => {
                    let first = tree.branches.iter().position(|one| one.leaf == child.leaf).unwrap();
                    if seen.insert(first) {
                        open.extend([index, first]);
                    }
                }
                Leaf::Owner | Leaf::Grant { .. } => panic!("{child:?} hangs from something"),
            }
        }
    }
    users
}

fn roots(tree: &Expansion) -> impl Iterator<Item = (usize, &Branch)> {
    tree.branches.iter().enumerate().filter(|(_, branch)| branch.parent.is_none())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_holds_every_grant_and_everyone_it_means(history in history(60)) {
        let (policy, book) = worlds(&history);
        for (model, now) in (0..=MODELS).flat_map(|model| times().step_by(3).map(move |now| (model_id(model), now))) {
            for action in [Action::Use, Action::Manage] {
                let tree = policy.expand(model, action, now, 10_000);
                prop_assert!(!tree.more && tree.branches.iter().all(|branch| !branch.more));
                let told: BTreeSet<GrantId> = roots(&tree)
                    .filter_map(|(_, root)| match root.leaf { Leaf::Grant { id, .. } => Some(id), _ => None })
                    .collect();
                let known = book.models.iter().any(|one| one.id == model);
                for grant in &book.grants {
                    let speaks = grant.action == action || grant.action == Action::Manage;
                    let expected = known && speaks && book.could_cover(grant.target, model);
                    prop_assert_eq!(told.contains(&grant.id), expected, "{:?}", grant);
                }
                for (index, root) in roots(&tree) {
                    let under = users_under(&tree, &book, index);
                    let people = (0..USERS).map(user_id).filter(|user| {
                        book.users.iter().any(|one| one.id == *user && !one.disabled)
                    });
                    let expected: BTreeSet<UserId> = match &root.leaf {
                        Leaf::Grant { id, standing, .. } => {
                            let grant = book.grants.iter().find(|one| one.id == *id).unwrap();
                            let holds = book.covers(grant.target, model);
                            let running = holds && grant.starts_at.is_none_or(|start| start <= now)
                                && grant.expires_at.is_none_or(|end| now < end);
                            prop_assert_eq!(*standing == Standing::InForce, running);
                            prop_assert_eq!(*standing == Standing::CutOff, !holds);
                            let always = policy::Grant { starts_at: None, expires_at: None, ..*grant };
                            people.filter(|user| book.in_force(&always, *user, now)).collect()
                        }
                        _ => people.filter(|user| book.owns(*user, model, now)).collect(),
                    };
                    prop_assert_eq!(under, expected);
                }
            }
        }
    }

    #[test]
    fn a_tree_that_was_cut_is_the_beginning_of_the_whole_one_and_says_so(history in history(60), limit in 0_usize..12) {
        let (policy, _) = worlds(&history);
        for model in (0..MODELS).map(model_id) {
            let whole = policy.expand(model, Action::Use, Time(15), 10_000);
            let part = policy.expand(model, Action::Use, Time(15), limit);
            prop_assert!(part.branches.len() <= limit);
            let marked = part.more || part.branches.iter().any(|branch| branch.more);
            prop_assert_eq!(marked, part.branches.len() < whole.branches.len());
            for branch in &part.branches {
                prop_assert!(branch.parent.is_none_or(|parent| parent < part.branches.len()));
            }
            let allowed = |tree: &Expansion| tree.branches.iter().filter(|branch| {
                matches!(branch.leaf, Leaf::Grant { effect: Effect::Allow, .. })
            }).count();
            prop_assert!(allowed(&part) <= allowed(&whole));
        }
    }
}
